#!/usr/bin/env bash
# Makes the Debian package: the program, units, settings, manual pages and completions. Prints where it stands.
# Fetches cargo-deb into the cache when it is not there.
#
#   scripts/package.sh                                        builds the program first, see scripts/dist.sh
#   scripts/package.sh --fetch                                the tool alone
#   scripts/package.sh --binary FILE --out FOLDER [--fast]    of a program that is there; larger with --fast
set -euo pipefail
cd "$(dirname "$0")/.."
: "${HOME:=$(getent passwd "$(id -u)" | cut -d: -f6)}"
root=$PWD

readonly CARGO_DEB=3.6.2
tools=${MUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/muster}/tools

binary='' out=target/package options=() fetch_only=false
while [ $# -gt 0 ]; do
    case $1 in
        --binary) binary=$2; shift 2 ;;
        --fast) options+=(--fast); shift ;;
        --fetch) fetch_only=true; shift ;;
        --out) out=$2; shift 2 ;;
        *) echo "usage: scripts/package.sh [--binary FILE] [--out FOLDER] [--fast] | --fetch" >&2; exit 2 ;;
    esac
done
export PATH="$HOME/.cargo/bin:$PATH"
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}

if [ ! -x "$tools/bin/cargo-deb" ] || ! grep -q "cargo-deb $CARGO_DEB " "$tools/.crates.toml"; then
    # Not optimised: it packs files, and compiles in half the time.
    cargo install --quiet --locked --debug --root "$tools" --version $CARGO_DEB --no-default-features cargo-deb >&2
fi
if $fetch_only; then exit 0; fi
[ -n "$binary" ] || binary=$(scripts/dist.sh)

# Where Cargo.toml, [package.metadata.deb], looks for what is made.
stage=target/package/stage
rm -rf $stage
mkdir -p $stage/man "$out"
install -m 755 "$binary" $stage/muster
strip $stage/muster
"$binary" man --out $stage/man
# Those of other names belong to other packages.
find $stage/man -name '*.1' ! -name 'muster*' -delete
gzip --no-name --best $stage/man/*.1
"$binary" completions bash >$stage/muster.bash
"$binary" completions zsh >$stage/_muster
"$binary" completions fish >$stage/muster.fish

"$tools/bin/cargo-deb" --no-build --no-strip --quiet "${options[@]}" \
    --manifest-path "$root/Cargo.toml" --output "$out"
