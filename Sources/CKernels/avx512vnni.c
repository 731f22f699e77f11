// The kernels in simd/ for AVX-512 (F, BW, VL, DQ) with VNNI.
#if defined(__x86_64__)

#include "fv_quantised.h"
#include "numbers.h"
#include "tables.h"

#if FV_SIMDE // the test build that emulates this instruction set, see Tests/KernelCheck
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/fma.h>
#include "simd/simde_gaps.h"
#else
#include <immintrin.h>
#pragma clang attribute push(__attribute__((target("avx512vnni,avx512f,avx512bw,avx512vl,avx512dq,fma,f16c,bmi2"))), apply_to = function)
#endif

#define FV_NAME(operation) FV_JOIN(operation, avx512vnni)
#define FV_TABLE fv_kernels_avx512vnni
#define FV_ISA FV_ISA_AVX512VNNI
#define FV_HAS_DPBF16 0
#define FV_HAS_VNNI 1
#include "simd/vec_avx512.h"
#include "simd/kernels.h"

#if !FV_SIMDE
#pragma clang attribute pop
#endif

#endif
