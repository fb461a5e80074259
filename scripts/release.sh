#!/usr/bin/env bash
# Makes what is given away of this version, into target/release-<version>/: an archive with the program, manual pages,
# completions, units, templates and Compose files; the Debian package; the inventory; and the checksums of all. The same
# commit gives the same bytes.
#
#   scripts/release.sh             builds the program first, see scripts/dist.sh
#   scripts/release.sh --binary FILE --out FOLDER    of a program that is there, the archive alone
set -euo pipefail
cd "$(dirname "$0")/.."

binary='' out=''
while [ $# -gt 0 ]; do
    case $1 in
        --binary) binary=$2; shift 2 ;;
        --out) out=$2; shift 2 ;;
        *) echo "usage: scripts/release.sh [--binary FILE --out FOLDER]" >&2; exit 2 ;;
    esac
done
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
grep -q "^## $version\b" CHANGELOG.md || {
    echo "error: CHANGELOG.md says nothing about $version" >&2
    echo "hint: write a section '## $version', or set another version in Cargo.toml" >&2
    exit 1
}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
whole=false
if [ -z "$binary" ]; then
    binary=$(scripts/dist.sh)
    whole=true
fi
out=${out:-target/release-$version}
rm -rf "$out"
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

name=muster-$version-$(uname -m)-linux
folder=$work/$name
mkdir -p "$folder"/{completions,deploy,man}
install -m 755 "$binary" "$folder/muster"
"$binary" man --out "$folder/man"
for program in muster etcd etcdctl etcdutl registrator confd; do
    for shell in bash zsh fish; do
        "$binary" completions $shell --name $program >"$folder/completions/$program.$shell"
    done
done
cp -R CHANGELOG.md LICENSE-APACHE LICENSE-MIT README.md docs templates "$folder/"
cp -R deploy/README.md deploy/compose deploy/kubernetes deploy/systemd "$folder/deploy/"
chmod -R u=rwX,go=rX "$folder"
chmod 755 "$folder/muster"
tar --directory "$work" --create --format=gnu --sort=name --mtime="@$SOURCE_DATE_EPOCH" \
    --owner=0 --group=0 --numeric-owner "$name" | gzip --no-name --best >"$out/$name.tar.gz"
if $whole; then
    scripts/package.sh --binary "$binary" --out "$out" >/dev/null
    scripts/sbom.sh >"$out/muster-$version.cdx.json"
fi
(cd "$out" && sha256sum -- * >SHA256SUMS)
echo "$out"
