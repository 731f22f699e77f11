// Integers of one group of weights: plain loops that the compiler vectorises for the instruction set this is compiled
// for; the reference includes it too. Run while a model loads.

// Largest size as an integer, which orders as the numbers do, with NaN above them all: a group with NaN gets it as
// its scale, so that it shows.
static inline float weights_top(const float *w, size_t count) {
    uint32_t largest = 0;
    for (size_t k = 0; k < count; k++) {
        uint32_t bits;
        memcpy(&bits, w + k, 4);
        bits &= 0x7FFFFFFF;
        largest = bits > largest ? bits : largest;
    }
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
    if (!(top > 0)) {
        memset(q, 0, count);
        return top; // 0, or NaN
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
