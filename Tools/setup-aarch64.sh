#!/usr/bin/env bash
# Makes sure that what `make verify-neon` needs is there: an aarch64 C library with its linker, and qemu's user mode.
# Installs missing Debian or Ubuntu packages by itself and says so; changes nothing when all is there.
set -euo pipefail

missing=()
command -v qemu-aarch64 >/dev/null || missing+=(qemu-user)
command -v aarch64-linux-gnu-ld >/dev/null || missing+=(gcc-aarch64-linux-gnu)
[ -e /usr/aarch64-linux-gnu/lib/libc.a ] || missing+=(libc6-dev-arm64-cross)

[ ${#missing[@]} -eq 0 ] && exit 0
if ! command -v apt-get >/dev/null; then
    echo "setup: please install qemu-aarch64 (user mode) and a C library and linker for aarch64-linux-gnu" >&2
    exit 1
fi
echo "setup: installing ${missing[*]}"
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
"${as_root[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq "${missing[@]}" >/dev/null
