#!/bin/sh
# Builds and runs check_kernels.c and what stands beside it: every kernel against the scalar reference, its rows against
# the same rows in other company, and numbers that are not finite.
#
#   Tests/KernelCheck/run.sh [SEED]        what this processor can run
#   SIMDE=1 Tests/KernelCheck/run.sh       the AVX-512, AVX-VNNI and AMX kernels, emulated (needs Debian's
#                                          libsimde-dev)
#   NEON=1 Tests/KernelCheck/run.sh        the NEON kernels, cross-compiled and run by qemu-aarch64 as three
#                                          processors (needs qemu-user and gcc-aarch64-linux-gnu, and a clang
#                                          with an aarch64 back end, which Swift's has)
#
# The emulated build compiles the very same sources; only the header of the intrinsics differs, and two
# bfloat16 instructions that SIMDe lacks have stand-ins in simd/dpbf16.h. Set CC to another clang if need be.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
sources=$here/../../Sources
kernels=$sources/CKernels
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
seed=${1:-1}
echo "seed $seed"
flags="-std=gnu11 -O2 -Wall -Wextra -Werror -Wno-psabi -I$kernels -I$kernels/include"
common="$kernels/pack.c $kernels/pack_quantised.c $kernels/reference/*.c $here/*.c"
chosen="$kernels/dispatch.c $kernels/cpu_features.c"

# Every C file of the package must compile for aarch64, the shims over image libraries too: with the headers of this
# machine's libraries, which say the same on both.
check_other_c() {
    mkdir "$work/include"
    for name in jpeglib.h jmorecfg.h jerror.h jconfig.h png.h pngconf.h pnglibconf.h zconf.h zlib.h webp curl; do
        found=$(find /usr/include /usr/local/include -maxdepth 2 -name "$name" -print -quit)
        [ -z "$found" ] || ln -s "$found" "$work/include/$name"
    done
    # In two folders, one of them this machine's.
    mkdir "$work/include/openssl"
    for found in /usr/include/openssl/*.h /usr/include/*-linux-gnu/openssl/*.h; do
        [ ! -e "$found" ] || ln -sf "$found" "$work/include/openssl/"
    done
    for file in "$sources"/*/*.c "$kernels"/reference/*.c; do
        $aarch64 $flags -fsyntax-only -isystem "$work/include" -I"${file%/*}/include" "$file"
    done
}

if [ "${SIMDE:-0}" = 1 ]; then
    # -mavx2: SIMDe then builds each 512-bit operation from two 256-bit ones; -ffp-contract=off: as written.
    ${CC:-clang} $flags -DFV_SIMDE=1 -mavx2 -mfma -mf16c $common "$kernels"/avx512*.c "$kernels"/avxvnni.c -lm -o "$work/check"
    "$work/check" "$seed"
elif [ "${NEON:-0}" = 1 ]; then
    aarch64="${CC:-clang} --target=aarch64-linux-gnu"
    check_other_c
    $aarch64 $flags -static $common "$kernels"/neon*.c $chosen -lm -o "$work/check"
    # The second word is the best table that this processor must choose.
    for processor in "cortex-a72 neon" "neoverse-n1 neondot" "max neonbf16"; do
        model=${processor% *}
        echo "as $model"
        qemu-aarch64 -cpu "$model" "$work/check" "$seed" "${processor#* }"
    done
else
    # AVX-VNNI's one instruction is older in AVX-512's encoding, where it does the same: processors that have only that
    # run those kernels with it, in this check alone.
    if grep -q avx512_vnni /proc/cpuinfo && ! grep -q avx_vnni /proc/cpuinfo; then
        echo "avxvnni in AVX-512's encoding"
        flags="$flags -DFV_EVEX_VNNI=1"
    fi
    ${CC:-clang} $flags $common "$kernels"/avx*.c "$kernels"/neon*.c $chosen -lm -o "$work/check"
    "$work/check" "$seed"
fi
