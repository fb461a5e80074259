#!/usr/bin/env bash
# Builds the muster that is given to others: static, small (profile `dist`), and the same bytes from one commit wherever
# and whenever it is built, as no path, time or name of the machine gets into it. Prints where it stands.
#
#   scripts/dist.sh [TARGET]   for another processor: rustup target add aarch64-unknown-linux-gnu, and its linker
#                              (Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="${HOME:-/root}/.cargo/bin:$PATH"
root=$PWD

target=${1-$(rustc -vV | sed -n 's/^host: //p')}
cargo_home=${CARGO_HOME:-$HOME/.cargo}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}

# Sources by where they come from, not by where they lie. A later rule wins, so the narrower ones stand last.
rules=("$cargo_home=/cargo" "$(rustc --print sysroot)=/rust" "$root=/muster")
for registry in "$cargo_home"/registry/src/*; do rules+=("$registry=/crates"); done

flags="-C target-feature=+crt-static"
cflags=""
for rule in "${rules[@]}"; do
    flags+=" --remap-path-prefix=$rule"
    cflags+=" -ffile-prefix-map=$rule"
done
case $target in
    # rustc links with LLD here, which keeps one of several functions that came out the same.
    x86_64-unknown-linux-gnu) flags+=" -C link-arg=-Wl,--icf=all" ;;
    aarch64-unknown-linux-gnu) export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc ;;
esac
env_target=${target//-/_}
export "CFLAGS_$env_target=$cflags"
export RUSTFLAGS=$flags
unset CARGO_ENCODED_RUSTFLAGS
# A folder of its own: other flags would make the everyday builds start anew.
folder=${MUSTER_DIST_DIR:-$root/target/dist}
cargo build --locked --quiet --profile dist -p muster --target "$target" --target-dir "$folder" >&2
echo "$folder/$target/dist/muster"
