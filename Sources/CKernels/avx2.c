// The kernels in simd/ for AVX2 and FMA.
#if defined(__x86_64__)

#include "fv_quantised.h"
#include "numbers.h"
#include "tables.h"

#include <immintrin.h>
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi2"))), apply_to = function)

#define FV_NAME(operation) FV_JOIN(operation, avx2)
#define FV_TABLE fv_kernels_avx2
#define FV_ISA FV_ISA_AVX2
#define FV_HAS_DPBF16 0
#define FV_HAS_VNNI 0
#include "simd/vec_avx2.h"
#include "simd/kernels.h"

#pragma clang attribute pop

#endif
