#!/bin/sh
# Builds and runs check_kernels.c: every kernel against the scalar reference.
#
#   Tests/KernelCheck/run.sh [SEED]        what this processor can run
#   SIMDE=1 Tests/KernelCheck/run.sh       the AVX-512 kernels, emulated (needs Debian's libsimde-dev)
#
# The emulated build compiles the very same sources; only the header of the intrinsics differs, and two
# bfloat16 instructions that SIMDe lacks have stand-ins in simd/dpbf16.h. Set CC to another clang if need be.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
kernels=$here/../../Sources/CKernels
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
flags="-std=gnu11 -O2 -Wall -Wextra -Werror -Wno-psabi -I$kernels -I$kernels/include"
common="$kernels/pack.c $kernels/pack_quantised.c $kernels/reference/*.c $here/check_kernels.c"
if [ "${SIMDE:-0}" = 1 ]; then
    # -mavx2: SIMDe then builds each 512-bit operation from two 256-bit ones; -ffp-contract=off: as written.
    ${CC:-clang} $flags -DFV_SIMDE=1 -mavx2 -mfma -mf16c $common \
        "$kernels/avx512.c" "$kernels/avx512bf16.c" -lm -o "$work/check"
else
    ${CC:-clang} $flags $common "$kernels"/avx*.c "$kernels/dispatch.c" "$kernels/cpu_features.c" -lm -o "$work/check"
fi
"$work/check" "${1:-$(date +%s)}"
