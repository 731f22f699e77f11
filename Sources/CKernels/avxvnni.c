// The kernels in simd/ for AVX2 and FMA with AVX-VNNI.
#if defined(__x86_64__)

#include "fv_quantised.h"
#include "numbers.h"
#include "tables.h"

#include <immintrin.h>
#if FV_SIMDE || FV_EVEX_VNNI // test builds for processors without it, see Tests/KernelCheck
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi2"))), apply_to = function)
#else
#pragma clang attribute push(__attribute__((target("avxvnni,avx2,fma,f16c,bmi2"))), apply_to = function)
#endif

#define FV_NAME(operation) FV_JOIN(operation, avxvnni)
#define FV_TABLE fv_kernels_avxvnni
#define FV_ISA FV_ISA_AVXVNNI
#define FV_HAS_DPBF16 0
#define FV_HAS_VNNI 1
#include "simd/vec_avx2.h"
#include "simd/kernels.h"

#pragma clang attribute pop

#endif
