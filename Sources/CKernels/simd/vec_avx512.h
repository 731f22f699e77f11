// Sixteen float32 lanes; the same functions as in vec_avx2.h, where they are explained.

#define W 16
// 12 × 2 accumulators, 2 weights, 1 input = 27 of 32 registers.
#define MR 12
#define DW_TILE 16
#define DW_STRIP 32
#if FV_HAS_AMX
// Rows of a product with two AMX tiles.
#define AMX_ROWS 32
#endif
// Fits in a 1 MiB second-level cache.
#define L2_BUDGET (700 * 1024)

typedef __m512 V;
typedef __m512i VI;

#if FV_SIMDE
#define V_PIN(x) (void)(x)
#else
#define V_PIN(x) __asm__ volatile("" : "+v"(x))
#endif

#define FV_UNROLL _Pragma("clang loop unroll(full)")
#define INLINE static inline __attribute__((always_inline, unused))

#include "transpose_x86.h"

INLINE V v_load(const float *p) { return _mm512_loadu_ps(p); }
INLINE void v_store(float *p, V x) { _mm512_storeu_ps(p, x); }
INLINE V v_set(float x) { return _mm512_set1_ps(x); }
INLINE V v_zero(void) { return _mm512_setzero_ps(); }
INLINE V v_fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
INLINE V v_add(V a, V b) { return _mm512_add_ps(a, b); }
INLINE V v_sub(V a, V b) { return _mm512_sub_ps(a, b); }
INLINE V v_mul(V a, V b) { return _mm512_mul_ps(a, b); }
INLINE V v_div(V a, V b) { return _mm512_div_ps(a, b); }
INLINE V v_max(V a, V b) { return _mm512_max_ps(a, b); }
INLINE V v_min(V a, V b) { return _mm512_min_ps(a, b); }
INLINE V v_round(V x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

INLINE __mmask16 v_lanes(size_t n) { return (__mmask16)((1u << n) - 1); }
INLINE V v_load_part(const float *p, size_t n) { return _mm512_maskz_loadu_ps(v_lanes(n), p); }
INLINE void v_store_part(float *p, V x, size_t n) { _mm512_mask_storeu_ps(p, v_lanes(n), x); }
INLINE V v_keep_part(V x, size_t n) { return _mm512_maskz_mov_ps(v_lanes(n), x); }

INLINE V v_unless_below(V x, V bound, V value) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, bound, _CMP_NLE_UQ), value);
}
INLINE V v_exp2(V n) {
    const VI biased = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(biased, 23));
}

INLINE VI v_load_words(const void *p) { return _mm512_loadu_si512(p); }
INLINE V v_low(VI words) { return _mm512_castsi512_ps(_mm512_slli_epi32(words, 16)); }
INLINE V v_high(VI words) {
    return _mm512_castsi512_ps(_mm512_and_si512(words, _mm512_set1_epi32((int)0xFFFF0000u)));
}
// A weight of each lane's four bytes or eight nibbles, unsigned, which begins at bit `shift`.
INLINE VI vi_weight(const VI words, const int shift) {
    return _mm512_and_si512(_mm512_srli_epi32(words, (unsigned)shift), _mm512_set1_epi32(255));
}
INLINE VI vi_nibble(const VI words, const int shift) {
    return _mm512_and_si512(_mm512_srli_epi32(words, (unsigned)shift), _mm512_set1_epi32(15));
}
INLINE V v_load_bf16(const void *p) {
    const VI words = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(words, 16));
}

INLINE __m256 v_upper_half(V x) {
    return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1));
}
INLINE float v_sum(V x) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x), v_upper_half(x));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
INLINE float v_largest(V x) {
    const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(x), v_upper_half(x));
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

INLINE void v_interleave(V a, V b, V *low, V *high) {
    const VI first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const VI second = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    *low = _mm512_permutex2var_ps(a, first, b);
    *high = _mm512_permutex2var_ps(a, second, b);
}

// 1 where bit i of `minus` is not set, else −1.
INLINE V v_signs(__mmask16 minus) { return _mm512_mask_blend_ps(minus, _mm512_set1_ps(1), _mm512_set1_ps(-1)); }
INLINE V v_rotate(V x) {
    x = _mm512_fmadd_ps(x, v_signs(0xAAAA), _mm512_permute_ps(x, 0xB1));
    x = _mm512_fmadd_ps(x, v_signs(0xCCCC), _mm512_permute_ps(x, 0x4E));
    x = _mm512_fmadd_ps(x, v_signs(0xF0F0), _mm512_shuffle_f32x4(x, x, 0xB1));
    return _mm512_fmadd_ps(x, v_signs(0xFF00), _mm512_shuffle_f32x4(x, x, 0x4E));
}

INLINE uint32_t v_above(V x, V bound) { return _mm512_cmp_ps_mask(x, bound, _CMP_GT_OQ); }
typedef struct {
    __m512i half[2];
} VL;
INLINE __m512i masses_half(__m256 x) {
    const __m512d sum = _mm512_fmadd_pd(_mm512_cvtps_pd(x), _mm512_set1_pd(0x1p40), _mm512_set1_pd(0x1p52));
    return _mm512_and_si512(_mm512_castpd_si512(sum), _mm512_set1_epi64(((int64_t)1 << 52) - 1));
}
INLINE VL v_masses(V x) {
    return (VL){{masses_half(_mm512_castps512_ps256(x)), masses_half(v_upper_half(x))}};
}
INLINE VL vl_add(VL a, VL b) {
    return (VL){{_mm512_add_epi64(a.half[0], b.half[0]), _mm512_add_epi64(a.half[1], b.half[1])}};
}
INLINE void vl_store(uint64_t *p, VL x) {
    _mm512_storeu_si512(p, x.half[0]);
    _mm512_storeu_si512(p + 8, x.half[1]);
}

// Integers: 32-bit lanes of four activations or weights.
INLINE V v_abs(V x) { return _mm512_abs_ps(x); }
INLINE VI v_integers(V x) { return _mm512_cvtps_epi32(x); }
INLINE V v_floats(VI x) { return _mm512_cvtepi32_ps(x); }
INLINE VI v_size_bits(V x) { return _mm512_castps_si512(v_abs(x)); }
INLINE VI vi_zero(void) { return _mm512_setzero_si512(); }
INLINE VI vi_max(VI a, VI b) { return _mm512_max_epi32(a, b); }
INLINE int32_t vi_largest(VI x) { return _mm512_reduce_max_epi32(x); }
INLINE VI vi_set(int32_t x) { return _mm512_set1_epi32(x); }
INLINE VI vi_add(VI a, VI b) { return _mm512_add_epi32(a, b); }
INLINE VI vi_sub(VI a, VI b) { return _mm512_sub_epi32(a, b); }
INLINE int32_t vi_sum(VI x) { return _mm512_reduce_add_epi32(x); }
INLINE VI vi_set_word(const char *p) {
    int32_t word;
    __builtin_memcpy(&word, p, 4);
    return _mm512_set1_epi32(word);
}
INLINE void vi_store_quanta(int8_t *p, const VI x[4]) {
    FV_UNROLL for (size_t i = 0; i < 4; i++) {
        _mm_storeu_si128((__m128i *)(p + i * W), _mm512_cvtsepi32_epi8(x[i]));
    }
}
INLINE void vi_load_nibbles(const char *p, VI *low, VI *high) {
    const VI bytes = _mm512_loadu_si512(p), mask = _mm512_set1_epi8(15);
    *low = _mm512_and_si512(bytes, mask);
    *high = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), mask);
}
#if FV_HAS_VNNI
// `vpdpbusd` adds four products in 32 bits: nothing can overflow.
#define WEIGHT_LIMIT 127
#define INPUT_LIMIT 127
#define WEIGHT_ZERO 128
INLINE VI vi_dot(VI sum, VI x, VI w) { return _mm512_dpbusd_epi32(sum, w, x); }
INLINE VI vi_dot_nibbles(VI sum, VI x, VI low, VI y, VI high) {
    return _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(sum, low, x), high, y);
}
#else
// `vpmaddubsw`, see vec_avx2.h.
#define WEIGHT_LIMIT 97
#define INPUT_LIMIT 84
#define WEIGHT_ZERO 98
_Static_assert(2 * (WEIGHT_ZERO + WEIGHT_LIMIT) * INPUT_LIMIT <= INT16_MAX, "products would be cut off");
INLINE VI vi_dot(VI sum, VI x, VI w) {
    return _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(w, x), _mm512_set1_epi16(1)));
}
INLINE VI vi_dot_nibbles(VI sum, VI x, VI low, VI y, VI high) {
    const VI products = _mm512_add_epi16(_mm512_maddubs_epi16(low, x), _mm512_maddubs_epi16(high, y));
    return _mm512_add_epi32(sum, _mm512_madd_epi16(products, _mm512_set1_epi16(1)));
}
#endif
