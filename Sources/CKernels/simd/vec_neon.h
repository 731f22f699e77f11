// Eight float32 lanes in two NEON registers; the same functions as in vec_avx2.h, where they are explained.

#define FV_NEON 1
#define W 8
// 6 × 4 registers of accumulators, 6 of inputs of which four numbers each are used in turn, 1 or 2 of weights.
#define MR 6
// 6 × 2 sums, 7 × 2 taps, 2 for the input = 28 of 32 registers.
#define DW_TILE 6
#define DW_STRIP 36
// Fits in a 512 KiB second-level cache with room for the rest.
#define L2_BUDGET (320 * 1024)

typedef float32x4x2_t V;
typedef int32x4x2_t VI;

#define V_PIN(x) __asm__ volatile("" : "+w"((x).val[0]), "+w"((x).val[1]))

// Loads stay behind it: else the compiler loads ahead and sums leave their registers.
#define FV_NO_LOAD_AHEAD __asm__ volatile("" ::: "memory")

#define FV_UNROLL _Pragma("clang loop unroll(full)")
#define INLINE static inline __attribute__((always_inline, unused))

// One function of both registers.
#define FV_UNARY(NAME, RESULT, OPERATION, A)                                                                 \
    INLINE RESULT NAME(A a) { return (RESULT){{OPERATION(a.val[0]), OPERATION(a.val[1])}}; }
#define FV_BINARY(NAME, RESULT, OPERATION, A, B)                                                             \
    INLINE RESULT NAME(A a, B b) {                                                                           \
        return (RESULT){{OPERATION(a.val[0], b.val[0]), OPERATION(a.val[1], b.val[1])}};                     \
    }

INLINE V v_load(const float *p) { return (V){{vld1q_f32(p), vld1q_f32(p + 4)}}; }
INLINE void v_store(float *p, V x) {
    vst1q_f32(p, x.val[0]);
    vst1q_f32(p + 4, x.val[1]);
}
INLINE V v_set(float x) { return (V){{vdupq_n_f32(x), vdupq_n_f32(x)}}; }
INLINE V v_zero(void) { return v_set(0); }
INLINE V v_fma(V a, V b, V c) {
    return (V){{vfmaq_f32(c.val[0], a.val[0], b.val[0]), vfmaq_f32(c.val[1], a.val[1], b.val[1])}};
}
FV_BINARY(v_add, V, vaddq_f32, V, V)
FV_BINARY(v_sub, V, vsubq_f32, V, V)
FV_BINARY(v_mul, V, vmulq_f32, V, V)
FV_BINARY(v_div, V, vdivq_f32, V, V)
FV_BINARY(v_max, V, vmaxq_f32, V, V) // NaN where either is NaN
FV_BINARY(v_min, V, vminq_f32, V, V)
FV_UNARY(v_round, V, vrndnq_f32, V)

// NEON has no masked access: parts go number by number. Whole vectors come by here too (rows.h).
INLINE V v_load_part(const float *p, size_t n) {
    if (n == W) return v_load(p);
    float lanes[W] = {0};
    for (size_t i = 0; i < n; i++) lanes[i] = p[i];
    return v_load(lanes);
}
INLINE void v_store_part(float *p, V x, size_t n) {
    if (n == W) {
        v_store(p, x);
        return;
    }
    float lanes[W];
    v_store(lanes, x);
    for (size_t i = 0; i < n; i++) p[i] = lanes[i];
}

INLINE float32x4_t v_mask(float32x4_t x, uint32x4_t mask) {
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x), mask));
}
INLINE V v_keep_part(V x, size_t n) {
    static const uint32_t ones[16] = {~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u};
    const uint32_t *mask = ones + W - n;
    return (V){{v_mask(x.val[0], vld1q_u32(mask)), v_mask(x.val[1], vld1q_u32(mask + 4))}};
}
INLINE V v_unless_below(V x, V bound, V value) {
    return (V){{v_mask(value.val[0], vmvnq_u32(vcleq_f32(x.val[0], bound.val[0]))),
                v_mask(value.val[1], vmvnq_u32(vcleq_f32(x.val[1], bound.val[1])))}};
}
INLINE float32x4_t exp2_half(float32x4_t n) {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127)), 23));
}
FV_UNARY(v_exp2, V, exp2_half, V)

INLINE float32x4_t rotate_half(float32x4_t x) {
    static const uint32_t odd[4] = {0, ~0u, 0, ~0u}, upper[4] = {0, 0, ~0u, ~0u};
    const float32x4_t one = vrev64q_f32(x);
    x = vbslq_f32(vld1q_u32(odd), vsubq_f32(one, x), vaddq_f32(x, one));
    const float32x4_t two = vextq_f32(x, x, 2);
    return vbslq_f32(vld1q_u32(upper), vsubq_f32(two, x), vaddq_f32(x, two));
}
INLINE V v_rotate(V x) {
    const float32x4_t low = rotate_half(x.val[0]), high = rotate_half(x.val[1]);
    return (V){{vaddq_f32(low, high), vsubq_f32(low, high)}};
}

INLINE VI v_load_words(const void *p) {
    const uint8_t *bytes = p; // panels of integers are aligned to bytes only
    return (VI){{vreinterpretq_s32_u8(vld1q_u8(bytes)), vreinterpretq_s32_u8(vld1q_u8(bytes + 16))}};
}
INLINE float32x4_t low_half(int32x4_t words) { return vreinterpretq_f32_s32(vshlq_n_s32(words, 16)); }
INLINE float32x4_t high_half(int32x4_t words) {
    return vreinterpretq_f32_s32(vandq_s32(words, vdupq_n_s32((int32_t)0xFFFF0000u)));
}
FV_UNARY(v_low, V, low_half, VI)
FV_UNARY(v_high, V, high_half, VI)
INLINE V v_load_bf16(const void *p) {
    const uint16x8_t bits = vreinterpretq_u16_u8(vld1q_u8(p));
    return (V){{vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(bits), 16)),
                vreinterpretq_f32_u32(vshll_high_n_u16(bits, 16))}};
}

INLINE float v_sum(V x) { return vaddvq_f32(vaddq_f32(x.val[0], x.val[1])); }
INLINE float v_largest(V x) { return vmaxvq_f32(vmaxq_f32(x.val[0], x.val[1])); }

INLINE void v_interleave(V a, V b, V *low, V *high) {
    *low = (V){{vzip1q_f32(a.val[0], b.val[0]), vzip2q_f32(a.val[0], b.val[0])}};
    *high = (V){{vzip1q_f32(a.val[1], b.val[1]), vzip2q_f32(a.val[1], b.val[1])}};
}

INLINE float32x4_t load_four(const char *p) { return vreinterpretq_f32_u8(vld1q_u8((const uint8_t *)p)); }

// 4×4 words of 32 bits, transposed; see transpose8.
INLINE void transpose4(const char *x, size_t x_bytes, float *y, size_t y_stride) {
    const float32x4_t r0 = load_four(x), r1 = load_four(x + x_bytes);
    const float32x4_t r2 = load_four(x + 2 * x_bytes), r3 = load_four(x + 3 * x_bytes);
    const float64x2_t even01 = vreinterpretq_f64_f32(vtrn1q_f32(r0, r1));
    const float64x2_t even23 = vreinterpretq_f64_f32(vtrn1q_f32(r2, r3));
    const float64x2_t odd01 = vreinterpretq_f64_f32(vtrn2q_f32(r0, r1));
    const float64x2_t odd23 = vreinterpretq_f64_f32(vtrn2q_f32(r2, r3));
    vst1q_f32(y, vreinterpretq_f32_f64(vzip1q_f64(even01, even23)));
    vst1q_f32(y + y_stride, vreinterpretq_f32_f64(vzip1q_f64(odd01, odd23)));
    vst1q_f32(y + 2 * y_stride, vreinterpretq_f32_f64(vzip2q_f64(even01, even23)));
    vst1q_f32(y + 3 * y_stride, vreinterpretq_f32_f64(vzip2q_f64(odd01, odd23)));
}
// 8×8 words, transposed. Rows of x are x_bytes apart, anywhere in memory; those of y are y_stride words apart.
INLINE void transpose8(const void *x, size_t x_bytes, float *y, size_t y_stride) {
    FV_UNROLL for (size_t i = 0; i < 8; i += 4) {
        const char *rows = (const char *)x + i * x_bytes;
        transpose4(rows, x_bytes, y + i, y_stride);
        transpose4(rows + 16, x_bytes, y + 4 * y_stride + i, y_stride);
    }
}

INLINE uint32_t v_above(V x, V bound) {
    static const uint32_t bits[W] = {1, 2, 4, 8, 16, 32, 64, 128};
    const uint32x4_t low = vandq_u32(vcgtq_f32(x.val[0], bound.val[0]), vld1q_u32(bits));
    const uint32x4_t high = vandq_u32(vcgtq_f32(x.val[1], bound.val[1]), vld1q_u32(bits + 4));
    return vaddvq_u32(vorrq_u32(low, high));
}
typedef uint64x2x4_t VL;
INLINE uint64x2_t masses_pair(float64x2_t x) { return vcvtnq_u64_f64(vmulq_n_f64(x, 0x1p40)); }
INLINE VL v_masses(V x) {
    return (VL){{masses_pair(vcvt_f64_f32(vget_low_f32(x.val[0]))), masses_pair(vcvt_high_f64_f32(x.val[0])),
                 masses_pair(vcvt_f64_f32(vget_low_f32(x.val[1]))), masses_pair(vcvt_high_f64_f32(x.val[1]))}};
}
INLINE VL vl_add(VL a, VL b) {
    FV_UNROLL for (size_t i = 0; i < 4; i++) a.val[i] = vaddq_u64(a.val[i], b.val[i]);
    return a;
}
INLINE void vl_store(uint64_t *p, VL x) {
    FV_UNROLL for (size_t i = 0; i < 4; i++) vst1q_u64(p + 2 * i, x.val[i]);
}

// Integers: 32-bit lanes of four activations or weights. Both are signed here, so the zero point is 0, and two
// products of 127 · 127 fit in 16 bits.
#define WEIGHT_LIMIT 127
#define INPUT_LIMIT 127
#define WEIGHT_ZERO 0

FV_UNARY(v_abs, V, vabsq_f32, V)
FV_UNARY(v_integers, VI, vcvtnq_s32_f32, V)
FV_UNARY(v_floats, V, vcvtq_f32_s32, VI)
INLINE VI v_size_bits(V x) {
    const V size = v_abs(x);
    return (VI){{vreinterpretq_s32_f32(size.val[0]), vreinterpretq_s32_f32(size.val[1])}};
}
INLINE VI vi_set(int32_t x) { return (VI){{vdupq_n_s32(x), vdupq_n_s32(x)}}; }
INLINE VI vi_zero(void) { return vi_set(0); }
FV_BINARY(vi_max, VI, vmaxq_s32, VI, VI)
FV_BINARY(vi_add, VI, vaddq_s32, VI, VI)
FV_BINARY(vi_sub, VI, vsubq_s32, VI, VI)
// A weight of each lane's four bytes, which are signed, or eight nibbles, which begins at bit `shift`, as an integer.
INLINE VI vi_weight(VI words, const int shift) {
    const int32x4_t up = vdupq_n_s32(24 - shift);
    return (VI){{vshrq_n_s32(vshlq_s32(words.val[0], up), 24), vshrq_n_s32(vshlq_s32(words.val[1], up), 24)}};
}
INLINE VI vi_nibble(VI words, const int shift) {
    const int32x4_t down = vdupq_n_s32(-shift), mask = vdupq_n_s32(15);
    FV_UNROLL for (int half = 0; half < 2; half++) {
        const uint32x4_t moved = vshlq_u32(vreinterpretq_u32_s32(words.val[half]), down);
        words.val[half] = vandq_s32(vreinterpretq_s32_u32(moved), mask);
    }
    return words;
}
INLINE int32_t vi_largest(VI x) { return vmaxvq_s32(vmaxq_s32(x.val[0], x.val[1])); }
INLINE int32_t vi_sum(VI x) { return vaddvq_s32(vaddq_s32(x.val[0], x.val[1])); }
INLINE VI vi_set_word(const char *p) {
    int32_t word;
    __builtin_memcpy(&word, p, 4);
    return vi_set(word);
}
INLINE void vi_store_quanta(int8_t *p, const VI x[4]) {
    FV_UNROLL for (size_t i = 0; i < 4; i += 2) {
        const int16x8_t low = vqmovn_high_s32(vqmovn_s32(x[i].val[0]), x[i].val[1]);
        const int16x8_t high = vqmovn_high_s32(vqmovn_s32(x[i + 1].val[0]), x[i + 1].val[1]);
        vst1q_s8(p + i * W, vqmovn_high_s16(vqmovn_s16(low), high));
    }
}
INLINE void vi_load_nibbles(const char *p, VI *low, VI *high) {
    const uint8_t *bytes = (const uint8_t *)p;
    FV_UNROLL for (size_t i = 0; i < 2; i++) {
        const uint8x16_t pairs = vld1q_u8(bytes + 16 * i);
        low->val[i] = vreinterpretq_s32_u8(vandq_u8(pairs, vdupq_n_u8(15)));
        high->val[i] = vreinterpretq_s32_u8(vshrq_n_u8(pairs, 4));
    }
}

// sum + Σ of four x · w in every lane.
INLINE int32x4_t dot_half(int32x4_t sum, int32x4_t x, int32x4_t w) {
    const int8x16_t a = vreinterpretq_s8_s32(x), b = vreinterpretq_s8_s32(w);
#if FV_HAS_DOTPROD
    return vdotq_s32(sum, a, b);
#else
    const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b)), high = vmull_high_s8(a, b);
    return vpadalq_s16(sum, vpaddq_s16(low, high));
#endif
}
INLINE VI vi_dot(VI sum, VI x, VI w) {
    return (VI){{dot_half(sum.val[0], x.val[0], w.val[0]), dot_half(sum.val[1], x.val[1], w.val[1])}};
}
// The same for two steps of 4-bit weights, where 16 bits hold four products.
INLINE int32x4_t dot_nibbles_half(int32x4_t sum, int32x4_t x, int32x4_t low, int32x4_t y, int32x4_t high) {
#if FV_HAS_DOTPROD
    return dot_half(dot_half(sum, x, low), y, high);
#else
    const int8x16_t a = vreinterpretq_s8_s32(x), b = vreinterpretq_s8_s32(low);
    const int8x16_t c = vreinterpretq_s8_s32(y), d = vreinterpretq_s8_s32(high);
    const int16x8_t first = vmlal_s8(vmull_s8(vget_low_s8(a), vget_low_s8(b)), vget_low_s8(c), vget_low_s8(d));
    const int16x8_t second = vmlal_high_s8(vmull_high_s8(a, b), c, d);
    return vpadalq_s16(sum, vpaddq_s16(first, second));
#endif
}
INLINE VI vi_dot_nibbles(VI sum, VI x, VI low, VI y, VI high) {
    return (VI){{dot_nibbles_half(sum.val[0], x.val[0], low.val[0], y.val[0], high.val[0]),
                 dot_nibbles_half(sum.val[1], x.val[1], low.val[1], y.val[1], high.val[1])}};
}

#undef FV_UNARY
#undef FV_BINARY
