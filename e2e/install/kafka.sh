#!/usr/bin/env bash
# Finds or installs what a Kafka broker needs, and prints the folder where it is.
#
#   kafka.sh server 4.4   or 3.9
#   kafka.sh tools        client programs, such as the console consumer
#   kafka.sh connect      Kafka Connect with Debezium's connector for Postgres
#   kafka.sh sink         Debezium's JDBC sink, another plugin for Connect
#
# The folder, ${ROWFERRY_CACHE:-/var/tmp/rowferry-cache}/kafka-VERSION, holds
#
#   lib/          the broker's jars, from a Maven repository
#   java          leads to a Java that runs them: one that is there, else Debian's, which only root can install
#   storage/      a broker's data folder that has been formatted and never used, with users for SCRAM in it
#   classes.jsa   the broker's classes as Java wants to have them in memory, which saves a third of each start
#
# that of tools, kafka-tools-VERSION, lib/ and java; that of connect, connect-VERSION, lib/, java, and plugins/ with the
# connector; that of the sink, sink-VERSION, java and plugins/.
#
# It may be called as often as one likes, by several at once: what is there is kept.
set -euo pipefail

CACHE=${ROWFERRY_CACHE:-/var/tmp/rowferry-cache}
declare -A VERSION=([4.4]=4.4.0 [3.9]=3.9.2)
CONNECT=4.3.1 # and of tools
DEBEZIUM=3.6.1.Final
SINK=3.6.0.Final # the newest that repositories have
MAVEN_PLUGIN=org.apache.maven.plugins:maven-dependency-plugin:3.8.1
JAVA_AT_LEAST=17
SCRAM_USER='name=rowferry,password=rowferry-secret'

die() {
  echo "kafka.sh: $*" >&2
  exit 1
}

# logged NAME COMMAND...: runs it quietly; the end of what it wrote is shown when it fails.
logged() {
  local log=$CACHE/$1.log failed=0
  shift
  "$@" >"$log" 2>&1 </dev/null || failed=$?
  ((failed == 0)) || {
    tail -n 20 "$log" >&2
    die "this did not work: $*"
  }
}

# package PROGRAM PACKAGE...: installs the first of the packages that apt offers, which brings PROGRAM.
package() {
  local program=$1 one
  shift
  [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || die "$program is missing: install $1"
  apt-cache madison "$@" 2>/dev/null | grep -q . || logged apt-update apt-get -qq update
  for one; do
    [[ -n $(apt-cache madison "$one" 2>/dev/null) ]] || continue
    DEBIAN_FRONTEND=noninteractive logged apt-kafka apt-get -qq install -y --no-install-recommends "$one"
    return
  done
  die "$program is missing, and apt offers none of $*"
}

# find_java: prints the oldest Java that is new enough: old brokers do not know the newest.
find_java() {
  local java version
  for java in ${JAVA_HOME:+"$JAVA_HOME/bin/java"} "$(command -v java || true)" /usr/lib/jvm/*/bin/java; do
    [[ -x $java ]] || continue
    version=$("$java" -XshowSettings:properties -version 2>&1 | awk '$1 == "java.specification.version" {print $3}')
    [[ -z $version || $version == 1.* ]] || ((version < JAVA_AT_LEAST)) || echo "$version $(realpath "$java")"
  done | sort -n | sed -n '1s/^[^ ]* //p'
}

# java_of FOLDER: sets JAVA to a command that is small, quick to start, and says nothing but warnings and a broker's start.
java_of() {
  JAVA=("$1/java" -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData
    -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info
    -cp "$1/lib/*")
}

# get_jars FOLDER GROUP:ARTIFACT:VERSION...: copies them, and what they need to run, into FOLDER/lib.
get_jars() {
  local folder=$1 one group artifact version
  shift
  [[ -n $(command -v mvn) ]] || package mvn maven
  mkdir -p "$folder/lib"
  {
    cat <<END
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>test</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
END
    for one in "$@" org.slf4j:slf4j-simple:1.7.36; do
      IFS=: read -r group artifact version <<<"$one"
      echo "<dependency><groupId>$group</groupId><artifactId>$artifact</artifactId><version>$version</version></dependency>"
    done
    printf '%s\n' '</dependencies>' '</project>'
  } >"$folder/pom.xml"
  logged maven-kafka mvn -q -B -f "$folder/pom.xml" "$MAVEN_PLUGIN:copy-dependencies" -DincludeScope=runtime -DoutputDirectory="$folder/lib"
}

# settings FOLDER PORT: of the broker that is formatted and started here.
settings() {
  printf '%s\n' process.roles=broker,controller node.id=1 "log.dirs=$1/storage" \
    "listeners=PLAINTEXT://127.0.0.1:$2,CONTROLLER://127.0.0.1:$(($2 + 1))" controller.listener.names=CONTROLLER \
    "controller.quorum.voters=1@127.0.0.1:$(($2 + 1))" log.cleaner.dedupe.buffer.size=4194304
}

format() {
  local folder=$1
  settings "$folder" 1 >"$folder/format.properties"
  logged kafka-format "${JAVA[@]}" kafka.tools.StorageTool format -t 4L6g3nShT-eMCtK--X86sw -c "$folder/format.properties" \
    --add-scram "SCRAM-SHA-256=[$SCRAM_USER]" --add-scram "SCRAM-SHA-512=[$SCRAM_USER]"
}

# archive_classes FOLDER: starts and ends a broker once, which leaves classes.jsa. A port may be taken.
archive_classes() {
  local folder=$1 pid
  for _ in 1 2 3; do
    rm -rf "$folder/once"
    mkdir "$folder/once"
    cp -r "$folder/storage" "$folder/once"
    settings "$folder/once" $((20000 + RANDOM % 12000)) >"$folder/once/server.properties"
    # java itself, in no function: the process to end is the one that $! names.
    "${JAVA[@]}" -XX:ArchiveClassesAtExit="$folder/classes.jsa" kafka.Kafka "$folder/once/server.properties" \
      >"$folder/once/log" 2>&1 </dev/null &
    pid=$!
    for ((left = 1200; left > 0; left--)); do
      grep -q 'Kafka Server started' "$folder/once/log" 2>/dev/null && break
      kill -0 $pid 2>/dev/null || break
      sleep 0.05
    done
    kill $pid 2>/dev/null || true
    wait $pid || true # 143: it was asked to end
    [[ -e $folder/classes.jsa ]] && break
  done
  [[ -e $folder/classes.jsa ]] || {
    tail -n 20 "$folder/once/log" >&2
    die "a broker did not start and end as it should"
  }
  rm -rf "$folder/once"
}

is_there() { [[ -e $1/.done && -x $1/java ]]; }

# make_folder FOLDER: makes it anew, with a Java in it.
make_folder() {
  local folder=$1 java
  java=$(find_java)
  if [[ -z $java ]]; then
    package java openjdk-{17,21,25}-jre-headless default-jre-headless
    java=$(find_java)
    [[ -n $java ]] || die "Java was installed, and none is $JAVA_AT_LEAST or newer"
  fi
  rm -rf "$folder"
  mkdir -p "$folder"
  # Root's folders may be closed to others by its umask, and brokers read them as another user.
  umask 022
  ln -s "$java" "$folder/java"
}

install_server() {
  local folder=$1 version=$2
  java_of "$folder"
  get_jars "$folder" "org.apache.kafka:kafka_2.13:$version"
  format "$folder"
  archive_classes "$folder"
}

install_tools() { get_jars "$1" "org.apache.kafka:kafka-tools:$CONNECT"; }

# get_plugin FOLDER NAME VERSION: unpacks a connector of Debezium, and what it needs, into FOLDER/plugins.
get_plugin() {
  local folder=$1 name=$2 version=$3
  [[ -n $(command -v mvn) ]] || package mvn maven
  mkdir -p "$folder/plugins"
  # Beside the pom, not by it: what the connector needs is in its own archive.
  (
    cd "$folder"
    logged maven-debezium mvn -q -B "$MAVEN_PLUGIN:copy" -DoutputDirectory="$folder" \
      -Dartifact="io.debezium:$name:$version:tar.gz:plugin"
  )
  tar -xzf "$folder/$name-$version-plugin.tar.gz" --no-same-owner -C "$folder/plugins"
  rm "$folder"/*.tar.gz
}

install_connect() {
  get_jars "$1" org.apache.kafka:{connect-runtime,connect-json}:$CONNECT
  get_plugin "$1" debezium-connector-postgres "$DEBEZIUM"
}

install_sink() { get_plugin "$1" debezium-connector-jdbc "$SINK"; }

fill() {
  local folder=$1 command=$2
  is_there "$folder" && return # another call was faster
  make_folder "$folder"
  "$command" "$folder" "${@:3}"
  chmod -R a+rX "$folder"
  touch "$folder/.done"
}

# once FOLDER COMMAND ARG...: fills a new folder by COMMAND FOLDER ARG... once, and prints it.
once() {
  local folder=$1
  if ! is_there "$folder"; then
    mkdir -p "$CACHE"
    (
      flock 9
      fill "$@" 9>&-
    ) 9>"$CACHE/.lock-${folder##*/}"
  fi
  is_there "$folder" || die "$folder was installed and is not there"
  echo "$folder"
}

server() {
  local version=${VERSION[$1]:-}
  [[ -n $version ]] || die "no Kafka $1 here: ${!VERSION[*]}"
  once "$CACHE/kafka-$version" install_server "$version"
}

case ${1:-} in
server) server "${2:?a version}" ;;
tools) once "$CACHE/kafka-tools-$CONNECT" install_tools ;;
connect) once "$CACHE/connect-$CONNECT-$DEBEZIUM" install_connect ;;
sink) once "$CACHE/sink-$SINK" install_sink ;;
*)
  sed -n '2,19p' "$0"
  exit 2
  ;;
esac
