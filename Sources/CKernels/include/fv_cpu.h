// What the processor and the operating system let us use.
#ifndef FV_CPU_H
#define FV_CPU_H

#include <stddef.h>

/// Instruction sets that have a function table, slowest first of each architecture.
enum fv_isa {
    FV_ISA_SCALAR = 0,
    FV_ISA_AVX2 = 1,
    FV_ISA_AVXVNNI = 2,
    FV_ISA_AVX512 = 3,
    FV_ISA_AVX512VNNI = 4,
    FV_ISA_AVX512BF16 = 5,
    FV_ISA_AVX512AMX = 6,
    FV_ISA_NEON = 7,
    FV_ISA_NEONDOT = 8,
    FV_ISA_NEONBF16 = 9,
};

/// One bit per feature; a bit is set only when the processor has it *and* the system lets us use it: on x86 it saves
/// the registers (XCR0) and, for AMX, grants their use; on aarch64 it reports the feature.
enum fv_cpu_feature {
    FV_CPU_AVX2 = 1 << 0,
    FV_CPU_FMA = 1 << 1,
    FV_CPU_F16C = 1 << 2,
    FV_CPU_BMI2 = 1 << 3,
    FV_CPU_AVX512F = 1 << 4,
    FV_CPU_AVX512BW = 1 << 5,
    FV_CPU_AVX512VL = 1 << 6,
    FV_CPU_AVX512DQ = 1 << 7,
    FV_CPU_AVX512BF16 = 1 << 8,
    FV_CPU_AVX512VNNI = 1 << 9,
    FV_CPU_AMX_TILE = 1 << 10,
    FV_CPU_AMX_BF16 = 1 << 11,
    FV_CPU_AMX_INT8 = 1 << 12,
    FV_CPU_NEON = 1 << 13,
    FV_CPU_DOTPROD = 1 << 14,
    FV_CPU_BF16 = 1 << 15,
    FV_CPU_I8MM = 1 << 16,
    FV_CPU_AVXVNNI = 1 << 17,
};

/// The features of this processor as `fv_cpu_feature` bits; 0 on other architectures. Cheap enough to call
/// when a model is loaded; it keeps no state. (Where the processor has AMX it asks Linux for the use of its tiles,
/// which holds for the whole process and its later threads.)
unsigned fv_cpu_features(void);

/// 0 where AVX-512's products of bfloat16 pairs take as long as two of float32 numbers: on Intel's processors (measured on
/// Emerald Rapids). AMD's take half of that.
int fv_cpu_has_fast_pairs(void);

/// Writes the processor's own name, zero-terminated, at most `size` bytes with the zero.
void fv_cpu_name(char *_Nonnull text, size_t size);

/// Numbers of the processors that this process may run on, in ascending order, at most `capacity`; how many.
size_t fv_cpu_list(unsigned *_Nonnull list, size_t capacity);

/// Tells the core that this is a spin loop.
static inline void fv_cpu_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
