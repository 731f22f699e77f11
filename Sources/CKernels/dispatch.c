#include "tables.h"

#if defined(__x86_64__)
enum {
    NEEDS_AVX2 = FV_CPU_AVX2 | FV_CPU_FMA | FV_CPU_F16C | FV_CPU_BMI2,
#if FV_EVEX_VNNI // the test build that runs these kernels by AVX-512's encoding of their instruction
    NEEDS_AVXVNNI = NEEDS_AVX2 | FV_CPU_AVX512VL | FV_CPU_AVX512VNNI,
#else
    NEEDS_AVXVNNI = NEEDS_AVX2 | FV_CPU_AVXVNNI,
#endif
    NEEDS_AVX512 = NEEDS_AVX2 | FV_CPU_AVX512F | FV_CPU_AVX512BW | FV_CPU_AVX512VL | FV_CPU_AVX512DQ,
    NEEDS_AVX512VNNI = NEEDS_AVX512 | FV_CPU_AVX512VNNI,
    // Every processor with BF16 has VNNI.
    NEEDS_AVX512BF16 = NEEDS_AVX512VNNI | FV_CPU_AVX512BF16,
    NEEDS_AVX512AMX = NEEDS_AVX512BF16 | FV_CPU_AMX_TILE | FV_CPU_AMX_BF16 | FV_CPU_AMX_INT8,
};
#elif FV_HAS_NEON
enum {
    NEEDS_NEON = FV_CPU_NEON,
    NEEDS_NEONDOT = NEEDS_NEON | FV_CPU_DOTPROD,
    // Processors have both or neither.
    NEEDS_NEONBF16 = NEEDS_NEONDOT | FV_CPU_BF16 | FV_CPU_I8MM,
};
#endif

#if defined(__x86_64__) || FV_HAS_NEON
static int has(unsigned features) { return (fv_cpu_features() & features) == features; }
#endif

const struct fv_kernels *fv_kernels_for(enum fv_isa isa) {
    switch (isa) {
    case FV_ISA_SCALAR: return &fv_kernels_scalar;
#if defined(__x86_64__)
    case FV_ISA_AVX2: return has(NEEDS_AVX2) ? &fv_kernels_avx2 : 0;
    case FV_ISA_AVXVNNI: return has(NEEDS_AVXVNNI) ? &fv_kernels_avxvnni : 0;
    case FV_ISA_AVX512: return has(NEEDS_AVX512) ? &fv_kernels_avx512 : 0;
    case FV_ISA_AVX512VNNI: return has(NEEDS_AVX512VNNI) ? &fv_kernels_avx512vnni : 0;
    case FV_ISA_AVX512BF16: return has(NEEDS_AVX512BF16) ? &fv_kernels_avx512bf16 : 0;
    case FV_ISA_AVX512AMX: return has(NEEDS_AVX512AMX) ? &fv_kernels_avx512amx : 0;
#elif FV_HAS_NEON
    case FV_ISA_NEON: return has(NEEDS_NEON) ? &fv_kernels_neon : 0;
    case FV_ISA_NEONDOT: return has(NEEDS_NEONDOT) ? &fv_kernels_neondot : 0;
    case FV_ISA_NEONBF16: return has(NEEDS_NEONBF16) ? &fv_kernels_neonbf16 : 0;
#endif
    default: return 0;
    }
}
