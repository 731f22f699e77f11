#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1 // sched_getaffinity
#endif
#include "fv_cpu.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>
#endif

size_t fv_cpu_list(unsigned *list, size_t capacity) {
    size_t count = 0;
#if defined(__linux__)
    // The system refuses a set that is smaller than its own.
    enum { SETS = 16 };
    static const size_t bytes = SETS * sizeof(cpu_set_t);
    cpu_set_t sets[SETS];
    if (sched_getaffinity(0, bytes, sets) == 0) {
        for (size_t i = 0; i < 8 * bytes && count < capacity; i++) {
            if (CPU_ISSET_S(i, bytes, sets)) list[count++] = (unsigned)i;
        }
    }
#endif
    const long online = count == 0 ? sysconf(_SC_NPROCESSORS_ONLN) : 0;
    for (long i = 0; i < online && count < capacity; i++) list[count++] = (unsigned)i;
    return count;
}

#if defined(__x86_64__)
#include <cpuid.h>

// XCR0 says which register files the system saves on a switch: without it the instructions trap or lose data.
static uint64_t saved_registers(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

// Linux keeps the tiles' 8 KiB of state only for processes that have asked for it; asking again changes nothing.
static int tiles_granted(void) {
#if defined(__linux__)
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return 0;
#endif
}

unsigned fv_cpu_features(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
    const uint64_t saved = saved_registers();
    if ((saved & 0x6) != 0x6) return 0; // SSE and AVX state
    unsigned found = 0;
    if (c & bit_FMA) found |= FV_CPU_FMA;
    if (c & bit_F16C) found |= FV_CPU_F16C;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
    unsigned second = 0, unused; // of the second subleaf, its first register
    if (a >= 1) __get_cpuid_count(7, 1, &second, &unused, &unused, &unused);
    if (b & bit_AVX2) found |= FV_CPU_AVX2;
    if (b & bit_BMI2) found |= FV_CPU_BMI2;
    if (second & 1u << 4) found |= FV_CPU_AVXVNNI;
    if ((saved & 0xE6) == 0xE6) { // opmask, upper halves of zmm0–15, zmm16–31
        if (b & bit_AVX512F) found |= FV_CPU_AVX512F;
        if (b & bit_AVX512BW) found |= FV_CPU_AVX512BW;
        if (b & bit_AVX512VL) found |= FV_CPU_AVX512VL;
        if (b & bit_AVX512DQ) found |= FV_CPU_AVX512DQ;
        if (c & 1u << 11) found |= FV_CPU_AVX512VNNI;
        if (second & 1u << 5) found |= FV_CPU_AVX512BF16;
    }
    // Tile shapes and tiles
    if ((saved & 0x60000) == 0x60000 && (d & 1u << 24) && tiles_granted()) {
        found |= FV_CPU_AMX_TILE;
        if (d & 1u << 22) found |= FV_CPU_AMX_BF16;
        if (d & 1u << 25) found |= FV_CPU_AMX_INT8;
    }
    return found;
}

int fv_cpu_has_fast_pairs(void) {
    unsigned a, b, c, d;
    return !__get_cpuid(0, &a, &b, &c, &d) || b != signature_INTEL_ebx;
}

void fv_cpu_name(char *text, size_t size) {
    unsigned words[13] = {0};
    if (size == 0) return;
    unsigned a, b, c, d;
    if (__get_cpuid(0x80000000u, &a, &b, &c, &d) && a >= 0x80000004u) {
        for (unsigned leaf = 0; leaf < 3; leaf++) {
            unsigned *four = words + 4 * leaf;
            __get_cpuid(0x80000002u + leaf, four, four + 1, four + 2, four + 3);
        }
    }
    strncpy(text, (const char *)words, size - 1);
    text[size - 1] = 0;
}

#elif defined(__aarch64__)
#if defined(__linux__)
#include <sys/auxv.h>

// Linux's bits (asm/hwcap.h), which older headers lack in part.
enum { HAS_ASIMD = 1 << 1, HAS_ID_REGISTERS = 1 << 11, HAS_ASIMDDP = 1 << 20 };
enum { HAS2_I8MM = 1 << 13, HAS2_BF16 = 1 << 14 };
#endif

unsigned fv_cpu_features(void) {
    unsigned found = 0;
    // What the compiler was allowed to use anyway, which covers systems that are asked in other ways.
#if defined(__ARM_NEON)
    found |= FV_CPU_NEON;
#endif
#if defined(__ARM_FEATURE_DOTPROD)
    found |= FV_CPU_DOTPROD;
#endif
#if defined(__ARM_FEATURE_BF16)
    found |= FV_CPU_BF16;
#endif
#if defined(__ARM_FEATURE_MATMUL_INT8)
    found |= FV_CPU_I8MM;
#endif
#if defined(__linux__)
    const unsigned long first = getauxval(AT_HWCAP), second = getauxval(AT_HWCAP2);
    if (first & HAS_ASIMD) found |= FV_CPU_NEON;
    if (first & HAS_ASIMDDP) found |= FV_CPU_DOTPROD;
    if (second & HAS2_BF16) found |= FV_CPU_BF16;
    if (second & HAS2_I8MM) found |= FV_CPU_I8MM;
#endif
    return found;
}

// There are no names, but numbers, which Linux lets us read.
void fv_cpu_name(char *text, size_t size) {
    if (size == 0) return;
#if defined(__linux__)
    if (getauxval(AT_HWCAP) & HAS_ID_REGISTERS) {
        uint64_t id;
        __asm__("mrs %0, MIDR_EL1" : "=r"(id));
        snprintf(
            text, size, "aarch64, implementer 0x%02x, part 0x%03x", (unsigned)(id >> 24 & 0xFF),
            (unsigned)(id >> 4 & 0xFFF));
        return;
    }
#endif
    snprintf(text, size, "aarch64");
}

#else

unsigned fv_cpu_features(void) { return 0; }

void fv_cpu_name(char *text, size_t size) {
    if (size == 0) return;
    strncpy(text, "unknown processor", size - 1);
    text[size - 1] = 0;
}

#endif

#if !defined(__x86_64__)
int fv_cpu_has_fast_pairs(void) { return 1; }
#endif
