#include <math.h>

#include "reference.h"

// Every operation is rounded by itself: masses are the same on every instruction set.
#pragma STDC FP_CONTRACT OFF

static float exponent(const struct fv_scores *s, size_t i) { return (s->x[i] - s->highest) * s->inverse; }

// e^x to about two units in the last place: 2^n · e^r with r in ±ln 2 / 2 and a polynomial (Cephes).
static float exponential(float x) {
    const float n = rintf(x * 1.442695041f);
    const float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return ldexpf(p * r * r + r + 1, (int)n);
}

uint64_t fv_score_masses_scalar(const struct fv_scores *s, float bound, uint64_t *masses) {
    uint64_t sum = 0;
    for (size_t i = 0; i < s->count; i++) {
        const float e = exponent(s, i);
        const uint64_t mass = e > bound ? (uint64_t)rint((double)exponential(e) * 0x1p40) : 0;
        if (masses) masses[i] = mass;
        sum += mass;
    }
    return sum;
}

size_t fv_select_scores_scalar(
    const struct fv_scores *s, float low, float high, uint32_t *ids, float *exponents) {
    size_t found = 0;
    for (size_t i = 0; i < s->count; i++) {
        const float e = exponent(s, i);
        if (!(e > low && e <= high)) continue;
        ids[found] = (uint32_t)i;
        exponents[found++] = e;
    }
    return found;
}
