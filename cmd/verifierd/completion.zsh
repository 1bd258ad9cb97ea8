#compdef verifierd

_verifierd() {
  local -a candidates request
  local cur=${words[CURRENT]}
  request=("${(@)words[1,CURRENT-1]}")
  # Only whether it is a flag matters: what does not fit is dropped below.
  case "$cur" in
    --) request+=("-") ;; # by itself it would end the flags
    -*) request+=("$cur") ;;
    *) request+=("") ;;
  esac
  candidates=("${(@f)$("${request[@]}" --generate-bash-completion 2>/dev/null)}")
  if [[ -n "${candidates[1]}" ]]; then
    _describe 'verifierd' candidates
  else
    _files
  fi
}

compdef _verifierd verifierd
