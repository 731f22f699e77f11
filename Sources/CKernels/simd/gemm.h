// Products with packed weights, the fused feed-forward network and the stem, once per weight type. Included
// with these macros set, which it clears:
//
//     FV_WEIGHTS        f32 or bf16: the end of the functions' names
//     FV_TILE(mr, …)    calls the micro-kernel for mr rows
//     FV_TILE_ROWS      most rows of a micro-kernel
//     FV_INPUTS_UNIT    inputs that a micro-kernel takes at once
//     FV_INPUT          element that the micro-kernels read: float, or uint16_t where they want bfloat16
//     FV_INPUT_IS_BF16  0 or 1
//     FV_ROW            optional: kernel for one row and four panels, which adds up in the order of FV_TILE
//     FV_PANEL(k)       bytes of k inputs of a panel (k even unless it is the last)
//     FV_ONLY_PRODUCTS  optional: only products
//     FV_SUMS_STAY      optional: 1 where sums stay in registers however many inputs there are
//
// A row has the same bits alone, among any others and at any place: every way through here takes its sums with the same
// instructions in the same order.
//
// Loop order of a call: blocks of k; panels; tiles of FV_TILE_ROWS rows. A panel's block (KC · NR numbers) stays in the
// first-level cache while all rows pass by, the rows' block (ROWS · KC) stays in the second-level cache while
// all panels pass by. With more than one block of k the sums wait in `scratch`.

#ifndef FV_SUMS_STAY
#define FV_SUMS_STAY 0
#endif
#define FV_PASTE2(a, b) a##_##b
#define FV_PASTE(a, b) FV_PASTE2(a, b)
#define FV_LOCAL(name) FV_PASTE(name, FV_WEIGHTS)
#define FV_PUBLIC(name) FV_NAME(FV_PASTE(name, FV_WEIGHTS))

// The rows as the micro-kernels read them: in place, or rounded to bfloat16 in *scratch (which moves on).
static const FV_INPUT *FV_LOCAL(inputs)(
    const float *a, size_t *stride, size_t rows, size_t inputs, char **scratch) {
#if FV_INPUT_IS_BF16
    uint16_t *target = (uint16_t *)*scratch;
    const size_t target_stride = rounded_stride(inputs);
    for (size_t row = 0; row < rows; row++) {
        round_row(target + row * target_stride, a + row * *stride, inputs, FV_INPUTS_UNIT);
    }
    *stride = target_stride;
    *scratch += (rows * target_stride * 2 + 63) / 64 * 64;
    return target;
#else
    (void)stride, (void)rows, (void)inputs, (void)scratch;
    return a;
#endif
}

// The same of a product's rows, which may have been rounded before.
static const FV_INPUT *FV_LOCAL(rows)(const struct fv_gemm *g, size_t *stride, char **scratch) {
    *stride = g->a_stride;
#if FV_INPUT_IS_BF16
    if (g->quantised) {
        *stride = rounded_stride(g->inputs);
        return g->quantised;
    }
#endif
    return FV_LOCAL(inputs)(g->a, stride, g->rows, g->inputs, scratch);
}

#if FV_INPUT_IS_BF16
static void FV_NAME(round_rows)(const struct fv_quantise *q) {
    const size_t stride = rounded_stride(q->inputs);
    for (size_t row = 0; row < q->rows; row++) {
        round_row((uint16_t *)q->target + row * stride, q->x + row * q->x_stride, q->inputs, FV_INPUTS_UNIT);
    }
}
#endif

#ifdef FV_ROW
// Products of one row, reading each weight once.
static void FV_LOCAL(gemm_row)(const struct fv_gemm *g) {
    const size_t panel_bytes = FV_PANEL(g->inputs), end = g->first_panel + g->panel_count;
    char *scratch = g->scratch;
    size_t stride;
    const FV_INPUT *a = FV_LOCAL(rows)(g, &stride, &scratch);
    _Alignas(64) float sums[4 * NR];
    for (size_t panel = g->first_panel; panel < end; panel += 4) {
        const char *base = (const char *)g->panels + panel * panel_bytes;
        const size_t count = end - panel < 4 ? end - panel : 4;
        if (count == 4) {
            FV_ROW(g->inputs, a, base, panel_bytes, sums);
        } else {
            for (size_t p = 0; p < count; p++) {
                FV_TILE(1, g->inputs, a, stride, base + p * panel_bytes, sums + p * NR, NR, 0);
            }
        }
        for (size_t p = 0; p < count; p++) finish(g, sums + p * NR, 0, 1, panel + p);
    }
}
#endif

static void FV_PUBLIC(gemm)(const struct fv_gemm *g) {
#ifdef FV_ROW
    if (g->rows == 1) {
        FV_LOCAL(gemm_row)(g);
        return;
    }
#endif
    const size_t panel_bytes = FV_PANEL(g->inputs);
    char *scratch = g->scratch;
    size_t stride;
    const FV_INPUT *a = FV_LOCAL(rows)(g, &stride, &scratch);
    float *sums = (float *)scratch;
    const size_t tiles = (g->rows + FV_TILE_ROWS - 1) / FV_TILE_ROWS;
    // What a single tile reads once needs no place in a cache: each panel is one stream. Nor do blocks of k pay where a
    // whole panel stays in the second-level cache beside the rows, or where sums go to memory and back in whole tiles.
    const int whole = tiles == 1 || FV_SUMS_STAY || panel_bytes + g->rows * g->inputs * sizeof(FV_INPUT) <= L2_BUDGET;
    const size_t step = whole ? g->inputs : k_step(g->inputs, FV_INPUTS_UNIT);
    for (size_t k = 0; k < g->inputs; k += step) {
        const size_t depth = g->inputs - k < step ? g->inputs - k : step;
        const int last = k + depth == g->inputs;
        for (size_t p = 0; p < g->panel_count; p++) {
            const size_t panel = g->first_panel + p;
            const char *base = (const char *)g->panels + panel * panel_bytes + FV_PANEL(k);
            for (size_t tile = 0; tile < tiles; tile++) {
                const size_t row = tile * FV_TILE_ROWS, left = g->rows - row;
                const size_t mr = left < FV_TILE_ROWS ? left : FV_TILE_ROWS;
                // With a single block of k the same small buffer serves all tiles.
                float *c = step >= g->inputs ? sums : sums + (p * tiles + tile) * FV_TILE_ROWS * NR;
                FV_TILE(mr, depth, a + row * stride + k, stride, base, c, NR, k > 0);
                if (last) finish(g, c, row, mr, panel);
            }
        }
    }
}

#if !FV_ONLY_PRODUCTS
// Tile of rows through expand and project, HIDDEN hidden columns at a time; see fv_ffn.
static void FV_PUBLIC(ffn)(const struct fv_ffn *f) {
    const size_t expand_bytes = FV_PANEL(f->inputs), project_bytes = FV_PANEL(f->hidden);
    const size_t panels = (f->outputs + NR - 1) / NR, tiles = (f->rows + FV_TILE_ROWS - 1) / FV_TILE_ROWS;
    const size_t hidden_stride = HIDDEN + 32;
    char *scratch = f->scratch;
    size_t stride = f->a_stride;
    const FV_INPUT *a = FV_LOCAL(inputs)(f->a, &stride, f->rows, f->inputs, &scratch);
    FV_INPUT *middle = (FV_INPUT *)scratch;
    float *sums = (float *)(scratch + tiles * FV_TILE_ROWS * hidden_stride * sizeof(FV_INPUT));
    const struct fv_gemm output = {
        .a = f->a, .panels = f->project, .outputs = f->outputs, .y = f->y, .y_stride = f->y_stride,
        .bias = f->project_bias, .scale = f->scale, .epilogue = FV_ADD,
    };
    _Alignas(64) float c[FV_TILE_ROWS * NR];
    for (size_t h = 0; h < f->hidden; h += HIDDEN) {
        const size_t depth = f->hidden - h < HIDDEN ? f->hidden - h : HIDDEN;
        for (size_t panel = 0; panel * NR < depth; panel++) {
            const char *base = (const char *)f->expand + (h / NR + panel) * expand_bytes;
            for (size_t tile = 0; tile < tiles; tile++) {
                const size_t row = tile * FV_TILE_ROWS, left = f->rows - row;
                const size_t mr = left < FV_TILE_ROWS ? left : FV_TILE_ROWS;
                FV_TILE(mr, f->inputs, a + row * stride, stride, base, c, NR, 0);
                const float *bias = f->expand_bias ? f->expand_bias + h + panel * NR : 0;
                FV_INPUT *target = middle + row * hidden_stride + panel * NR;
                FV_LOCAL(finish_hidden)(c, mr, bias, target, hidden_stride);
            }
        }
        for (size_t panel = 0; panel < panels; panel++) {
            const char *base = (const char *)f->project + panel * project_bytes + FV_PANEL(h);
            for (size_t tile = 0; tile < tiles; tile++) {
                const size_t row = tile * FV_TILE_ROWS, left = f->rows - row;
                const size_t mr = left < FV_TILE_ROWS ? left : FV_TILE_ROWS;
                float *sum = sums + (panel * tiles + tile) * FV_TILE_ROWS * NR;
                FV_TILE(mr, depth, middle + row * hidden_stride, hidden_stride, base, sum, NR, h > 0);
                if (h + depth == f->hidden) finish(&output, sum, row, mr, panel);
            }
        }
    }
}

// Patches of up to ROWS output positions as a matrix [rows, k·k·channels], then a product.
static void FV_PUBLIC(stem)(const struct fv_stem *s) {
    const size_t inputs = s->kernel * s->kernel * s->channels;
    float *patches = s->scratch;
    for (size_t row = s->first_row; row < s->first_row + s->row_count; row++) {
        for (size_t first = 0; first < s->out_width; first += ROWS) {
            const size_t count = s->out_width - first < ROWS ? s->out_width - first : ROWS;
            fill_patches(s, row, first, count, patches);
            struct fv_gemm product = {
                .a = patches, .a_stride = inputs, .rows = count, .inputs = inputs, .panels = s->panels,
                .outputs = s->outputs, .y = s->y + (row * s->out_width + first) * s->outputs,
                .y_stride = s->outputs, .bias = s->bias, .epilogue = FV_STORE, .activation = s->activation,
                .scratch = (char *)s->scratch + (ROWS * inputs * 4 + 63) / 64 * 64,
            };
            const size_t panels = (s->outputs + NR - 1) / NR;
            for (size_t panel = 0; panel < panels; panel += PANELS) {
                product.first_panel = panel;
                product.panel_count = panels - panel < PANELS ? panels - panel : PANELS;
                FV_PUBLIC(gemm)(&product);
            }
        }
    }
}

#endif

#undef FV_PASTE2
#undef FV_PASTE
#undef FV_LOCAL
#undef FV_PUBLIC
#undef FV_WEIGHTS
#undef FV_TILE
#undef FV_TILE_ROWS
#undef FV_INPUTS_UNIT
#undef FV_INPUT
#undef FV_INPUT_IS_BF16
#undef FV_ROW
#undef FV_PANEL
#undef FV_ONLY_PRODUCTS
#undef FV_SUMS_STAY
