// What gemm.h needs whatever the weights are: block sizes, what follows a sum, patches; then gemm.h itself
// for float32 weights and for bfloat16 weights that are widened in registers.

enum {
    // Rows, panels and queries that one call takes at most.
    ROWS = 96,
    PANELS = 16,
    // Inputs per block: KC · NR · 4 bytes are 24 KiB with 16 outputs per panel.
    KC = W == 8 ? 384 : 512,
    // Hidden columns per step of a feed-forward network; a multiple of NR.
    HIDDEN = W == 8 ? 384 : 512,
#if FV_HAS_AMX
    // A feed-forward network's rows suit the larger micro-kernels and have room for the smaller ones' last one.
    ROW_UNIT = AMX_ROWS,
    LEAST_ROWS = 2 * AMX_ROWS,
    ROW_ROOM = MR,
#else
    ROW_UNIT = MR,
    LEAST_ROWS = 4 * MR,
    ROW_ROOM = 0,
#endif
};

// Blocks of k of equal length, multiples of `unit`, at most KC (as a single block up to 2·KC: the panel then comes from the
// second-level cache, which costs less than storing and loading sums).
INLINE size_t k_step(size_t inputs, size_t unit) {
    if (inputs <= 2 * KC) return inputs;
    const size_t blocks = (inputs + KC - 1) / KC;
    return ((inputs + blocks - 1) / blocks + unit - 1) / unit * unit;
}

// One tile c[mr][NR] of panel `panel`, rows from `row` on, into y; `bias` and `scale` may be null.
INLINE void finish_as(
    const struct fv_gemm *g, const float *c, size_t row, size_t mr, size_t panel,
    const enum fv_epilogue epilogue, const enum fv_activation activation) {
    const size_t width = epilogue == FV_GATED ? W : NR, first = panel * width;
    for (size_t v = 0; v < width && first + v < g->outputs; v += W) {
        const size_t output = first + v, left = g->outputs - output, n = left < W ? left : W;
        const V bias = g->bias ? v_load(g->bias + output) : v_zero();
        const V scale = g->scale ? v_load(g->scale + output) : v_set(1);
        for (size_t i = 0; i < mr; i++) {
            float *y = g->y + (row + i) * g->y_stride + output;
            V sum = v_add(v_load(c + i * NR + v), bias);
            if (epilogue == FV_STORE) sum = v_activate(sum, activation);
            if (epilogue == FV_GATED) sum = v_mul(v_silu(sum), v_load(c + i * NR + W));
            if (epilogue == FV_ADD) sum = v_fma(sum, scale, n == W ? v_load(y) : v_load_part(y, n));
            if (n == W) {
                v_store(y, sum);
            } else {
                v_store_part(y, sum, n);
            }
        }
    }
}

static void finish(const struct fv_gemm *g, const float *c, size_t row, size_t mr, size_t panel) {
    switch (g->epilogue) {
    case FV_ADD: finish_as(g, c, row, mr, panel, FV_ADD, FV_NONE); break;
    case FV_GATED: finish_as(g, c, row, mr, panel, FV_GATED, FV_NONE); break;
    case FV_STORE:
        switch (g->activation) {
        case FV_NONE: finish_as(g, c, row, mr, panel, FV_STORE, FV_NONE); break;
        case FV_GELU: finish_as(g, c, row, mr, panel, FV_STORE, FV_GELU); break;
        case FV_SILU: finish_as(g, c, row, mr, panel, FV_STORE, FV_SILU); break;
        case FV_RELU: finish_as(g, c, row, mr, panel, FV_STORE, FV_RELU); break;
        case FV_COARSE_GELU: finish_as(g, c, row, mr, panel, FV_STORE, FV_COARSE_GELU); break;
        case FV_QUICK_GELU: finish_as(g, c, row, mr, panel, FV_STORE, FV_QUICK_GELU); break;
        case FV_TANH_GELU: finish_as(g, c, row, mr, panel, FV_STORE, FV_TANH_GELU); break;
        }
    }
}

// gelu(c + bias) of one tile of hidden numbers; bias is padded with zeros, and so is the hidden activation.
INLINE void hidden_pair(const float *c, const float *bias, V x[4], const size_t rows, const int coarse) {
    FV_UNROLL for (size_t i = 0; i < rows; i++) {
        x[2 * i] = v_load(c + i * NR);
        x[2 * i + 1] = v_load(c + i * NR + W);
        if (bias) {
            x[2 * i] = v_add(x[2 * i], v_load(bias));
            x[2 * i + 1] = v_add(x[2 * i + 1], v_load(bias + W));
        }
    }
    if (coarse) {
        v_coarse_gelu_all(x, 2 * rows);
    } else {
        v_gelu_all(x, 2 * rows);
    }
}

#define FV_HIDDEN(COARSE, STORE)                                                                             \
    V x[4];                                                                                                  \
    size_t i = 0;                                                                                            \
    for (; i + 2 <= mr; i += 2) {                                                                            \
        hidden_pair(c + i * NR, bias, x, 2, COARSE);                                                         \
        STORE(target + i * stride, x[0]);                                                                    \
        STORE(target + i * stride + W, x[1]);                                                                \
        STORE(target + (i + 1) * stride, x[2]);                                                              \
        STORE(target + (i + 1) * stride + W, x[3]);                                                          \
    }                                                                                                        \
    if (i < mr) {                                                                                            \
        hidden_pair(c + i * NR, bias, x, 1, COARSE);                                                         \
        STORE(target + i * stride, x[0]);                                                                    \
        STORE(target + i * stride + W, x[1]);                                                                \
    }

static void finish_hidden_float(const float *c, size_t mr, const float *bias, float *target, size_t stride) {
    FV_HIDDEN(0, v_store)
}

// For a hidden activation that becomes integers next.
static void finish_hidden_coarse(const float *c, size_t mr, const float *bias, float *target, size_t stride) {
    FV_HIDDEN(1, v_store)
}

#if FV_HAS_DPBF16
static void finish_hidden_rounded(
    const float *c, size_t mr, const float *bias, uint16_t *target, size_t stride) {
    FV_HIDDEN(0, v_store_rounded)
}
#endif

static void fill_patches(const struct fv_stem *s, size_t row, size_t first, size_t count, float *entry) {
    const ptrdiff_t pad = (ptrdiff_t)(s->kernel / 2), width = (ptrdiff_t)s->width, height = (ptrdiff_t)s->height;
    const size_t line = s->kernel * s->channels;
    for (size_t column = first; column < first + count; column++) {
        const ptrdiff_t start = (ptrdiff_t)(column * s->stride) - pad, end = start + (ptrdiff_t)s->kernel;
        for (size_t ky = 0; ky < s->kernel; ky++, entry += line) {
            const ptrdiff_t y = (ptrdiff_t)(row * s->stride + ky) - pad;
            const int has_row = y >= 0 && y < height;
            // Most patches lie inside the image, and their rows are one piece of it.
            if (has_row && start >= 0 && end <= width) {
                const float *pixels = s->x + (size_t)(y * width + start) * s->channels;
                for (size_t i = 0; i < line; i++) entry[i] = pixels[i];
                continue;
            }
            for (size_t kx = 0; kx < s->kernel; kx++) {
                const ptrdiff_t x = start + (ptrdiff_t)kx;
                const int inside = has_row && x >= 0 && x < width;
                const float *pixel = inside ? s->x + (size_t)(y * width + x) * s->channels : 0;
                for (size_t c = 0; c < s->channels; c++) entry[kx * s->channels + c] = pixel ? pixel[c] : 0;
            }
        }
    }
}

// Scratch is counted for the widest case, bfloat16 inputs rounded beforehand.
static size_t FV_NAME(gemm_scratch)(size_t inputs) {
    return ROWS * (inputs + 40) * 2 + 64 + (size_t)ROWS * PANELS * NR * 4;
}

static size_t FV_NAME(ffn_rows)(size_t inputs, size_t hidden, size_t outputs) {
    const size_t columns = inputs + outputs + (hidden < HIDDEN ? hidden : HIDDEN);
    const size_t rows = L2_BUDGET / (columns * 4) / ROW_UNIT * ROW_UNIT;
    return rows > ROWS ? ROWS : rows < LEAST_ROWS ? LEAST_ROWS : rows;
}

static size_t FV_NAME(ffn_scratch)(size_t inputs, size_t hidden, size_t outputs) {
    const size_t rows = FV_NAME(ffn_rows)(inputs, hidden, outputs) + ROW_ROOM;
    return rows * (inputs + 40) * 2 + 64 + rows * ((HIDDEN + 32) * 4 + (outputs + NR) * 4) + 64;
}

static size_t FV_NAME(stem_scratch)(size_t inputs, size_t out_width) {
    (void)out_width;
    return ROWS * inputs * 4 + 64 + FV_NAME(gemm_scratch)(inputs);
}

#if FV_HAS_DPBF16
// Numbers between rows that are rounded to bfloat16.
INLINE size_t rounded_stride(size_t inputs) { return (inputs + 1) / 2 * 2 + 32; }
static size_t FV_NAME(rounded_pitch)(size_t inputs) { return 2 * rounded_stride(inputs); }
#endif

#define FV_WEIGHTS f32
#define FV_TILE(mr, ...) tiles_f32[mr](__VA_ARGS__)
#define FV_TILE_ROWS MR
#define FV_INPUTS_UNIT 2
#define FV_INPUT float
#define FV_INPUT_IS_BF16 0
#define FV_ROW row_f32
#define FV_PANEL(k) ((k) * NR * 4)
#define finish_hidden_f32 finish_hidden_float
#include "gemm.h"

#if FV_HAS_DPBF16
// bfloat16 weights with inputs that are not rounded.
#define FV_WEIGHTS exact_bf16
#define FV_TILE(mr, ...) tiles_bf16[mr](__VA_ARGS__)
#define FV_TILE_ROWS MR
#define FV_INPUTS_UNIT 2
#define FV_INPUT float
#define FV_INPUT_IS_BF16 0
#define FV_ROW row_bf16
#define FV_PANEL(k) (((k) + 1) / 2 * NR * 4)
#define FV_ONLY_PRODUCTS 1
#include "gemm.h"
#endif

#if !FV_HAS_AMX // amx.h has its own
#define FV_PANEL(k) (((k) + 1) / 2 * NR * 4)
#define FV_WEIGHTS bf16
#define FV_TILE_ROWS MR
#define FV_INPUTS_UNIT 2
#if FV_HAS_DPBF16
#define FV_ROW row_dpbf16
#define FV_TILE(mr, ...) tiles_dpbf16[mr](__VA_ARGS__)
#define FV_INPUT uint16_t
#define FV_INPUT_IS_BF16 1
#define finish_hidden_bf16 finish_hidden_rounded
#else
#define FV_ROW row_bf16
#define FV_TILE(mr, ...) tiles_bf16[mr](__VA_ARGS__)
#define FV_INPUT float
#define FV_INPUT_IS_BF16 0
#define finish_hidden_bf16 finish_hidden_float
#endif
#include "gemm.h"
#endif
