#include "tables.h"

#if defined(__x86_64__)
enum {
    NEEDS_AVX2 = FV_CPU_AVX2 | FV_CPU_FMA | FV_CPU_F16C | FV_CPU_BMI2,
    NEEDS_AVX512 = NEEDS_AVX2 | FV_CPU_AVX512F | FV_CPU_AVX512BW | FV_CPU_AVX512VL | FV_CPU_AVX512DQ,
    // Every processor with the one has the other.
    NEEDS_AVX512BF16 = NEEDS_AVX512 | FV_CPU_AVX512BF16 | FV_CPU_AVX512VNNI,
};

static int has(unsigned features) { return (fv_cpu_features() & features) == features; }
#endif

const struct fv_kernels *fv_kernels_for(enum fv_isa isa) {
    switch (isa) {
    case FV_ISA_SCALAR: return &fv_kernels_scalar;
#if defined(__x86_64__)
    case FV_ISA_AVX2: return has(NEEDS_AVX2) ? &fv_kernels_avx2 : 0;
    case FV_ISA_AVX512: return has(NEEDS_AVX512) ? &fv_kernels_avx512 : 0;
    case FV_ISA_AVX512BF16: return has(NEEDS_AVX512BF16) ? &fv_kernels_avx512bf16 : 0;
#endif
    default: return 0;
    }
}
