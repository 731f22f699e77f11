#include "reference.h"

// What a compiler makes of eight independent chains.
double fv_peak_scalar(size_t rounds) {
    volatile float start = 0.5f;
    float sums[8], x = start;
    for (size_t i = 0; i < 8; i++) sums[i] = x;
    for (size_t round = 0; round < rounds; round++) {
        for (size_t i = 0; i < 8; i++) sums[i] = sums[i] * x + x;
    }
    for (size_t i = 0; i < 8; i++) start = sums[i];
    return 16.0 * (double)rounds;
}

void fv_read_memory_scalar(const void *base, size_t bytes) {
    uint64_t sum = 0, word;
    for (size_t at = 0; at + 8 <= bytes; at += 8) {
        memcpy(&word, (const char *)base + at, 8);
        sum ^= word;
    }
    volatile uint64_t sink = sum;
    (void)sink;
}
