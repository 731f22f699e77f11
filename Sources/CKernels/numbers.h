// Conversions between float32, bfloat16 and float16, one number at a time. Internal to this target.
#ifndef FV_NUMBERS_H
#define FV_NUMBERS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

#endif
