// What the processor and the operating system let us use.
#ifndef FV_CPU_H
#define FV_CPU_H

#include <stddef.h>

/// Instruction sets that have a function table, slowest first.
enum fv_isa {
    FV_ISA_SCALAR = 0,
    FV_ISA_AVX2 = 1,
    FV_ISA_AVX512 = 2,
    FV_ISA_AVX512BF16 = 3,
};

/// One bit per feature; a bit is set only when CPUID has it *and* the system saves the registers (XCR0).
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
};

/// The features of this processor as `fv_cpu_feature` bits; 0 on other architectures. Cheap enough to call
/// when a model is loaded; it keeps no state.
unsigned fv_cpu_features(void);

/// Writes the processor's own name, zero-terminated, at most `size` bytes with the zero.
void fv_cpu_name(char *_Nonnull text, size_t size);

/// Processor cores that this process may run on; 0 where the system does not say.
unsigned fv_cpu_count(void);

/// Tells the core that this is a spin loop.
static inline void fv_cpu_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
