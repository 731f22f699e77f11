#!/usr/bin/env bash
# Makes sure that what `make verify-neon` needs is there: an aarch64 C library with its linker, and qemu's user mode.
# Installs missing Debian or Ubuntu packages by itself and says so; changes nothing when all is there.
set -euo pipefail

missing=()
command -v qemu-aarch64 >/dev/null || missing+=(qemu-user)
command -v aarch64-linux-gnu-ld >/dev/null || missing+=(gcc-aarch64-linux-gnu)
[ -e /usr/aarch64-linux-gnu/lib/libc.a ] || missing+=(libc6-dev-arm64-cross)

"$(dirname "$0")/install.sh" "qemu-aarch64 (user mode) and a C library and linker for aarch64-linux-gnu" "${missing[@]}"
