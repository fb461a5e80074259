#!/usr/bin/env bash
# Runs every fuzz target for so many minutes, all side by side at the lowest priority, and fails if one found something.
#   scripts/fuzz.sh run MINUTES    fuzz; what is learnt stays in fuzz/libfuzzer/learnt/
# FUZZ_TARGETS="gateway request" runs these alone.
#   scripts/fuzz.sh keep           merge what was learnt into fuzz/corpus/, as few inputs as reach the same code
set -euo pipefail
cd "$(dirname "$0")/.."

targets=(${FUZZ_TARGETS:-command etcd_file form gateway log peer_message request snapshot snapshot_file})
# Longest input: the smallest file of etcd has some pages of 4 KiB, a segment of the smallest log one.
bytes_max=65536
# Largest input that is kept: the corpus is to be a good start in a small tree, not complete.
kept_bytes_max=128
programs=fuzz/libfuzzer/target/x86_64-unknown-linux-gnu/release

command -v cargo-fuzz > /dev/null || cargo install --quiet --locked cargo-fuzz
# The sanitizer is a switch of the nightly compiler; the pinned one has it too, behind this variable.
RUSTC_BOOTSTRAP=1 cargo fuzz build --fuzz-dir fuzz/libfuzzer --sanitizer address

run() {
    local seconds=$(($1 * 60)) failed=0 pids=()
    mkdir -p fuzz/libfuzzer/artifacts
    for target in "${targets[@]}"; do
        mkdir -p "fuzz/libfuzzer/learnt/$target"
        nice -n 19 "$programs/$target" -max_total_time="$seconds" -max_len="$bytes_max" -rss_limit_mb=2048 -timeout=20 \
            -print_final_stats=1 -artifact_prefix="fuzz/libfuzzer/artifacts/$target-" \
            "fuzz/libfuzzer/learnt/$target" "fuzz/corpus/$target" > "fuzz/libfuzzer/learnt/$target.log" 2>&1 &
        pids+=($!)
    done
    for number in "${!targets[@]}"; do
        local target=${targets[$number]}
        if wait "${pids[$number]}"; then
            echo "$target: $(grep -a '^Done' "fuzz/libfuzzer/learnt/$target.log")"
        else
            failed=1
            echo "$target: FOUND SOMETHING, see fuzz/libfuzzer/learnt/$target.log" >&2
        fi
    done
    return "$failed"
}

keep() {
    for target in "${targets[@]}"; do
        local merged
        merged=$(mktemp -d)
        mkdir -p "fuzz/libfuzzer/learnt/$target"
        "$programs/$target" -set_cover_merge=1 -max_len="$kept_bytes_max" "$merged" "fuzz/corpus/$target" "fuzz/libfuzzer/learnt/$target" 2> /dev/null
        # Seeds are longer than what is kept of others, and stay.
        find "fuzz/corpus/$target" -type f ! -name 'seed-*' -delete
        find "$merged" -type f -exec cp -n -t "fuzz/corpus/$target/" {} +
        rm -r "$merged"
        echo "$target: $(find "fuzz/corpus/$target" -type f | wc -l) inputs, $(du -sk "fuzz/corpus/$target" | cut -f1) KiB"
    done
}

case "${1:-}" in
run) run "${2:?minutes}" ;;
keep) keep ;;
*)
    echo "usage: scripts/fuzz.sh run MINUTES | keep" >&2
    exit 2
    ;;
esac
