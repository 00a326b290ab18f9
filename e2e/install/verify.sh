#!/usr/bin/env bash
# Parts of `make verify` that are more than one command.
#
#   verify.sh generated         go generate must change nothing, compared with before, committed or not
#   verify.sh vulnerabilities   govulncheck, where its database can be reached
set -euo pipefail
cd "$(dirname "$0")/../.."

# fingerprint prints what the work tree holds that git knows of or does not ignore.
fingerprint() {
  git ls-files -z --cached --others --exclude-standard |
    xargs -0 sh -c 'for f; do [ -f "$f" ] && sha256sum "$f"; done' sh
}

generated() {
  local before after
  before=$(fingerprint)
  go generate ./...
  after=$(fingerprint)
  [[ $before == "$after" ]] && return
  echo "go generate changes files: run make generate and commit what it made" >&2
  diff <(echo "$before") <(echo "$after") | sed -n 's/^> [0-9a-f]*  /  /p' >&2
  return 1
}

vulnerabilities() {
  local tool out status=0
  tool=$(e2e/install/tools.sh govulncheck)
  out=$(timeout 300 "$tool" ./... 2>&1) || status=$?
  case $status in
  0) echo "vulnerabilities: none known" ;;
  3)
    echo "$out" >&2
    return 3
    ;;
  *)
    if grep -qE 'fetching vulnerabilities|dial tcp|no such host|connection refused|i/o timeout|Forbidden|HTTP GET' <<<"$out" ||
      ((status == 124)); then
      echo "vulnerabilities: not checked, the database cannot be reached"
      return
    fi
    echo "$out" >&2
    return "$status"
    ;;
  esac
}

case ${1:-} in
generated | vulnerabilities) "$1" ;;
*)
  sed -n '2,5p' "$0"
  exit 2
  ;;
esac
