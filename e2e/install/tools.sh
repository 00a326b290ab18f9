#!/usr/bin/env bash
# Finds or installs the tools that checks need, and prints where the tool is.
#
#   tools.sh golangci-lint   built from source once, which takes minutes
#   tools.sh govulncheck
#   tools.sh compiler        a C compiler, which the race detector needs
#   tools.sh python3         which runs the conformance driver
#
# What is built stays in ${ROWFERRY_CACHE:-/var/tmp/rowferry-cache}/bin, under its version. System packages
# are installed by root only; others are told what is missing.
set -euo pipefail

CACHE=${ROWFERRY_CACHE:-/var/tmp/rowferry-cache}
GOLANGCI_LINT=github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK=golang.org/x/vuln/cmd/govulncheck@v1.8.0

die() {
  echo "tools.sh: $*" >&2
  exit 1
}

# build PACKAGE@VERSION: builds a Go program once, and prints where it is.
build() {
  local package=${1%@*} version=${1#*@} target
  target=$CACHE/bin/${package##*/}-$version
  if [[ ! -x $target ]]; then
    mkdir -p "$CACHE/bin"
    (
      flock 9
      [[ -x $target ]] && exit
      made=$(mktemp -d "$CACHE/bin/.build-XXXXXX")
      # Outside the module, so that its go.mod neither helps nor hinders.
      (cd "$made" && GOBIN=$made GOFLAGS=-trimpath go install "$1" 9>&-) >"$made/log" 2>&1 || {
        tail -n 20 "$made/log" >&2
        rm -rf "$made"
        die "building $1 did not work"
      }
      mv "$made/${package##*/}" "$target"
      rm -rf "$made"
    ) 9>"$CACHE/bin/.lock-${package##*/}"
  fi
  echo "$target"
}

# package PROGRAM PACKAGE...: makes sure that PROGRAM exists, and prints where it is.
package() {
  local program=$1 log
  shift
  if ! command -v "$program" >/dev/null; then
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || die "$program is missing: install $*"
    mkdir -p "$CACHE"
    log=$CACHE/apt-$program.log
    {
      apt-get -qq update
      DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@"
    } >"$log" 2>&1 || {
      tail -n 20 "$log" >&2
      die "apt-get install $* did not work"
    }
  fi
  command -v "$program"
}

case ${1:-} in
golangci-lint) build "$GOLANGCI_LINT" ;;
govulncheck) build "$GOVULNCHECK" ;;
compiler) package gcc gcc libc6-dev ;;
python3) package python3 python3-minimal python3 ;;
*)
  sed -n '2,10p' "$0"
  exit 2
  ;;
esac
