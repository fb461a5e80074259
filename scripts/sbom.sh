#!/usr/bin/env bash
# Prints an inventory (CycloneDX, JSON) of what goes into muster: every crate with version, licence and checksum.
# Fetches cargo-cyclonedx, OWASP's own tool, into the cache when it is not there.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="${HOME:-/root}/.cargo/bin:$PATH"
: "${HOME:=$(getent passwd "$(id -u)" | cut -d: -f6)}"

readonly VERSION=0.5.7
tools=${MUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/muster}/tools
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}

if [ "$("$tools/bin/cargo-cyclonedx" cyclonedx --version 2>/dev/null)" != "cargo-cyclonedx-cyclonedx $VERSION" ]; then
    cargo install --quiet --locked --root "$tools" --version $VERSION cargo-cyclonedx >&2
fi
# It writes one beside each manifest of the workspace; ours is that of the root.
name=sbom-$$
trap 'find . -path ./target -prune -o -name "$name.json" -exec rm -f {} +' EXIT
"$tools/bin/cargo-cyclonedx" cyclonedx --quiet --format json --override-filename "$name" >&2
# Nothing in it is this machine's, or this moment's.
made=$(date --utc --date "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
sed -e "s|path+file://$PWD|path+file:///muster|g" -e '/^  "serialNumber": /d' \
    -e "s|^    \"timestamp\": \".*\"|    \"timestamp\": \"$made\"|" "$name.json"
