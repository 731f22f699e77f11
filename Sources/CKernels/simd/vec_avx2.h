// Eight float32 lanes. The kernels in this folder are written once over these few functions and compiled for
// each width; see vec_avx512.h and vec_neon.h for the others.
//
// "part" functions touch only the first n lanes (0 < n <= W) in memory; lanes beyond read as zero.

#define W 8
// Micro-kernel rows: 6 × 2 accumulators, 2 weights, 1 input = 15 of 16 registers.
#define MR 6
// Outputs along x that one depthwise tile holds in registers.
#define DW_TILE 8
// Outputs of a strip, a multiple of the tile, also by halves: its ring of 7 rows is 17 KiB.
#define DW_STRIP 32
// Fits beside the other half of a 512 KiB second-level cache.
#define L2_BUDGET (320 * 1024)

typedef __m256 V;
typedef __m256i VI;

// Pretends to change a register, so that the value must be in one here.
#define V_PIN(x) __asm__ volatile("" : "+x"(x))

#define FV_UNROLL _Pragma("clang loop unroll(full)")
#define INLINE static inline __attribute__((always_inline, unused))

#include "transpose_x86.h"

INLINE V v_load(const float *p) { return _mm256_loadu_ps(p); }
INLINE void v_store(float *p, V x) { _mm256_storeu_ps(p, x); }
INLINE V v_set(float x) { return _mm256_set1_ps(x); }
INLINE V v_zero(void) { return _mm256_setzero_ps(); }
INLINE V v_fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
INLINE V v_add(V a, V b) { return _mm256_add_ps(a, b); }
INLINE V v_sub(V a, V b) { return _mm256_sub_ps(a, b); }
INLINE V v_mul(V a, V b) { return _mm256_mul_ps(a, b); }
INLINE V v_div(V a, V b) { return _mm256_div_ps(a, b); }
// b where either is NaN; on NEON then NaN.
INLINE V v_max(V a, V b) { return _mm256_max_ps(a, b); }
INLINE V v_min(V a, V b) { return _mm256_min_ps(a, b); }
INLINE V v_round(V x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

// Lanes 0 ..< n all ones.
INLINE VI v_lanes(size_t n) {
    static const int32_t ones[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
    return _mm256_loadu_si256((const VI *)(ones + 8 - n));
}
INLINE V v_load_part(const float *p, size_t n) { return _mm256_maskload_ps(p, v_lanes(n)); }
INLINE void v_store_part(float *p, V x, size_t n) { _mm256_maskstore_ps(p, v_lanes(n), x); }
INLINE V v_keep_part(V x, size_t n) { return _mm256_and_ps(x, _mm256_castsi256_ps(v_lanes(n))); }

// value where not (x <= bound), that is also for NaN; else 0
INLINE V v_unless_below(V x, V bound, V value) {
    return _mm256_and_ps(_mm256_cmp_ps(x, bound, _CMP_NLE_UQ), value);
}
// 2^n for whole n in -126 … 127
INLINE V v_exp2(V n) {
    const VI biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}

// Words of two bfloat16 numbers: the low or the high one of each, widened.
INLINE VI v_load_words(const void *p) { return _mm256_loadu_si256((const VI *)p); }
INLINE V v_low(VI words) { return _mm256_castsi256_ps(_mm256_slli_epi32(words, 16)); }
INLINE V v_high(VI words) {
    return _mm256_castsi256_ps(_mm256_and_si256(words, _mm256_set1_epi32((int)0xFFFF0000u)));
}
// A weight of each lane's four bytes or eight nibbles, unsigned, which begins at bit `shift`.
INLINE VI vi_weight(const VI words, const int shift) {
    return _mm256_and_si256(_mm256_srli_epi32(words, (unsigned)shift), _mm256_set1_epi32(255));
}
INLINE VI vi_nibble(const VI words, const int shift) {
    return _mm256_and_si256(_mm256_srli_epi32(words, (unsigned)shift), _mm256_set1_epi32(15));
}
// W bfloat16 numbers in a row, widened.
INLINE V v_load_bf16(const void *p) {
    const VI words = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(words, 16));
}

INLINE float v_sum(V x) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
INLINE float v_largest(V x) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// a0 b0 a1 b1 …: the first W numbers in *low, the others in *high.
INLINE void v_interleave(V a, V b, V *low, V *high) {
    const V even = _mm256_unpacklo_ps(a, b), odd = _mm256_unpackhi_ps(a, b);
    *low = _mm256_permute2f128_ps(even, odd, 0x20);
    *high = _mm256_permute2f128_ps(even, odd, 0x31);
}

// Numbers that are 1, 2, 4 … W/2 apart replaced by their sum and their difference, stage by stage.
INLINE V v_rotate(V x) {
    x = _mm256_fmadd_ps(x, _mm256_setr_ps(1, -1, 1, -1, 1, -1, 1, -1), _mm256_permute_ps(x, 0xB1));
    x = _mm256_fmadd_ps(x, _mm256_setr_ps(1, 1, -1, -1, 1, 1, -1, -1), _mm256_permute_ps(x, 0x4E));
    return _mm256_fmadd_ps(x, _mm256_setr_ps(1, 1, 1, 1, -1, -1, -1, -1), _mm256_permute2f128_ps(x, x, 0x01));
}

// Bit i is set where x[i] > bound[i], so not for NaN.
INLINE uint32_t v_above(V x, V bound) {
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(x, bound, _CMP_GT_OQ));
}
// W integers of 64 bits.
typedef struct {
    __m256i half[2];
} VL;
// x · 2^40 for x of 0 … 2^11, rounded to nearest even: adding 2^52 leaves the integer in the low bits.
INLINE __m256i masses_half(__m128 x) {
    const __m256d sum = _mm256_fmadd_pd(_mm256_cvtps_pd(x), _mm256_set1_pd(0x1p40), _mm256_set1_pd(0x1p52));
    return _mm256_and_si256(_mm256_castpd_si256(sum), _mm256_set1_epi64x(((int64_t)1 << 52) - 1));
}
INLINE VL v_masses(V x) {
    return (VL){{masses_half(_mm256_castps256_ps128(x)), masses_half(_mm256_extractf128_ps(x, 1))}};
}
INLINE VL vl_add(VL a, VL b) {
    return (VL){{_mm256_add_epi64(a.half[0], b.half[0]), _mm256_add_epi64(a.half[1], b.half[1])}};
}
INLINE void vl_store(uint64_t *p, VL x) {
    _mm256_storeu_si256((VI *)p, x.half[0]);
    _mm256_storeu_si256((VI *)(p + 4), x.half[1]);
}

// Integers: 32-bit lanes of four activations or weights.
INLINE V v_abs(V x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
// Round to nearest even.
INLINE VI v_integers(V x) { return _mm256_cvtps_epi32(x); }
INLINE V v_floats(VI x) { return _mm256_cvtepi32_ps(x); }
// |x| as an integer, which orders as the numbers do and NaN above them.
INLINE VI v_size_bits(V x) { return _mm256_castps_si256(v_abs(x)); }
INLINE VI vi_zero(void) { return _mm256_setzero_si256(); }
INLINE VI vi_max(VI a, VI b) { return _mm256_max_epi32(a, b); }
INLINE int32_t vi_largest(VI x) {
    const __m128i four = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    const __m128i two = _mm_max_epi32(four, _mm_unpackhi_epi64(four, four));
    return _mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32(two, 1)));
}
INLINE VI vi_set(int32_t x) { return _mm256_set1_epi32(x); }
INLINE VI vi_add(VI a, VI b) { return _mm256_add_epi32(a, b); }
INLINE VI vi_sub(VI a, VI b) { return _mm256_sub_epi32(a, b); }
INLINE int32_t vi_sum(VI x) {
    const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    const __m128i two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 1)));
}
// 4·W integers of −127 … 127 as bytes.
INLINE void vi_store_quanta(int8_t *p, const VI x[4]) {
    const VI low = _mm256_packs_epi32(x[0], x[1]), high = _mm256_packs_epi32(x[2], x[3]);
    const VI order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const VI packed = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
    _mm256_storeu_si256((VI *)p, packed);
}
// Four bytes in every lane.
INLINE VI vi_set_word(const char *p) {
    int32_t word;
    __builtin_memcpy(&word, p, 4);
    return _mm256_set1_epi32(word);
}
// Four weights of 4 bits for each of W outputs, and those of the next step.
#if FV_HAS_VNNI
// The mask stays in memory: beside twelve sums, two weights and two inputs the compiler has no register for it.
INLINE VI vi_low_nibbles(VI bytes) {
    _Alignas(64) static const uint64_t mask[4] = {
        0x0F0F0F0F0F0F0F0F, 0x0F0F0F0F0F0F0F0F, 0x0F0F0F0F0F0F0F0F, 0x0F0F0F0F0F0F0F0F};
    VI nibbles;
    __asm__("vpand %2, %1, %0" : "=x"(nibbles) : "x"(bytes), "m"(mask));
    return nibbles;
}
#else
INLINE VI vi_low_nibbles(VI bytes) { return _mm256_and_si256(bytes, _mm256_set1_epi8(15)); }
#endif
INLINE void vi_load_nibbles(const char *p, VI *low, VI *high) {
    const VI bytes = v_load_words(p);
    *low = vi_low_nibbles(bytes);
    *high = vi_low_nibbles(_mm256_srli_epi16(bytes, 4));
}
#if FV_HAS_VNNI
// `vpdpbusd` adds four products in 32 bits: nothing can overflow.
#define WEIGHT_LIMIT 127
#define INPUT_LIMIT 127
#define WEIGHT_ZERO 128
#if FV_SIMDE // the test build that emulates this one instruction
INLINE VI vi_dpbusd(VI sum, VI w, VI x) {
    int32_t sums[W];
    uint8_t weights[4 * W];
    int8_t inputs[4 * W];
    _mm256_storeu_si256((VI *)sums, sum), _mm256_storeu_si256((VI *)weights, w), _mm256_storeu_si256((VI *)inputs, x);
    for (size_t i = 0; i < 4 * W; i++) sums[i / 4] += weights[i] * inputs[i];
    return _mm256_loadu_si256((const VI *)sums);
}
#elif FV_EVEX_VNNI // the test build for processors that have it in AVX-512's encoding only
INLINE VI vi_dpbusd(VI sum, VI w, VI x) {
    __asm__("%{evex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(w), "x"(x));
    return sum;
}
#else
INLINE VI vi_dpbusd(VI sum, VI w, VI x) { return _mm256_dpbusd_avx_epi32(sum, w, x); }
#endif
INLINE VI vi_dot(VI sum, VI x, VI w) { return vi_dpbusd(sum, w, x); }
INLINE VI vi_dot_nibbles(VI sum, VI x, VI low, VI y, VI high) {
    return vi_dpbusd(vi_dpbusd(sum, low, x), high, y);
}
#else
// `vpmaddubsw` adds two products in 16 bits, of which 2 · 195 · 84 = 32,760 is the most: weights are 1 … 195, activations
// −84 … 84. Halving both errors alike loses less than all of it in the weights, 1 … 127 beside −127 … 127.
#define WEIGHT_LIMIT 97
#define INPUT_LIMIT 84
#define WEIGHT_ZERO 98
_Static_assert(2 * (WEIGHT_ZERO + WEIGHT_LIMIT) * INPUT_LIMIT <= INT16_MAX, "products would be cut off");
// Neighbours added. The ones stay in memory: the micro-kernel needs all sixteen registers for other things, and
// left to itself the compiler keeps them in one.
INLINE VI vi_add_pairs(VI products) {
    _Alignas(64) static const int16_t ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    VI sums;
    __asm__("vpmaddwd %2, %1, %0" : "=x"(sums) : "x"(products), "m"(ones));
    return sums;
}
// sum + Σ of four x · w, and the same for two steps of 4-bit weights.
INLINE VI vi_dot(VI sum, VI x, VI w) {
    return _mm256_add_epi32(sum, vi_add_pairs(_mm256_maddubs_epi16(w, x)));
}
INLINE VI vi_dot_nibbles(VI sum, VI x, VI low, VI y, VI high) {
    const VI products = _mm256_add_epi16(_mm256_maddubs_epi16(low, x), _mm256_maddubs_epi16(high, y));
    return _mm256_add_epi32(sum, vi_add_pairs(products));
}
#endif
