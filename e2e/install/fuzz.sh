#!/usr/bin/env bash
# Runs every fuzz target of the tree for a time each, one after the other: fuzz.sh 10m [REGEXP]
# With REGEXP only the targets it matches, written as package:FuzzName, are run.
set -euo pipefail
cd "$(dirname "$0")/../.."

time=${1:?a duration}
pick=${2:-.}
module=$(go list -m)
failed=0
mkdir -p build/fuzz
while read -r package; do
  while read -r target; do
    name=${package#"$module"/}:$target
    [[ $name =~ $pick ]] || continue
    log=build/fuzz/$(tr / - <<<"${package#"$module"/}")-$target.log
    if go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package" >"$log" 2>&1; then
      echo "ok    $name  $(grep -o 'execs: [0-9]*' "$log" | tail -n 1)"
    else
      echo "FAIL  $name, see $log" >&2
      tail -n 20 "$log" >&2
      failed=1
    fi
  done < <(grep -ho '^func Fuzz[A-Za-z0-9_]*' "$(go list -f '{{.Dir}}' "$package")"/*_test.go | sed 's/^func //' | sort)
done < <(git grep -l --untracked '^func Fuzz' -- '*_test.go' | xargs -n 1 dirname | sort -u | sed "s|^|$module/|")
exit "$failed"
