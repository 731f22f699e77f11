#!/usr/bin/env bash
# Builds libfastvlm.so, which needs no Swift to run, and strips it: into CInterface/.build/release, or the folder given.
set -euo pipefail
cd "$(dirname "$0")"
swift build -c release --static-swift-stdlib --product fastvlm-c
output=${1:-.build/stripped}
mkdir -p "$output"
strip --strip-unneeded -o "$output/libfastvlm.so" .build/release/libfastvlm-c.so
size=$(stat -c %s "$output/libfastvlm.so")
echo "$output/libfastvlm.so: $size bytes"
# Foundation where FoundationEssentials would do brings ICU along, 40 MB of it.
[ "$size" -lt 25000000 ] || { echo "build.sh: that is more than 25 MB; does a module import Foundation?" >&2; exit 1; }
