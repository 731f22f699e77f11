// Conversions between float32, bfloat16 and float16, one number at a time. Internal to this target.
#ifndef FV_NUMBERS_H
#define FV_NUMBERS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "fv_quantised.h"

static inline float fv_widen(uint16_t bits) {
    const uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, 4);
    return value;
}

// Round to nearest even; NaN stays a (quiet) NaN.
static inline uint16_t fv_round_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7FFFu + (bits >> 16 & 1)) >> 16);
}

static inline float fv_widen_half(uint16_t bits) {
    const uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
    const uint32_t exponent = bits >> 10 & 0x1F, mantissa = bits & 0x3FF;
    if (exponent == 0) { // zero and subnormal numbers: mantissa · 2^-24
        const float magnitude = (float)mantissa * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    const uint32_t wide = sign | (exponent == 31 ? 0xFF : exponent + 112) << 23 | mantissa << 13;
    float value;
    memcpy(&value, &wide, 4);
    return value;
}

static inline uint16_t fv_load16(const void *base, size_t index) {
    uint16_t bits;
    memcpy(&bits, (const char *)base + 2 * index, 2);
    return bits;
}

static inline float fv_load_float(const void *base, size_t index) {
    float value;
    memcpy(&value, (const char *)base + 4 * index, 4);
    return value;
}

static inline float fv_load_number(const void *base, enum fv_type type, size_t index) {
    switch (type) {
    case FV_FLOAT32: return fv_load_float(base, index);
    case FV_BFLOAT16: return fv_widen(fv_load16(base, index));
    case FV_FLOAT16: return fv_widen_half(fv_load16(base, index));
    }
    return 0;
}

// The Hadamard transform of `count` numbers, a power of two, which is count times its own inverse: stage by stage, numbers
// that are 1, 2, 4, … apart are replaced by their sum and their difference.
static inline void fv_rotate(float *x, size_t count) {
    for (size_t apart = 1; apart < count; apart *= 2) {
        for (size_t i = 0; i < count; i++) {
            if (i & apart) continue;
            const float a = x[i], b = x[i + apart];
            x[i] = a + b;
            x[i + apart] = a - b;
        }
    }
}

// Numbers in the block of a group of `group` inputs at which `left` are left; 1 where they are no block.
static inline size_t fv_rotated_block(size_t left, size_t group) {
    if (group >= FV_ROTATED_BLOCK && left >= FV_ROTATED_BLOCK) return FV_ROTATED_BLOCK;
    return left >= FV_ROTATED_BLOCK / 2 ? FV_ROTATED_BLOCK / 2 : 1;
}

// What the largest size in a group of activations makes of the group, whose largest integer is `limit`. Integers are the
// numbers · factor; where all are next to nothing they are 0, because limit / top would overflow. NaN or infinity makes the scale NaN and so every sum that
// the group goes into: no number comes of it in silence.
static inline float fv_quantising_factor(float top, int limit) {
    return top > 1e-30f ? (float)limit / top : 0;
}
static inline float fv_quantised_scale(float top, int limit) { return (top + 0 * top) / (float)limit; }

// FV_COARSE_GELU is x·(1/2 + b·g(b²)) with b = x between ±range and g a polynomial, the coefficients of which stand here
// from the highest power on. Minimax for the error of the whole, with 1/2 + b·g(b²) = 0 and 1 at the ends: 1.7e-4.
static const float fv_coarse_gelu_range = 3.94f;
static const float fv_coarse_gelu_coefficients[] = {
    0x1.ac1120p-26f, -0x1.c9d074p-20f, 0x1.a3b5b4p-15f, -0x1.b51da4p-11f,
    0x1.228738p-7f,  -0x1.095392p-4f,  0x1.979566p-2f,
};

#endif
