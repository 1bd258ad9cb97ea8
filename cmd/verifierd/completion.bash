_verifierd_complete() {
  local cur="${COMP_WORDS[COMP_CWORD]}"
  local -a request=("${COMP_WORDS[@]:0:COMP_CWORD}")
  if [[ "$cur" == -* ]]; then
    request+=("$cur")
  fi
  COMPREPLY=()
  local word
  while IFS= read -r word; do
    [[ "$word" == "$cur"* ]] && COMPREPLY+=("$word")
  done < <("${request[@]}" --generate-bash-completion 2>/dev/null)
}

complete -o bashdefault -o default -F _verifierd_complete verifierd
