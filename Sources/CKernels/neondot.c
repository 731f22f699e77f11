// The kernels in simd/ for NEON with the dot product of bytes.
#include "tables.h"

#if FV_HAS_NEON

#include "fv_quantised.h"
#include "numbers.h"

#include <arm_neon.h>
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)

#define FV_NAME(operation) FV_JOIN(operation, neondot)
#define FV_TABLE fv_kernels_neondot
#define FV_ISA FV_ISA_NEONDOT
#define FV_HAS_DPBF16 0
#define FV_HAS_DOTPROD 1
#include "simd/vec_neon.h"
#include "simd/kernels.h"

#pragma clang attribute pop

#endif
