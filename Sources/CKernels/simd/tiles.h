// Micro-kernels: mr rows × one panel of NR = 2·W outputs, all accumulators in registers.
//
//     c[i][0..NR) (+)= Σ_k a[i][k] · panel[k][0..NR)        2 · mr · NR · k operations
//
// Rows of a are read in place, one broadcast per number; rows of c are c_stride apart. Each sum runs over k
// in ascending order in float32 (fused multiply-add), whatever mr is, so a row's result does not depend on
// the rows beside it.

enum {
    NR = 2 * W,
    // Bytes between what a micro-kernel multiplies and what it asks the memory for. With several rows a processor does not
    // see far enough ahead by itself: arithmetic and reading would follow each other instead of going on together.
    AHEAD = 8192,
};

// Before a micro-kernel's step, which takes the NR words at b.
INLINE void fetch_ahead(const void *b) {
    FV_UNROLL for (size_t i = 0; i < 4 * NR; i += 64) __builtin_prefetch((const char *)b + AHEAD + i);
}

typedef void fv_tile(
    size_t k, const void *a, size_t a_stride, const void *panel, float *c, size_t c_stride, int accumulate);

#define FV_TILE_BEGIN(mr)                                                                                    \
    V sums[MR][2];                                                                                           \
    FV_UNROLL for (size_t i = 0; i < mr; i++) {                                                              \
        sums[i][0] = accumulate ? v_load(c + i * c_stride) : v_zero();                                       \
        sums[i][1] = accumulate ? v_load(c + i * c_stride + W) : v_zero();                                   \
    }
#define FV_TILE_END(mr)                                                                                      \
    FV_UNROLL for (size_t i = 0; i < mr; i++) {                                                              \
        v_store(c + i * c_stride, sums[i][0]);                                                               \
        v_store(c + i * c_stride + W, sums[i][1]);                                                           \
    }

#if FV_NEON
#include "tiles_neon.h"
#else
INLINE void tile_f32(
    const size_t mr, size_t k, const float *a, size_t a_stride, const float *b, float *c, size_t c_stride,
    int accumulate) {
    FV_TILE_BEGIN(mr)
    for (size_t j = 0; j < k; j++, b += NR) {
        // So few rows take so little time that the processor sees enough.
        if (mr > 4) fetch_ahead(b);
        const V b0 = v_load(b), b1 = v_load(b + W);
        FV_UNROLL for (size_t i = 0; i < mr; i++) {
            const V x = v_set(a[i * a_stride + j]);
            sums[i][0] = v_fma(x, b0, sums[i][0]);
            sums[i][1] = v_fma(x, b1, sums[i][1]);
        }
    }
    FV_TILE_END(mr)
}

// bfloat16 weights, widened in registers: a shift for the even inputs, a mask for the odd ones.
INLINE void tile_bf16(
    const size_t mr, size_t k, const float *a, size_t a_stride, const uint16_t *b, float *c, size_t c_stride,
    int accumulate) {
    FV_TILE_BEGIN(mr)
    for (size_t j = 0; j + 2 <= k; j += 2, b += 2 * NR) {
        fetch_ahead(b);
        const V low0 = v_low(v_load_words(b)), low1 = v_low(v_load_words(b + 2 * W));
        FV_UNROLL for (size_t i = 0; i < mr; i++) {
            const V x = v_set(a[i * a_stride + j]);
            sums[i][0] = v_fma(x, low0, sums[i][0]);
            sums[i][1] = v_fma(x, low1, sums[i][1]);
        }
        // The even half ends here, and the words are read again rather than kept: else the compiler loads
        // ahead and sums leave their registers.
        FV_UNROLL for (size_t i = 0; i < mr; i++) {
            V_PIN(sums[i][0]);
            V_PIN(sums[i][1]);
        }
        const uint16_t *again = b;
        const float *odd = a + j + 1;
        __asm__ volatile("" : "+r"(again), "+r"(odd));
        const V high0 = v_high(v_load_words(again)), high1 = v_high(v_load_words(again + 2 * W));
        FV_UNROLL for (size_t i = 0; i < mr; i++) {
            const V x = v_set(odd[i * a_stride]);
            sums[i][0] = v_fma(x, high0, sums[i][0]);
            sums[i][1] = v_fma(x, high1, sums[i][1]);
        }
    }
    if (k % 2) {
        const V low0 = v_low(v_load_words(b)), low1 = v_low(v_load_words(b + 2 * W));
        FV_UNROLL for (size_t i = 0; i < mr; i++) {
            const V x = v_set(a[i * a_stride + k - 1]);
            sums[i][0] = v_fma(x, low0, sums[i][0]);
            sums[i][1] = v_fma(x, low1, sums[i][1]);
        }
    }
    FV_TILE_END(mr)
}
#endif

// One function per number of rows.
#define FV_TILE_FUNCTION(DTYPE, A, B, mr)                                                                    \
    static void tile_##DTYPE##_##mr(                                                                         \
        size_t k, const void *a, size_t a_stride, const void *b, float *c, size_t c_stride, int accumulate) { \
        tile_##DTYPE(mr, k, (const A *)a, a_stride, (const B *)b, c, c_stride, accumulate);                  \
    }
#if MR == 6
#define FV_TILE_FUNCTIONS(DTYPE, A, B)                                                                       \
    FV_TILE_FUNCTION(DTYPE, A, B, 1)                                                                         \
    FV_TILE_FUNCTION(DTYPE, A, B, 2)                                                                         \
    FV_TILE_FUNCTION(DTYPE, A, B, 3)                                                                         \
    FV_TILE_FUNCTION(DTYPE, A, B, 4)                                                                         \
    FV_TILE_FUNCTION(DTYPE, A, B, 5)                                                                         \
    FV_TILE_FUNCTION(DTYPE, A, B, 6)                                                                         \
    static fv_tile *const tiles_##DTYPE[MR + 1] = {                                                          \
        0, tile_##DTYPE##_1, tile_##DTYPE##_2, tile_##DTYPE##_3, tile_##DTYPE##_4, tile_##DTYPE##_5,         \
        tile_##DTYPE##_6,                                                                                    \
    };
#else
#define FV_TILE_FUNCTIONS(DTYPE, A, B)                                                                       \
    FV_TILE_FUNCTION(DTYPE, A, B, 1)                                                                         \
    FV_TILE_FUNCTION(DTYPE, A, B, 2)                                                                         \
    FV_TILE_FUNCTION(DTYPE, A, B, 3)                                                                         \
    FV_TILE_FUNCTION(DTYPE, A, B, 4)                                                                         \
    FV_TILE_FUNCTION(DTYPE, A, B, 5)                                                                         \
    FV_TILE_FUNCTION(DTYPE, A, B, 6)                                                                         \
    FV_TILE_FUNCTION(DTYPE, A, B, 7)                                                                         \
    FV_TILE_FUNCTION(DTYPE, A, B, 8)                                                                         \
    FV_TILE_FUNCTION(DTYPE, A, B, 9)                                                                         \
    FV_TILE_FUNCTION(DTYPE, A, B, 10)                                                                        \
    FV_TILE_FUNCTION(DTYPE, A, B, 11)                                                                        \
    FV_TILE_FUNCTION(DTYPE, A, B, 12)                                                                        \
    static fv_tile *const tiles_##DTYPE[MR + 1] = {                                                          \
        0, tile_##DTYPE##_1, tile_##DTYPE##_2, tile_##DTYPE##_3, tile_##DTYPE##_4, tile_##DTYPE##_5,         \
        tile_##DTYPE##_6, tile_##DTYPE##_7, tile_##DTYPE##_8, tile_##DTYPE##_9, tile_##DTYPE##_10,           \
        tile_##DTYPE##_11, tile_##DTYPE##_12,                                                                \
    };
#endif

FV_TILE_FUNCTIONS(f32, float, float)
FV_TILE_FUNCTIONS(bf16, float, uint16_t)

// One row × four panels, for products with a single row, whose cost is reading the weights: four streams and
// eight sums. The sums run in the same order as in the tiles.
static void row_f32(size_t k, const float *a, const char *panels, size_t panel_bytes, float *c) {
    V sums[4][2];
    FV_UNROLL for (size_t p = 0; p < 4; p++) sums[p][0] = sums[p][1] = v_zero();
    for (size_t j = 0; j < k; j++) {
        const V x = v_set(a[j]);
        FV_UNROLL for (size_t p = 0; p < 4; p++) {
            const float *b = (const float *)(panels + p * panel_bytes) + j * NR;
            sums[p][0] = v_fma(x, v_load(b), sums[p][0]);
            sums[p][1] = v_fma(x, v_load(b + W), sums[p][1]);
        }
    }
    FV_UNROLL for (size_t p = 0; p < 4; p++) {
        v_store(c + p * NR, sums[p][0]);
        v_store(c + p * NR + W, sums[p][1]);
    }
}

static void row_bf16(size_t k, const float *a, const char *panels, size_t panel_bytes, float *c) {
    V sums[4][2];
    FV_UNROLL for (size_t p = 0; p < 4; p++) sums[p][0] = sums[p][1] = v_zero();
    size_t j = 0;
    for (; j + 2 <= k; j += 2) {
        const V even = v_set(a[j]), odd = v_set(a[j + 1]);
        FV_UNROLL for (size_t p = 0; p < 4; p++) {
            const char *b = panels + p * panel_bytes + j * 2 * NR;
            __builtin_prefetch(b + 1024);
            const VI w0 = v_load_words(b), w1 = v_load_words(b + 4 * W);
            sums[p][0] = v_fma(odd, v_high(w0), v_fma(even, v_low(w0), sums[p][0]));
            sums[p][1] = v_fma(odd, v_high(w1), v_fma(even, v_low(w1), sums[p][1]));
        }
    }
    FV_UNROLL for (size_t p = 0; p < 4; p++) {
        if (k % 2) {
            const V even = v_set(a[j]);
            const char *b = panels + p * panel_bytes + j * 2 * NR;
            sums[p][0] = v_fma(even, v_low(v_load_words(b)), sums[p][0]);
            sums[p][1] = v_fma(even, v_low(v_load_words(b + 4 * W)), sums[p][1]);
        }
        v_store(c + p * NR, sums[p][0]);
        v_store(c + p * NR + W, sums[p][1]);
    }
}
