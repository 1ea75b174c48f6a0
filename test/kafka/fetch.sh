#!/bin/sh
# Brings Apache Kafka (the versions in pom.xml) into <repository>/.cache/kafka/libs with Maven. Does nothing when it is there already.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=$(cd "$here/../.." && pwd)/.cache/kafka
libs="$cache/libs"
marker="$libs/.complete"

missing=''
command -v java >/dev/null 2>&1 || missing="$missing java"
[ -f "$marker" ] && cmp -s "$here/pom.xml" "$marker" || command -v mvn >/dev/null 2>&1 || missing="$missing mvn"
if [ -n "$missing" ]; then
  echo "The tests run a real Apache Kafka, which needs Java 17 or newer and Maven. Not found:$missing" >&2
  echo "On Debian or Ubuntu: apt-get install maven openjdk-17-jre-headless" >&2
  exit 1
fi

version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)
if [ "${version:-0}" -lt 17 ]; then
  echo "Apache Kafka 4 needs Java 17 or newer; $(command -v java) is version ${version:-unknown}." >&2
  echo "On Debian or Ubuntu: apt-get install openjdk-17-jre-headless" >&2
  exit 1
fi

# The marker holds the pom.xml it was made from, so that a new version is fetched anew.
[ -f "$marker" ] && cmp -s "$here/pom.xml" "$marker" && exit 0

mkdir -p "$cache"
fresh=$(mktemp -d "$cache/libs.XXXXXX")
trap 'rm -rf "$fresh"' EXIT
echo "Fetching Apache Kafka into $libs ..." >&2
if ! mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$fresh" >&2; then
  echo "Maven could not fetch Apache Kafka (its words are above). It needs a Maven repository, by default Maven Central." >&2
  exit 1
fi
cp "$here/pom.xml" "$fresh/.complete"
chmod 755 "$fresh"
rm -rf "$libs"
mv "$fresh" "$libs"
