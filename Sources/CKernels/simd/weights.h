// Integers of one group of weights: plain loops that the compiler vectorises for the instruction set this is compiled
// for; the reference includes it too. Run while a model loads.

// Largest size as an integer, which orders as the numbers do, with infinity and NaN above them all.
static uint32_t FV_NAME(largest_bits)(const void *numbers, size_t count, size_t width) {
    if (width == 4) {
        uint32_t largest = 0;
        for (size_t k = 0; k < count; k++) {
            uint32_t bits;
            memcpy(&bits, (const char *)numbers + 4 * k, 4);
            bits &= 0x7FFFFFFF;
            largest = bits > largest ? bits : largest;
        }
        return largest;
    }
    uint16_t largest = 0;
    for (size_t k = 0; k < count; k++) {
        const uint16_t bits = fv_load16(numbers, k) & 0x7FFF;
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

static inline float weights_top(const float *w, size_t count) {
    const uint32_t largest = FV_NAME(largest_bits)(w, count, 4);
    float top;
    memcpy(&top, &largest, 4);
    return top;
}

// q[k] = the nearest integer to w[k] · factor within low … high; low for NaN.
static inline void weights_round(
    const float *w, size_t count, float factor, float low, float high, int8_t *q) {
    for (size_t k = 0; k < count; k++) {
        float x = w[k] * factor;
        x = x < high ? x : high;
        x = x > low ? x : low;
        q[k] = (int8_t)__builtin_rintf(x);
    }
}

// Squared error of the integers at `scale`, and the scale that fits them best (least squares).
static inline float weights_error(const float *w, const int8_t *q, size_t count, float scale, float *fitted) {
#pragma clang fp reassociate(on)
    float error = 0, products = 0, squares = 0;
    for (size_t k = 0; k < count; k++) {
        const float value = (float)q[k], difference = w[k] - scale * value;
        error += difference * difference;
        products += w[k] * value;
        squares += value * value;
    }
    *fitted = squares > 0 ? products / squares : scale;
    return error;
}

// 8 bits: the largest weight becomes ±limit. 4 bits: −8 … 7; a little clipping often costs less than coarser steps for
// all, so a few scales are tried, each with the largest weight on the side of −8, and the best one is fitted to its
// integers. Returns the scale, which may be negative for 4 bits.
static float FV_NAME(quantise_weights)(const float *w, size_t count, int bits, int limit, int8_t *q) {
    static const float sides[] = {8.4f, 8.0f, 7.6f, 7.2f, 6.8f};
    const float top = weights_top(w, count);
    // Of next to nothing limit / top would overflow; NaN and infinity become the scale, so that they show.
    if (!(top > 1e-30f && top <= 3.4028235e38f)) {
        memset(q, 0, count);
        return top <= 1e-30f ? 0 : top;
    }
    if (bits == 8) {
        weights_round(w, count, (float)limit / top, (float)-limit, (float)limit, q);
        return top / (float)limit;
    }
    float sign = -1;
    for (size_t k = 0; k < count; k++) {
        if (w[k] == -top) sign = 1;
    }
    float best = 0, smallest = __builtin_inff();
    for (size_t side = 0; side < sizeof sides / sizeof sides[0]; side++) {
        const float scale = sign * top / sides[side];
        float fitted;
        weights_round(w, count, 1 / scale, -8, 7, q);
        const float error = weights_error(w, q, count, scale, &fitted);
        if (error < smallest) {
            smallest = error;
            best = fitted;
        }
    }
    weights_round(w, count, 1 / best, -8, 7, q);
    return best;
}
