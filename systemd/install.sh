#!/bin/sh
# `install.sh install` puts Kahe, its command, units, pages and completions below DESTDIR; `install.sh uninstall` takes them away again. Promise: a configuration
# that is there is never written over, and neither it nor what Kahe has stored is ever removed. Starts and enables nothing.
#   PREFIX /usr/local · DESTDIR (none) · SYSCONFDIR /etc · SYSTEMDDIR $PREFIX/lib (systemd/system, sysusers.d and tmpfiles.d are below it)
#   NODE the Node that runs it: the one found in PATH · ZSHDIR where zsh looks for completions: $PREFIX/share/zsh/site-functions
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
prefix=${PREFIX:-/usr/local}
destdir=${DESTDIR:-}
sysconfdir=${SYSCONFDIR:-/etc}
systemddir=${SYSTEMDDIR:-$prefix/lib}
lib=$prefix/lib/kahe
units="kahe.service kahe.socket"
# Pages with what they lead to; the PHP client, alerts and the dashboard are among it.
pages="README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE docs ops clients bench/RESULTS.md systemd/etc"
share=$prefix/share
man=$share/man/man1/kahe.1
bash_completion=$share/bash-completion/completions/kahe
zsh_completion=${ZSHDIR:-$share/zsh/site-functions}/_kahe
fish_completion=$share/fish/vendor_completions.d/kahe.fish

copy_packages() { # to: what package.json's dependencies need, as npm sees it
  cd "$root"
  npm ls --omit=dev --all --parseable --loglevel=error | while IFS= read -r package; do
    name=${package#"$root"}
    [ -n "$name" ] || continue
    mkdir -p "$1$(dirname "$name")"
    [ -e "$1$name" ] || cp -R "$package" "$1$name"
  done
}

install_lib() {
  new=$destdir$lib.new
  rm -rf "$new"
  mkdir -p "$new"
  # Compiled anew: dist/ may still have what was removed from the sources.
  node "$root/node_modules/typescript/bin/tsc" -p "$root/tsconfig.build.json" --outDir "$new/dist" --sourceMap false
  cp "$root/package.json" "$root/LICENSE" "$new/"
  copy_packages "$new"
  chmod -R u=rwX,go=rX "$new"
  chmod 755 "$new/dist/main.js"
  rm -rf "$destdir$lib"
  mv "$new" "$destdir$lib"
}

# from, to: with the places of this installation.
place() {
  mkdir -p "$(dirname "$destdir$2")"
  sed "s,@BINDIR@,$prefix/bin,g; s,@LIB@,$lib,g; s,@NODE@,$node,g" "$here/$1" >"$destdir$2"
  chmod "${3:-644}" "$destdir$2"
}

place_configuration() {
  [ -d "$destdir$sysconfdir/kahe" ] || install -d -m 750 "$destdir$sysconfdir/kahe"
  for name in .env.prod.local buckets.json; do
    file=$destdir$sysconfdir/kahe/$name
    if [ -e "$file" ]; then echo "$file is there already: it stays as it is"; continue; fi
    install -m 640 "$here/etc/$name" "$file"
  done
}

# Of an installation whose socket was the group kahe's.
warn_of_readers() {
  members=$(getent group kahe | cut -d : -f 4) || return 0
  [ -n "$members" ] || return 0
  cat >&2 <<END
warning: $members can read the passwords in $sysconfdir/kahe and the frames of everybody, as a member of the group kahe.
To write to Kahe, the group kahe-clients is needed from now on, and is enough. After the commands above, for each of them:
  usermod -aG kahe-clients USER && gpasswd -d USER kahe
Then restart their programs, and: systemctl restart kahe.socket kahe
END
}

# In share/kahe, for a system may leave out share/doc; there are links to it.
place_pages() {
  rm -rf "$destdir$share/kahe"
  mkdir -p "$destdir$share/kahe" "$destdir$share/doc/kahe"
  (cd "$root" && tar -cf - --exclude=clients/php/tests $pages) | tar -xf - --no-same-owner -C "$destdir$share/kahe"
  chmod -R u=rwX,go=rX "$destdir$share/kahe"
  for page in $pages; do
    name=${page%%/*}
    ln -sfn "../../kahe/$name" "$destdir$share/doc/kahe/$name"
  done
}

# to: what the program itself says.
write() {
  mkdir -p "$(dirname "$destdir$1")"
  cat >"$destdir$1"
}

place_man_and_completions() {
  node --input-type=module -e "
    import { manPage } from '$destdir$lib/dist/cli/manPage.js';
    import { VERSION } from '$destdir$lib/dist/stats/version.js';
    process.stdout.write(manPage(VERSION));" | write "$man"
  for shell in bash zsh fish; do
    eval "to=\$${shell}_completion"
    node "$destdir$lib/dist/main.js" completion "$shell" | write "$to"
  done
}

install_all() {
  node=${NODE:-$(command -v node)}
  install_lib
  place kahe.launcher "$prefix/bin/kahe" 755
  for unit in $units; do place "$unit" "$systemddir/systemd/system/$unit"; done
  place kahe.sysusers "$systemddir/sysusers.d/kahe.conf"
  place kahe.tmpfiles "$systemddir/tmpfiles.d/kahe.conf"
  place_pages
  place_man_and_completions
  place_configuration
  [ -z "$destdir" ] || return 0
  case $node in /home/*|/root/*) echo "warning: the service can't reach $node, which is in somebody's home: install a Node for all users, or say NODE=" >&2 ;; esac
  cat <<END
Kahe is installed. As root, once, and after that edit $sysconfdir/kahe:
  systemd-sysusers kahe.conf && systemd-tmpfiles --create kahe.conf
  systemctl daemon-reload && systemctl enable --now kahe.socket kahe.service
END
  warn_of_readers
}

uninstall_all() {
  if [ -z "$destdir" ] && [ -d /run/systemd/system ]; then systemctl disable --now $units || true; fi
  for unit in $units; do rm -f "$destdir$systemddir/systemd/system/$unit"; done
  rm -f "$destdir$systemddir/sysusers.d/kahe.conf" "$destdir$systemddir/tmpfiles.d/kahe.conf" "$destdir$prefix/bin/kahe"
  rm -f "$destdir$man" "$destdir$bash_completion" "$destdir$zsh_completion" "$destdir$fish_completion"
  rm -rf "$destdir$lib" "$destdir$lib.new" "$destdir$share/kahe" "$destdir$share/doc/kahe"
  echo "Kahe is gone. $sysconfdir/kahe, /var/lib/kahe and the user kahe stay: remove them when you don't need what they hold."
}

case ${1-} in
  install) install_all ;;
  uninstall) uninstall_all ;;
  *) echo "usage: install.sh install|uninstall" >&2; exit 2 ;;
esac
