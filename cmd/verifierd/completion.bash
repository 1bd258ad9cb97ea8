_verifierd_complete() {
  local cur="${COMP_WORDS[COMP_CWORD]}" word
  local -a request=()
  # bash takes --flag=value for three words.
  [[ "$cur" == "=" ]] && cur=""
  for word in "${COMP_WORDS[@]:0:COMP_CWORD}"; do
    [[ "$word" != "=" ]] && request+=("$word")
  done
  # Only whether it is a flag matters: what does not fit is dropped below.
  case "$cur" in
    --) request+=("-") ;; # by itself it would end the flags
    -*) request+=("$cur") ;;
    *) request+=("") ;;
  esac
  COMPREPLY=()
  while IFS= read -r word; do
    [[ "$word" == "$cur"* ]] && COMPREPLY+=("$word")
  done < <("${request[@]}" --generate-bash-completion 2>/dev/null)
}

complete -o bashdefault -o default -F _verifierd_complete verifierd
