#!/usr/bin/env bash
# Makes the image of muster from scratch, with an inventory of what is in it (SBOM, CycloneDX) beside it and inside it.
#
#   scripts/image.sh                             builds the program first, see scripts/dist.sh; tags muster:<version>, :latest
#   scripts/image.sh --target aarch64-unknown-linux-gnu    the same for another processor
#   scripts/image.sh --binary FILE --tag NAME    of a program that is there, with its libraries where it is not static,
#                                                without inventory; prints the image's id
set -euo pipefail
cd "$(dirname "$0")/.."

# 25 MiB: what a host fetches before it runs anything.
readonly BYTES_MAX=$((25 << 20))
readonly USER_ID=65532

binary='' tags=() target=''
while [ $# -gt 0 ]; do
    case $1 in
        --binary) binary=$2; shift 2 ;;
        --tag) tags+=("$2"); shift 2 ;;
        --target) target=$2; shift 2 ;;
        *) echo "usage: scripts/image.sh [--target TARGET | --binary FILE --tag NAME]" >&2; exit 2 ;;
    esac
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}

mkdir -p "$root"/{etc/confd/conf.d,etc/confd/templates,etc/muster,run/muster,tmp,usr/bin,usr/share/doc/muster,var/lib/muster}
sbom=''
if [ -z "$binary" ]; then
    binary=$(scripts/dist.sh ${target:+"$target"})
    sbom=target/dist/muster-$version.cdx.json
    scripts/sbom.sh >"$sbom"
    install -m 644 "$sbom" "$root/usr/share/doc/muster/sbom.cdx.json"
fi
[ ${#tags[@]} -gt 0 ] || tags=("muster:$version" muster:latest)

install -m 755 "$binary" "$root/usr/bin/muster"
# Line tables and names are for whoever builds it.
case $target in
    aarch64*) aarch64-linux-gnu-strip "$root/usr/bin/muster" ;;
    *) strip "$root/usr/bin/muster" ;;
esac
for name in etcd etcdctl etcdutl registrator confd; do ln -s muster "$root/usr/bin/$name"; done
install -m 644 LICENSE-APACHE LICENSE-MIT "$root/usr/share/doc/muster/"
if [ -z "$target" ] && libraries=$(ldd "$binary" 2>/dev/null); then
    # `name => /path (address)`, and the loader, which stands alone.
    for library in $(printf '%s\n' "$libraries" | grep -o '/[^ ]*'); do
        mkdir -p "$root/$(dirname "$library")"
        cp --dereference "$library" "$root/$library"
    done
fi
printf 'root:x:0:0:root:/:/none\nmuster:x:%s:%s:muster:/var/lib/muster:/none\n' $USER_ID $USER_ID >"$root/etc/passwd"
printf 'root:x:0:\nmuster:x:%s:\n' $USER_ID >"$root/etc/group"
# Names of other containers come from the engine's server, after /etc/hosts.
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
chmod -R u=rwX,go=rX "$root"
chmod 755 "$root/usr/bin/muster"
chmod 1777 "$root/tmp"
chmod 700 "$root/var/lib/muster"

pack() { # pack <owner> <tar option> <path>... : the same bytes whoever packs it, and when
    local owner=$1; shift
    tar --directory "$root" --file "$work/rootfs.tar" --format=gnu --sort=name --mtime="@$epoch" \
        --owner="$owner" --group="$owner" --numeric-owner "$@"
}
pack 0 --create --exclude=./run/muster --exclude=./var/lib/muster .
# What it writes to is its own; a volume that is made there takes this over.
pack $USER_ID --append ./run/muster ./var/lib/muster

cp deploy/image/Dockerfile "$work/"
rm -rf "$root"
arguments=(--quiet --build-arg "VERSION=$version" --build-arg "REVISION=$revision"
    --build-arg "CREATED=$(date --utc --date "@$epoch" +%Y-%m-%dT%H:%M:%SZ)")
for tag in "${tags[@]}"; do arguments+=(--tag "$tag"); done
case $target in aarch64*) arguments+=(--platform linux/arm64) ;; esac
image=$(docker build "${arguments[@]}" "$work")
echo "$image"
[ -n "$sbom" ] || exit 0

bytes=$(docker image inspect --format '{{.Size}}' "$image")
printf 'image: %s, %d.%d MiB; inventory: %s\n' "${tags[*]}" $((bytes >> 20)) $(((bytes & 0xfffff) * 10 >> 20)) "$sbom" >&2
if [ "$bytes" -ge $BYTES_MAX ]; then
    echo "error: the image takes $bytes bytes, and $BYTES_MAX are what it may take" >&2
    exit 1
fi
