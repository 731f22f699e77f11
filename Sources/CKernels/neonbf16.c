// The kernels in simd/ for NEON with the matrix products of bfloat16 numbers and of bytes (BFMMLA, SMMLA).
#include "tables.h"

#if FV_HAS_NEON

#include "fv_quantised.h"
#include "numbers.h"

#include <arm_neon.h>
#pragma clang attribute push(__attribute__((target("dotprod,bf16,i8mm"))), apply_to = function)

#define FV_NAME(operation) FV_JOIN(operation, neonbf16)
#define FV_TABLE fv_kernels_neonbf16
#define FV_ISA FV_ISA_NEONBF16
#define FV_HAS_DPBF16 1
#define FV_HAS_DOTPROD 1
#define FV_HAS_I8MM 1
#include "simd/vec_neon.h"
#include "simd/kernels.h"

#pragma clang attribute pop

#endif
