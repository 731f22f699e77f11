#!/usr/bin/env bash
# Fails when a test takes random numbers from anywhere but SeededGenerator: its failure could not be repeated.
set -euo pipefail
cd "$(dirname "$0")/.."
found=$(grep -rnE 'SystemRandomNumberGenerator|\.(random|randomElement|shuffle|shuffled)\(' Tests --include='*.swift' \
    | grep -vE 'using: *&|^Tests/TestSupport/SeededGenerator' || true)
[ -z "$found" ] || { echo "$found"; echo "unseeded random numbers in tests: pass 'using: &generator', a SeededGenerator" >&2; exit 1; }
