#!/bin/sh
# Makes dist/kahe_VERSION_ARCH.deb: what install.sh installs below /usr, and a Node of its own, so that the host needs none. That Node's
# version and checksum stand in node.txt; it comes from npm's registry, once.
#   DEB_DIR where the package is put (dist) · DEB_LEVEL how hard xz tries, 0 to 9 (6)
# What it does is said on stderr; on stdout is the package's path alone.
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=$root/.cache/deb
stage=$cache/stage.$$
out=${DEB_DIR:-$root/dist}
say() { echo "make deb: $*" >&2; }
command -v dpkg-deb >/dev/null || { echo "make deb needs dpkg-deb, which is there on Debian and Ubuntu" >&2; exit 1; }
arch=$(dpkg --print-architecture)
version=$(node -p "require('$root/package.json').version.replace('-', '~')")
mkdir -p "$cache" "$out"
trap 'rm -rf "$stage"' EXIT

place_node() { # to
  line=$(grep "^$arch " "$here/node.txt") || { echo "make deb knows no Node for $arch: add it to systemd/deb/node.txt" >&2; exit 1; }
  read -r _ name node_version checksum <<END
$line
END
  tarball=$cache/$name-$node_version.tgz
  if [ ! -e "$tarball" ]; then
    say "fetching Node $node_version ($name) from npm's registry; it is kept in $cache"
    mkdir "$stage.node"
    (cd "$stage.node" && npm pack --silent --loglevel=error "$name@$node_version" >/dev/null)
    mv "$stage.node"/*.tgz "$tarball"
    rmdir "$stage.node"
  fi
  found=$(node -p "'sha512-' + crypto.createHash('sha512').update(fs.readFileSync('$tarball')).digest('base64')")
  if [ "$found" != "$checksum" ]; then
    rm "$tarball"
    echo "$name $node_version is not the one that systemd/deb/node.txt names: its checksum is $found" >&2
    exit 1
  fi
  mkdir -p "$1"
  tar -xzf "$tarball" -C "$1" --strip-components=2 package/bin/node
  tar -xzf "$tarball" -C "$1" --strip-components=1 package/LICENSE
  mv "$1/LICENSE" "$1/node.LICENSE"
  chmod 755 "$1/node"
}

# What Debian wants to have there, beside the pages.
place_debian_docs() { # to
  printf 'kahe (%s) unstable; urgency=medium\n\n  * CHANGELOG.md beside this file says what changed.\n\n -- %s  %s\n' \
    "$version" "$(sed -n 's/^Maintainer: //p' "$here/control")" "$(date -R -r "$root/CHANGELOG.md")" | gzip -9n >"$1/changelog.gz"
  cp "$here/copyright" "$1/copyright"
  printf '\nThe MIT license:\n\n' >>"$1/copyright"
  sed 's/^/  /' "$root/LICENSE" >>"$1/copyright"
  chmod 644 "$1/changelog.gz" "$1/copyright"
  gzip -9n "$stage/usr/share/man/man1/kahe.1"
}

place_overrides() {
  mkdir -p "$stage/usr/share/lintian/overrides"
  cp "$here/lintian-overrides" "$stage/usr/share/lintian/overrides/kahe"
}

place_control() {
  mkdir -p "$stage/DEBIAN"
  size=$(du -sk --exclude=DEBIAN "$stage" | cut -f 1)
  sed "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@SIZE@/$size/" "$here/control" >"$stage/DEBIAN/control"
  for script in postinst prerm postrm; do
    cp "$here/$script" "$stage/DEBIAN/$script"
    chmod 755 "$stage/DEBIAN/$script"
  done
  printf '%s\n' /etc/kahe/.env.prod.local /etc/kahe/buckets.json >"$stage/DEBIAN/conffiles"
  (cd "$stage" && find . -type f ! -path './DEBIAN/*' ! -path './etc/*' -printf '%P\0' | sort -z | xargs -0 md5sum) >"$stage/DEBIAN/md5sums"
}

say "kahe $version for $arch: compiling it, with the packages it needs"
mkdir "$stage"
PREFIX=/usr DESTDIR=$stage ZSHDIR=/usr/share/zsh/vendor-completions NODE=/usr/lib/kahe/bin/node sh "$root/systemd/install.sh" install >&2
place_node "$stage/usr/lib/kahe/bin"
place_debian_docs "$stage/usr/share/doc/kahe"
place_overrides
place_control
package=$out/kahe_${version}_$arch.deb
say "packing $(du -sh "$stage" | cut -f 1) of files; that takes a minute or so"
dpkg-deb --root-owner-group -Zxz "-z${DEB_LEVEL:-6}" --build "$stage" "$package" >/dev/null
say "it is made ($(du -h "$package" | cut -f 1)); on the host: sudo dpkg -i $(basename "$package")"
echo "$package"
