// Products of bfloat16 pairs (AVX512-BF16, or BFMMLA on NEON): inputs are rounded to bfloat16 before, sums are float32.

#if FV_NEON
#include "dpbf16_neon.h"
#elif FV_SIMDE
// Portable stand-ins, because SIMDe 0.7.4 has these two instructions not at all or not right.
INLINE V v_dot_pairs(V sum, VI a, VI b) {
    float s[W], low_a[W], high_a[W], low_b[W], high_b[W];
    v_store(s, sum);
    v_store(low_a, v_low(a)), v_store(high_a, v_high(a)), v_store(low_b, v_low(b)), v_store(high_b, v_high(b));
    for (size_t i = 0; i < W; i++) s[i] = s[i] + low_a[i] * low_b[i] + high_a[i] * high_b[i];
    return v_load(s);
}
INLINE void v_store_rounded(uint16_t *p, V x) {
    float values[W];
    v_store(values, x);
    for (size_t i = 0; i < W; i++) p[i] = fv_round_bf16(values[i]);
}
#else
INLINE V v_dot_pairs(V sum, VI a, VI b) { return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b); }
INLINE void v_store_rounded(uint16_t *p, V x) {
    _mm256_storeu_si256((__m256i *)p, (__m256i)_mm512_cvtneps_pbh(x));
}
#endif

#if !FV_NEON
#define PAIR_PRODUCTS (2 * W)
#endif

// One row, rounded; zeros follow up to a multiple of `unit`.
INLINE void round_row(uint16_t *target, const float *source, size_t count, const size_t unit) {
    size_t i = 0;
    for (; i + W <= count; i += W) v_store_rounded(target + i, v_load(source + i));
    for (; i < count; i++) target[i] = fv_round_bf16(source[i]);
    for (; i % unit; i++) target[i] = 0;
}

#if !FV_HAS_AMX // amx.h multiplies by tiles
#if !FV_NEON
INLINE void tile_dpbf16(
    const size_t mr, size_t k, const uint16_t *a, size_t a_stride, const uint16_t *b, float *c, size_t c_stride,
    int accumulate) {
    FV_TILE_BEGIN(mr)
    for (size_t j = 0; j < k; j += 2, b += 2 * NR) {
        fetch_ahead(b);
        const VI b0 = v_load_words(b), b1 = v_load_words(b + 2 * W);
        FV_UNROLL for (size_t i = 0; i < mr; i++) {
            int32_t pair;
            __builtin_memcpy(&pair, a + i * a_stride + j, 4);
            const VI x = _mm512_set1_epi32(pair);
            sums[i][0] = v_dot_pairs(sums[i][0], x, b0);
            sums[i][1] = v_dot_pairs(sums[i][1], x, b1);
        }
    }
    FV_TILE_END(mr)
}
#endif

FV_TILE_FUNCTIONS(dpbf16, uint16_t, uint16_t)

// One row × four panels, as row_bf16 in tiles.h, with the instruction of the tiles and in their order: a row has the same
// bits alone and among others.
static void row_dpbf16(size_t k, const uint16_t *a, const char *panels, size_t panel_bytes, float *c) {
#if FV_NEON
    for (size_t p = 0; p < 4; p++) tile_dpbf16_1(k, a, 0, panels + p * panel_bytes, c + p * NR, NR, 0);
#else
    V sums[4][2];
    FV_UNROLL for (size_t p = 0; p < 4; p++) sums[p][0] = sums[p][1] = v_zero();
    for (size_t j = 0; j < k; j += 2) {
        int32_t pair;
        __builtin_memcpy(&pair, a + j, 4);
        const VI x = _mm512_set1_epi32(pair);
        FV_UNROLL for (size_t p = 0; p < 4; p++) {
            const char *b = panels + p * panel_bytes + j * 2 * NR;
            __builtin_prefetch(b + 1024);
            sums[p][0] = v_dot_pairs(sums[p][0], x, v_load_words(b));
            sums[p][1] = v_dot_pairs(sums[p][1], x, v_load_words(b + 4 * W));
        }
    }
    FV_UNROLL for (size_t p = 0; p < 4; p++) {
        v_store(c + p * NR, sums[p][0]);
        v_store(c + p * NR + W, sums[p][1]);
    }
#endif
}
#endif
