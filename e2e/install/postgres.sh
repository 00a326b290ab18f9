#!/usr/bin/env bash
# Finds or installs what the tests need of Postgres, and prints where it is.
#
#   postgres.sh server 15   the folder of postgres and initdb of that major, 14 to 18
#   postgres.sh tools       the folder of psql and pg_recvlogical, of any major
#   postgres.sh all 15      a folder with both
#   postgres.sh user        makes sure that the system user postgres exists
#
# It may be called as often as one likes, by several at once: what is there is kept. An installed Postgres
# is used as it is. Otherwise root gets Debian's package when apt offers it, without a cluster being made
# or started; everyone else, and every other major, gets the binaries that Maven repositories carry, in
# ${ROWFERRY_CACHE:-/var/tmp/rowferry-cache}.
set -euo pipefail

CACHE=${ROWFERRY_CACHE:-/var/tmp/rowferry-cache}
declare -A VERSION=([14]=14.24.0 [15]=15.19.0 [16]=16.15.0 [17]=17.11.0 [18]=18.6.0)
ARTIFACT=io.zonky.test.postgres:embedded-postgres-binaries-linux
MAVEN_COPY=org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy

die() {
  echo "postgres.sh: $*" >&2
  exit 1
}

is_root() { [[ $(id -u) == 0 ]]; }

# locked COMMAND...: runs it while no other call of this script does.
locked() {
  mkdir -p "$CACHE"
  (
    flock 9
    "$@" 9>&-
  ) 9>"$CACHE/.lock"
}

# apt_offers PACKAGE: whether apt could install it; the lists are fetched when they are empty.
apt_offers() {
  is_root && command -v apt-get >/dev/null || return 1
  [[ -n $(apt-cache madison "$1" 2>/dev/null) ]] && return
  [[ -e $CACHE/.apt-updated ]] || { apt-get -qq update >/dev/null 2>&1 && touch "$CACHE/.apt-updated"; }
  [[ -n $(apt-cache madison "$1" 2>/dev/null) ]]
}

# apt_install PACKAGE...: quietly; a new postgresql package makes no cluster, so it starts no server.
apt_install() {
  local keep=/etc/postgresql-common/createcluster.d/90-rowferry-no-cluster.conf log=$CACHE/apt.log failed=0
  mkdir -p "${keep%/*}"
  echo 'create_main_cluster = false' >"$keep"
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >"$log" 2>&1 || failed=$?
  rm -f "$keep"
  ((failed == 0)) || {
    tail -n 20 "$log" >&2
    die "apt-get install $* did not work"
  }
}

# needs PROGRAM PACKAGE: makes sure that PROGRAM exists.
needs() {
  command -v "$1" >/dev/null && return
  apt_offers "$2" || die "$1 is missing: install $2"
  apt_install "$2"
  command -v "$1" >/dev/null || die "$2 brought no $1"
}

# maven_server MAJOR FOLDER: unpacks the server's programs.
maven_server() {
  local major=$1 folder=$2 arch inner
  case $(uname -m) in
  x86_64) arch=amd64 inner=postgres-linux-x86_64.txz ;;
  aarch64) arch=arm64v8 inner=postgres-linux-arm_64.txz ;;
  *) die "no Postgres $major for $(uname -m): install it, or set ROWFERRY_TEST_PG$major" ;;
  esac
  needs mvn maven
  needs unzip unzip
  needs xz xz-utils
  rm -rf "$folder"
  mkdir -p "$folder"
  # Root's folders may be closed to others by its umask, and servers read them as another user.
  (cd "$folder" && mvn -q -B "$MAVEN_COPY" -Dartifact="$ARTIFACT-$arch:${VERSION[$major]}" -DoutputDirectory=.) \
    >"$CACHE/maven.log" 2>&1 || {
    tail -n 20 "$CACHE/maven.log" >&2
    die "getting Postgres $major from Maven did not work"
  }
  unzip -p "$folder"/*.jar "$inner" | tar -xJ -C "$folder"
  rm "$folder"/*.jar
  chmod -R a+rX "$folder"
  touch "$folder/.done"
}

# find_server MAJOR: prints the folder of a server that is there.
find_server() {
  local bin
  for bin in "/usr/lib/postgresql/$1/bin" "/usr/pgsql-$1/bin"; do
    [[ -x $bin/postgres && -x $bin/initdb ]] && { echo "$bin"; return; }
  done
  [[ -e $CACHE/pg$1/.done ]] && { echo "$CACHE/pg$1/bin"; return; }
  return 1
}

install_server() {
  find_server "$1" >/dev/null && return # another call was faster
  if apt_offers "postgresql-$1"; then
    apt_install "postgresql-$1"
  else
    maven_server "$1" "$CACHE/pg$1"
  fi
}

server() {
  [[ -n ${VERSION[$1]:-} ]] || die "no Postgres $1 here: 14 to 18"
  find_server "$1" && return
  locked install_server "$1"
  find_server "$1" || die "Postgres $1 was installed and is not there"
}

# find_tools: prints the folder of the newest client programs that are there.
find_tools() {
  local bin path
  while read -r bin; do
    [[ -x $bin/psql && -x $bin/pg_recvlogical ]] && { echo "$bin"; return; }
  done < <(printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin | sort -rV)
  path=$(command -v pg_recvlogical) && command -v psql >/dev/null && { dirname "$path"; return; }
  return 1
}

install_tools() {
  find_tools >/dev/null && return
  apt_offers postgresql-client || die "psql and pg_recvlogical are missing: install the Postgres client programs"
  apt_install postgresql-client
}

tools() {
  find_tools && return
  locked install_tools
  find_tools || die "the Postgres client programs were installed and are not there"
}

# all MAJOR: the server's folder when it has the tools, else one of links to both.
all() {
  local bin clients folder=$CACHE/pg$1-all
  bin=$(server "$1")
  [[ -x $bin/psql && -x $bin/pg_recvlogical ]] && { echo "$bin"; return; }
  clients=$(tools)
  mkdir -p "$folder"
  # Programs find their libraries and each other from where a link leads.
  ln -sf "$clients"/psql "$clients"/pg_recvlogical "$bin"/postgres "$bin"/initdb "$folder"
  echo "$folder"
}

user() {
  id postgres >/dev/null 2>&1 && return
  is_root || die "there is no system user postgres, and only root can make it"
  useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin postgres
}

case ${1:-} in
server) server "${2:?a major}" ;;
tools) tools ;;
all) all "${2:?a major}" ;;
user) user ;;
*)
  sed -n '2,12p' "$0"
  exit 2
  ;;
esac
