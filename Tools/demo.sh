#!/usr/bin/env bash
# Asks the embedded model about the sample images and compares its answers with the expected ones.
# Reads Samples/questions.tsv: image, question, answer; asks the first two questions about each image.
# Fails when an answer is wrong.
set -euo pipefail
cd "$(dirname "$0")/.."
fastvlm=${FASTVLM:-.build/release/fastvlm}
timings=$(mktemp)
trap 'rm -f "$timings"' EXIT

asked=0
right=0
while IFS=$'\t' read -r image question expected; do
    printf '\n\033[1m%s\033[0m  %s\n' "Samples/$image" "$question"
    # The answer streams to the terminal while it is kept for the comparison; the timing follows.
    exec 3>&1
    answer=$("$fastvlm" describe "Samples/$image" "$question" 2>"$timings" | tee -a /dev/fd/3) || true
    exec 3>&-
    cat "$timings"
    asked=$((asked + 1))
    if [ "$answer" = "$expected" ]; then
        right=$((right + 1))
    else
        printf 'expected: %s\n' "$expected"
    fi
done < <(grep -v '^#' Samples/questions.tsv | awk -F'\t' 'seen[$1]++ < 2')
printf '\n%d of %d answers are right.\n' "$right" "$asked"
[ "$right" -eq "$asked" ] && [ "$asked" -ge 3 ]
