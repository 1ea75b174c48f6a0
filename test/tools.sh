#!/bin/sh
# Looks whether this machine has what a task needs: `tools.sh node`, `tools.sh kafka`, or `tools.sh all` for the tests. Root on a machine
# with apt-get gets what is missing installed; anyone else is told what to install. Fails when something is still missing.
set -u

here=$(cd "$(dirname "$0")" && pwd)
has() { command -v "$1" >/dev/null 2>&1; }
says() { has "$1" && [ "$("$@" 2>/dev/null)" = yes ]; }

has_node() { says node -p "const [a, b] = process.versions.node.split('.').map(Number); a > 20 || (a === 20 && b >= 19) ? 'yes' : ''" && has npm; }
has_java() { has java && [ "$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)" -ge 17 ] 2>/dev/null; }
has_mvn() { cmp -s "$here/kafka/pom.xml" "$here/../.cache/kafka/libs/.complete" || has mvn; }
has_php() { says php -r "echo PHP_VERSION_ID >= 80100 ? 'yes' : '';"; }
has_chromium() { has chromium || has chromium-browser || has google-chrome; }
has_fpm() { PATH="$PATH:/usr/sbin:/usr/local/sbin"; for name in php-fpm8.2 php-fpm8.3 php-fpm8.4 php-fpm; do has "$name" && return; done; return 1; }

# Of 250 and later systemd-analyze looks at units by themselves.
has_systemd() { has systemd-notify && has systemd-socket-activate && [ "$(systemd-analyze --version 2>/dev/null | sed -n '1s/^systemd \([0-9]*\).*/\1/p')" -ge 250 ] 2>/dev/null; }
# Only root can boot a system in a container; for others those tests are skipped, by name.
has_nspawn() { [ "$(id -u)" != 0 ] || has systemd-nspawn; }

# what it is | how to see it | Debian's package
kafka_tools='Java 17 or newer|has_java|openjdk-17-jre-headless
Maven|has_mvn|maven'
test_tools="$kafka_tools
PHP 8.1 or newer|has_php|php-cli
php-fpm|has_fpm|php-fpm
cgi-fcgi|has cgi-fcgi|libfcgi-bin
Python 3|has python3|python3
socat|has socat|socat
systemd 250 or newer|has_systemd|systemd
systemd-nspawn|has_nspawn|systemd-container
dpkg-deb|has dpkg-deb|dpkg
setpriv|has setpriv|util-linux
Chromium|has_chromium|chromium
bash|has bash|bash
zsh|has zsh|zsh
fish|has fish|fish
man|has man|man-db"

if ! has_node; then
  echo "Node 20.19 or newer, with npm, is not there (nodejs.org has it; Debian 12's own is too old)." >&2
  exit 1
fi
case "${1-}" in
  node) exit 0 ;;
  kafka) tools=$kafka_tools ;;
  all) tools=$test_tools ;;
  *) echo "usage: tools.sh node|kafka|all" >&2; exit 2 ;;
esac

may_install() { [ "$(id -u)" = 0 ] && has apt-get; }

is_updated=''
install() {
  if [ -z "$is_updated" ]; then
    is_updated=yes
    apt-get update -q </dev/null || echo "apt-get update failed; going on with the lists that are there" >&2
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$1" </dev/null
}

missing=''
packages=''
old_ifs=$IFS
IFS='
'
for tool in $tools; do
  IFS='|'
  set -- $tool
  IFS=$old_ifs
  $2 && continue
  if may_install; then
    echo "$1 is missing: installing $3" >&2
    install "$3" >&2 && $2 && continue
  fi
  missing="$missing${missing:+, }$1"
  packages="$packages $3"
done

if [ -n "$missing" ]; then
  echo "Missing on this machine: $missing." >&2
  echo "On Debian or Ubuntu, as root: apt-get install$packages" >&2
  exit 1
fi
