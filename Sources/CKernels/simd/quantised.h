// Products of integers: 8-bit and 4-bit weights in groups, activations quantised row by row just before.
//
//     y[i][j] = Σ_groups s_a[i][g] · s_w[j][g] · Σ_k a[i][k] · (w[j][k] − zero)        + Σ_g sum_a[i][g] · m[j][g]
//                                                └──────── integers ─────────┘          only with minima
//
// Weights are unsigned on x86, which is how both `vpdpbusd` and published affine checkpoints want them; each sum of a
// group starts from what the zero point adds to it, because Σ a is known. NEON has 8-bit weights signed: zero is 0. Sums
// of a group are exact 32-bit integers; groups are added in float32, in ascending order. include/fv_quantised.h draws the
// layouts.
//
// Beside 4-bit weights activations are −127 … 127. A weight of "8 bits" has WEIGHT_LIMIT as its largest size, and an
// activation beside it INPUT_LIMIT: the vector file sets both to what its multiplication of unsigned with signed bytes takes
// without overflow.

#include "rotation.h"

enum { STEP = FV_QUANTUM_STEP };

struct q_group {
    float scale;
    int32_t sum; // of the integers
};

enum {
    // Inputs per block of k: a panel's block and a tile's rows share the first-level cache.
    KQ = 2048,
    // Hidden columns per step of a feed-forward network; a multiple of every group size.
    HIDDEN_Q = 256,
#if FV_HAS_VNNI && MR == 12
    // 12 × 2 sums, 4 weights, 2 inputs and a mask are 31 of 32 registers.
    HAS_ROOM_FOR_NIBBLES = 1,
#else
    HAS_ROOM_FOR_NIBBLES = 0,
#endif
};

// Bytes of a row's integers: stores are 4·W wide, and the last group may begin 32 bytes off.
INLINE size_t q_value_bytes(size_t inputs) {
    return (inputs + 4 * W - 1) / (4 * W) * (4 * W) + (4 * W - 32);
}
static size_t FV_NAME(quantised_pitch)(size_t inputs, size_t group) {
    return (q_value_bytes(inputs) + (inputs + group - 1) / group * sizeof(struct q_group) + 63) / 64 * 64;
}

INLINE VI largest_sizes(const float *x, size_t count) {
    const size_t whole = count / W * W;
    VI largest = vi_zero();
    for (size_t i = 0; i < whole; i += W) largest = vi_max(largest, v_size_bits(v_load(x + i)));
    return count > whole ? vi_max(largest, v_size_bits(v_load_part(x + whole, count - whole))) : largest;
}

// Integers of one group, and zeros after them up to 4·W.
INLINE struct q_group quantise_group(const float *x, size_t count, VI largest, int limit, int8_t *target) {
    const size_t rest = count % W;
    const int32_t bits = vi_largest(largest);
    float top;
    __builtin_memcpy(&top, &bits, 4);
    const V factor = v_set(fv_quantising_factor(top, limit));
    VI sums = vi_zero();
    for (size_t i = 0; i < count; i += 4 * W) {
        VI q[4];
        FV_UNROLL for (size_t part = 0; part < 4; part++) {
            const size_t at = i + part * W;
            const V values = at + W <= count ? v_load(x + at) : at < count ? v_load_part(x + at, rest) : v_zero();
            q[part] = v_integers(v_mul(values, factor));
            sums = vi_add(sums, q[part]);
        }
        vi_store_quanta(target + i, q);
    }
    return (struct q_group){fv_quantised_scale(top, limit), vi_sum(sums)};
}

static void quantise_row(const float *x, size_t inputs, size_t group, int is_rotated, int limit, char *row) {
    int8_t *values = (int8_t *)row;
    struct q_group *groups = (struct q_group *)(row + q_value_bytes(inputs));
    _Alignas(64) float rotated[FV_LARGEST_GROUP];
    for (size_t k = 0; k < inputs; k += group) {
        const size_t count = inputs - k < group ? inputs - k : group;
        if (is_rotated) {
            const VI largest = rotate_group(x + k, count, group, rotated);
            *groups++ = quantise_group(rotated, count, largest, limit, values + k);
        } else {
            *groups++ = quantise_group(x + k, count, largest_sizes(x + k, count), limit, values + k);
        }
    }
}

static void FV_NAME(quantise)(const struct fv_quantise *q) {
    const size_t pitch = FV_NAME(quantised_pitch)(q->inputs, q->group);
    for (size_t row = 0; row < q->rows; row++) {
        char *target = (char *)q->target + row * pitch;
        quantise_row(q->x + row * q->x_stride, q->inputs, q->group, q->is_rotated, q->limit, target);
    }
}

// What a micro-kernel works on: mr rows, one panel, a block of whole groups.
struct q_tile {
    size_t rows;
    const char *a;      // integers of the first row at the block's first input
    const char *groups; // its groups from the block's first one on
    size_t pitch;
    size_t inputs;
    size_t group;
    const char *panel; // from the block's first group on
    int has_minima;
    float *c; // [mr][NR]
    int accumulate;
};

#if FV_HAS_DOTPROD
#include "sums_neon.h"
#else
// sums += Σ of a · q over one group of `count` inputs, rows `pitch` bytes apart. bits and mr are constants after
// inlining.
INLINE void group_sums(
    VI sums[MR][2], const char *a, size_t pitch, const char *b, size_t count, const int bits, const size_t mr) {
    const size_t step = bits == 8 ? STEP : 2 * STEP;
    // Unrolled, so that a group is few enough turns for its end to be predicted; pinned, so that the compiler does
    // not mix steps until sums leave their registers.
    _Pragma("clang loop unroll_count(4)") for (size_t done = 0; done < count; done += step) {
        // A single row of 4 bits is as fast without.
        if (bits == 8 || mr > 1) fetch_ahead(b);
        if (bits == 8) {
            const VI w0 = v_load_words(b), w1 = v_load_words(b + 4 * W);
            FV_UNROLL for (size_t i = 0; i < mr; i++) {
                const VI x = vi_set_word(a + i * pitch);
                sums[i][0] = vi_dot(sums[i][0], x, w0);
                sums[i][1] = vi_dot(sums[i][1], x, w1);
                V_PIN(sums[i][0]);
                V_PIN(sums[i][1]);
            }
        } else if (HAS_ROOM_FOR_NIBBLES && mr > 4) {
            // Each activation is read once for both halves of the outputs.
            VI low[2], high[2];
            vi_load_nibbles(b, &low[0], &high[0]);
            vi_load_nibbles(b + 4 * W, &low[1], &high[1]);
            FV_UNROLL for (size_t i = 0; i < mr; i++) {
                const VI x = vi_set_word(a + i * pitch), y = vi_set_word(a + i * pitch + 4);
                FV_UNROLL for (size_t half = 0; half < 2; half++) {
                    sums[i][half] = vi_dot_nibbles(sums[i][half], x, low[half], y, high[half]);
                    V_PIN(sums[i][half]);
                }
            }
        } else {
            // One half of the outputs after the other: both would not fit into the registers, or few rows need them not.
            FV_UNROLL for (size_t half = 0; half < 2; half++) {
                VI low, high;
                vi_load_nibbles(b + half * 4 * W, &low, &high);
                FV_UNROLL for (size_t i = 0; i < mr; i++) {
                    const VI x = vi_set_word(a + i * pitch), y = vi_set_word(a + i * pitch + 4);
                    sums[i][half] = vi_dot_nibbles(sums[i][half], x, low, y, high);
                    V_PIN(sums[i][half]);
                }
            }
        }
        b += NR * STEP;
        a += step;
    }
}
#endif

// What a group's sums start from: weights are stored with a zero point, and what it adds to a sum is known before.
INLINE VI zero_point_sums(const char *group, const int32_t zero) {
    return vi_set(-zero * ((const struct q_group *)group)->sum);
}

// One row of c (+)= a group's sums, the zero point's part included; adding: there was one before. scale stands at the
// group's start.
INLINE void add_group(
    const struct q_tile *t, const char *groups, size_t row, const float *scale, const VI sums[2], int adding) {
    const struct q_group of = *(const struct q_group *)(groups + row * t->pitch);
    const V factor = v_set(of.scale);
    float *c = t->c + row * NR;
    V y0 = adding ? v_load(c) : v_zero(), y1 = adding ? v_load(c + W) : v_zero();
    y0 = v_fma(v_floats(sums[0]), v_mul(factor, v_load(scale)), y0);
    y1 = v_fma(v_floats(sums[1]), v_mul(factor, v_load(scale + W)), y1);
    if (t->has_minima) {
        const V sum = v_set(of.scale * (float)of.sum);
        y0 = v_fma(sum, v_load(scale + NR), y0);
        y1 = v_fma(sum, v_load(scale + NR + W), y1);
    }
    v_store(c, y0);
    v_store(c + W, y1);
}

// c (+)= the block's groups. bits and mr are constants after inlining.
INLINE void tile_quantised(const struct q_tile *t, const int bits, const size_t mr) {
    const size_t step = bits == 8 ? STEP : 2 * STEP;
    const int32_t zero = bits == 8 ? WEIGHT_ZERO : 8;
    const char *b = t->panel, *a = t->a, *groups = t->groups;
    for (size_t k = 0; k < t->inputs; k += t->group, groups += sizeof(struct q_group)) {
        const size_t count = t->inputs - k < t->group ? t->inputs - k : t->group;
        const float *scale = (const float *)b;
        b += t->has_minima ? 8 * NR : 4 * NR;
        VI sums[MR][2];
        FV_UNROLL for (size_t i = 0; i < mr; i++) {
            sums[i][0] = sums[i][1] = zero_point_sums(groups + i * t->pitch, zero);
        }
        group_sums(sums, a, t->pitch, b, count, bits, mr);
        b += (count + step - 1) / step * NR * STEP;
        a += t->group;
        FV_UNROLL for (size_t i = 0; i < mr; i++) {
            add_group(t, groups, i, scale, sums[i], t->accumulate || k > 0);
        }
    }
}

typedef void q_tile_function(const struct q_tile *);
#define FV_Q_TILE(mr)                                                                                        \
    static void tile_q8_##mr(const struct q_tile *t) { tile_quantised(t, 8, mr); }                           \
    static void tile_q4_##mr(const struct q_tile *t) { tile_quantised(t, 4, mr); }
FV_Q_TILE(1)
FV_Q_TILE(2)
FV_Q_TILE(3)
FV_Q_TILE(4)
FV_Q_TILE(5)
FV_Q_TILE(6)
#if MR == 6
static q_tile_function *const tiles_q8[MR + 1] = {
    0, tile_q8_1, tile_q8_2, tile_q8_3, tile_q8_4, tile_q8_5, tile_q8_6};
static q_tile_function *const tiles_q4[MR + 1] = {
    0, tile_q4_1, tile_q4_2, tile_q4_3, tile_q4_4, tile_q4_5, tile_q4_6};
#else
FV_Q_TILE(7)
FV_Q_TILE(8)
FV_Q_TILE(9)
FV_Q_TILE(10)
FV_Q_TILE(11)
FV_Q_TILE(12)
static q_tile_function *const tiles_q8[MR + 1] = {
    0,         tile_q8_1, tile_q8_2, tile_q8_3,  tile_q8_4,  tile_q8_5, tile_q8_6,
    tile_q8_7, tile_q8_8, tile_q8_9, tile_q8_10, tile_q8_11, tile_q8_12};
static q_tile_function *const tiles_q4[MR + 1] = {
    0,         tile_q4_1, tile_q4_2, tile_q4_3,  tile_q4_4,  tile_q4_5, tile_q4_6,
    tile_q4_7, tile_q4_8, tile_q4_9, tile_q4_10, tile_q4_11, tile_q4_12};
#endif
#undef FV_Q_TILE

static void tile_q8(const struct q_tile *t) { tiles_q8[t->rows](t); }
static void tile_q4(const struct q_tile *t) { tiles_q4[t->rows](t); }

// Bytes of the groups that the first k inputs of a panel fill (k a multiple of the group, or all inputs).
INLINE size_t q_panel_bytes(size_t k, size_t group, int bits, int has_minima) {
    return fv_quantised_panel_bytes(k, group, bits, has_minima, NR);
}

// tile takes up to tile_rows rows.
INLINE void gemm_quantised(
    const struct fv_gemm *g, const int bits, q_tile_function *tile_function, const size_t tile_rows) {
    const size_t panel_bytes = q_panel_bytes(g->inputs, g->group, bits, g->has_minima);
    const size_t pitch = FV_NAME(quantised_pitch)(g->inputs, g->group);
    const char *groups = (const char *)g->quantised + q_value_bytes(g->inputs);
    const size_t count = (g->rows + tile_rows - 1) / tile_rows;
    // What a single tile reads once needs no place in a cache: each panel is one stream.
    const size_t step = count == 1 || g->inputs <= KQ + KQ / 2 ? g->inputs : KQ / g->group * g->group;
    float *sums = g->scratch;
    for (size_t k = 0; k < g->inputs; k += step) {
        const size_t depth = g->inputs - k < step ? g->inputs - k : step;
        for (size_t p = 0; p < g->panel_count; p++) {
            const size_t panel = g->first_panel + p;
            const char *base = (const char *)g->panels + panel * panel_bytes;
            for (size_t tile = 0; tile < count; tile++) {
                const size_t row = tile * tile_rows, left = g->rows - row;
                const size_t mr = left < tile_rows ? left : tile_rows;
                const struct q_tile work = {
                    .rows = mr,
                    .a = (const char *)g->quantised + row * pitch + k,
                    .groups = groups + row * pitch + k / g->group * sizeof(struct q_group),
                    .pitch = pitch,
                    .inputs = depth,
                    .group = g->group,
                    .panel = base + q_panel_bytes(k, g->group, bits, g->has_minima),
                    .has_minima = g->has_minima,
                    .c = step >= g->inputs ? sums : sums + (p * count + tile) * tile_rows * NR,
                    .accumulate = k > 0,
                };
                tile_function(&work);
                if (k + depth == g->inputs) finish(g, work.c, row, mr, panel);
            }
        }
    }
}

static void FV_NAME(gemm_q8)(const struct fv_gemm *g) { gemm_quantised(g, 8, tile_q8, MR); }
static void FV_NAME(gemm_q4)(const struct fv_gemm *g) { gemm_quantised(g, 4, tile_q4, MR); }

// The feed-forward network of fv_ffn with 8-bit weights: the hidden columns of a step are made in float32,
// quantised, and multiplied on.
INLINE void ffn_quantised(const struct fv_ffn *f, q_tile_function *tile_function, const size_t tile_rows) {
    const size_t expand_bytes = q_panel_bytes(f->inputs, f->group, 8, 0);
    const size_t project_bytes = q_panel_bytes(f->hidden, f->group, 8, 0);
    const size_t panels = (f->outputs + NR - 1) / NR, tiles = (f->rows + tile_rows - 1) / tile_rows;
    const size_t pitch = FV_NAME(quantised_pitch)(f->inputs, f->group);
    const size_t middle_pitch = FV_NAME(quantised_pitch)(HIDDEN_Q, f->group);
    char *a = f->scratch, *middle = a + tiles * tile_rows * pitch;
    float *hidden = (float *)(middle + tiles * tile_rows * middle_pitch), *sums = hidden + tiles * tile_rows * HIDDEN_Q;
    for (size_t row = 0; row < f->rows; row++) {
        quantise_row(f->a + row * f->a_stride, f->inputs, f->group, f->is_rotated, f->limit, a + row * pitch);
    }
    const struct fv_gemm output = {
        .a = f->a, .panels = f->project, .outputs = f->outputs, .y = f->y, .y_stride = f->y_stride,
        .bias = f->project_bias, .scale = f->scale, .epilogue = FV_ADD,
    };
    _Alignas(64) float c[ROW_UNIT * NR];
    for (size_t h = 0; h < f->hidden; h += HIDDEN_Q) {
        const size_t depth = f->hidden - h < HIDDEN_Q ? f->hidden - h : HIDDEN_Q;
        for (size_t panel = 0; panel * NR < depth; panel++) {
            for (size_t tile = 0; tile < tiles; tile++) {
                const size_t row = tile * tile_rows, left = f->rows - row;
                const size_t mr = left < tile_rows ? left : tile_rows;
                const struct q_tile work = {
                    .rows = mr,
                    .a = a + row * pitch, .groups = a + row * pitch + q_value_bytes(f->inputs), .pitch = pitch,
                    .inputs = f->inputs, .group = f->group,
                    .panel = (const char *)f->expand + (h / NR + panel) * expand_bytes, .c = c,
                };
                tile_function(&work);
                const float *bias = f->expand_bias ? f->expand_bias + h + panel * NR : 0;
                finish_hidden_coarse(c, mr, bias, hidden + row * HIDDEN_Q + panel * NR, HIDDEN_Q);
            }
        }
        for (size_t row = 0; row < f->rows; row++) {
            char *target = middle + row * middle_pitch;
            quantise_row(hidden + row * HIDDEN_Q, depth, f->group, f->is_rotated, f->limit, target);
        }
        const size_t offset = q_panel_bytes(h, f->group, 8, 0);
        for (size_t panel = 0; panel < panels; panel++) {
            for (size_t tile = 0; tile < tiles; tile++) {
                const size_t row = tile * tile_rows, left = f->rows - row;
                const size_t mr = left < tile_rows ? left : tile_rows;
                const char *rows = middle + row * middle_pitch;
                const struct q_tile work = {
                    .rows = mr,
                    .a = rows, .groups = rows + q_value_bytes(depth), .pitch = middle_pitch,
                    .inputs = depth, .group = f->group,
                    .panel = (const char *)f->project + panel * project_bytes + offset,
                    .c = sums + (panel * tiles + tile) * tile_rows * NR, .accumulate = h > 0,
                };
                tile_function(&work);
                if (h + depth == f->hidden) finish(&output, work.c, row, mr, panel);
            }
        }
    }
}

static void FV_NAME(ffn_q8)(const struct fv_ffn *f) { ffn_quantised(f, tile_q8, MR); }

// Bytes per row of what an ffn_q8 call keeps in the second-level cache.
INLINE size_t ffn_q8_row_bytes(size_t inputs, size_t outputs, size_t group) {
    return FV_NAME(quantised_pitch)(inputs, group) + FV_NAME(quantised_pitch)(HIDDEN_Q, group) +
           HIDDEN_Q * 4 + (outputs + NR) * 4;
}

static size_t FV_NAME(ffn_q8_rows)(size_t inputs, size_t hidden, size_t outputs, size_t group) {
    (void)hidden;
    const size_t rows = L2_BUDGET / ffn_q8_row_bytes(inputs, outputs, group) / ROW_UNIT * ROW_UNIT;
    return rows > ROWS ? ROWS : rows < LEAST_ROWS ? LEAST_ROWS : rows;
}

static size_t FV_NAME(ffn_q8_scratch)(size_t inputs, size_t hidden, size_t outputs, size_t group) {
    return (FV_NAME(ffn_q8_rows)(inputs, hidden, outputs, group) + ROW_UNIT) * ffn_q8_row_bytes(inputs, outputs, group);
}
