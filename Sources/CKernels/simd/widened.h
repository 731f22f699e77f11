// Products of integer weights with float32 rows: weights are integers for memory's sake alone, nothing rounds the rows.
//
// A group of a panel's weights becomes float32 numbers in the first-level cache, and passes through the kernels of float32
// weights. A row's sums are taken in ascending order of inputs, whatever the number of rows.

// What the groups of a panel are widened to: FV_LARGEST_GROUP · NR numbers.
#define WIDENED_BYTES ((size_t)FV_LARGEST_GROUP * NR * 4)

static size_t FV_NAME(widened_scratch)(void) { return WIDENED_BYTES + (size_t)ROWS * NR * 4; }

// Rows for matrices that are rotated, as float32 numbers, `inputs` of them each.
static void FV_NAME(rotate_rows)(const struct fv_quantise *q) {
    for (size_t row = 0; row < q->rows; row++) {
        const float *x = q->x + row * q->x_stride;
        float *y = (float *)q->target + row * q->inputs;
        for (size_t k = 0; k < q->inputs; k += q->group) {
            rotate_group(x + k, q->inputs - k < q->group ? q->inputs - k : q->group, q->group, y + k);
        }
    }
}

// Whether the zero point is taken off in integers, because it is no power of two whose product with any scale is exact.
enum { SUBTRACTS_ZERO = (WEIGHT_ZERO & (WEIGHT_ZERO - 1)) != 0 };

// What a group's integers are multiplied with, and added to them, for one half of the outputs: scale · q + offset.
struct q_line {
    V scale;
    V offset;
};

INLINE struct q_line group_line(const float *scale, const int has_minima, const int bits) {
    const int zero = bits == 4 ? 8 : SUBTRACTS_ZERO ? 0 : WEIGHT_ZERO;
    const V factor = v_load(scale);
    // A power of two times the scale is exact, and so the sum is the same as (q − zero) · scale + minimum.
    const V offset = v_mul(v_set(-(float)zero), factor);
    return (struct q_line){factor, has_minima ? v_add(v_load(scale + NR), offset) : offset};
}

// Input `i` of a quantum as numbers: byte i of each word, or a nibble of it; bits, i and shift are constants.
INLINE V widen(const VI words, const struct q_line line, const int bits, const int i, const int shift) {
    VI q = bits == 8 ? vi_weight(words, 8 * i) : vi_nibble(words, 8 * i + shift);
    if (bits == 8 && SUBTRACTS_ZERO) q = vi_sub(q, vi_set(WEIGHT_ZERO));
    return v_fma(v_floats(q), line.scale, line.offset);
}

// The `count` inputs of a group, [count][NR], and what is stored of inputs beyond.
INLINE void widen_group(const char *group, size_t count, const int bits, const int has_minima, float *target) {
    const float *scale = (const float *)group;
    const struct q_line lines[2] = {group_line(scale, has_minima, bits), group_line(scale + W, has_minima, bits)};
    const char *b = group + (has_minima ? 8 : 4) * NR;
    const size_t step = bits == 8 ? STEP : 2 * STEP;
    for (size_t k = 0; k < count; k += step, b += NR * STEP, target += step * NR) {
        FV_UNROLL for (size_t half = 0; half < 2; half++) {
            const VI words = v_load_words(b + half * 4 * W);
            FV_UNROLL for (int i = 0; i < STEP; i++) {
                v_store(target + i * (int)NR + half * W, widen(words, lines[half], bits, i, 0));
                if (bits == 4) {
                    v_store(target + (i + STEP) * (int)NR + half * W, widen(words, lines[half], bits, i, 4));
                }
            }
        }
    }
}

// c (+)= one row times a group, without a place in memory for the widened weights.
INLINE void row_widened(
    const float *a, const char *group, size_t count, const int bits, const int has_minima, float *c, int accumulate) {
    const float *scale = (const float *)group;
    const struct q_line first = group_line(scale, has_minima, bits), second = group_line(scale + W, has_minima, bits);
    const char *b = group + (has_minima ? 8 : 4) * NR;
    const size_t step = bits == 8 ? STEP : 2 * STEP;
    V y0 = accumulate ? v_load(c) : v_zero(), y1 = accumulate ? v_load(c + W) : v_zero();
    for (size_t k = 0; k < count; k += step, b += NR * STEP) {
        fetch_ahead(b);
        const VI w0 = v_load_words(b), w1 = v_load_words(b + 4 * W);
        FV_UNROLL for (size_t i = 0; i < 2 * STEP; i++) {
            if (i >= step || k + i >= count) break;
            const int shift = i >= STEP ? 4 : 0;
            const V x = v_set(a[k + i]);
            y0 = v_fma(x, widen(w0, first, bits, i % STEP, shift), y0);
            y1 = v_fma(x, widen(w1, second, bits, i % STEP, shift), y1);
        }
    }
    v_store(c, y0);
    v_store(c + W, y1);
}

INLINE void gemm_widened(const struct fv_gemm *g, const int bits) {
    const size_t panel_bytes = q_panel_bytes(g->inputs, g->group, bits, g->has_minima);
    const size_t tiles = (g->rows + MR - 1) / MR;
    float *weights = g->scratch, *sums = (float *)((char *)g->scratch + WIDENED_BYTES);
    for (size_t p = 0; p < g->panel_count; p++) {
        const size_t panel = g->first_panel + p;
        const char *base = (const char *)g->panels + panel * panel_bytes;
        for (size_t k = 0; k < g->inputs; k += g->group) {
            const size_t count = g->inputs - k < g->group ? g->inputs - k : g->group;
            const char *group = base + q_panel_bytes(k, g->group, bits, g->has_minima);
            if (g->rows == 1) {
                row_widened(g->a + k, group, count, bits, g->has_minima, sums, k > 0);
                if (k + count == g->inputs) finish(g, sums, 0, 1, panel);
                continue;
            }
            widen_group(group, count, bits, g->has_minima, weights);
            for (size_t tile = 0; tile < tiles; tile++) {
                const size_t row = tile * MR, left = g->rows - row, mr = left < MR ? left : MR;
                float *c = sums + row * NR;
                tiles_f32[mr](count, g->a + row * g->a_stride + k, g->a_stride, (const char *)weights, c, NR, k > 0);
                if (k + count == g->inputs) finish(g, c, row, mr, panel);
            }
        }
    }
}

static void FV_NAME(gemm_widened_q8)(const struct fv_gemm *g) { gemm_widened(g, 8); }
static void FV_NAME(gemm_widened_q4)(const struct fv_gemm *g) { gemm_widened(g, 4); }

#undef WIDENED_BYTES
