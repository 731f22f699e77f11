#include "reference.h"

enum { NR = FV_SCALAR_NR };

// Sums of one row with one panel: NR numbers, inputs in ascending order.
static void row_times_panel_f32(const float *a, const void *panel, size_t inputs, float sums[NR]) {
    const float *w = panel;
    for (size_t j = 0; j < NR; j++) sums[j] = 0;
    for (size_t k = 0; k < inputs; k++) {
        for (size_t j = 0; j < NR; j++) sums[j] += a[k] * w[k * NR + j];
    }
}

static void row_times_panel_bf16(const float *a, const void *panel, size_t inputs, float sums[NR]) {
    for (size_t j = 0; j < NR; j++) sums[j] = 0;
    for (size_t k = 0; k < inputs; k++) {
        for (size_t j = 0; j < NR; j++) {
            sums[j] += a[k] * fv_widen(fv_load16(panel, (k / 2 * NR + j) * 2 + k % 2));
        }
    }
}

void fv_finish_row_scalar(const struct fv_gemm *g, size_t row, size_t panel, const float *sums) {
    const size_t width = g->epilogue == FV_GATED ? NR / 2 : NR;
    float *y = g->y + row * g->y_stride;
    for (size_t j = 0; j < width && panel * width + j < g->outputs; j++) {
        const size_t output = panel * width + j;
        const float sum = sums[j] + (g->bias ? g->bias[output] : 0);
        switch (g->epilogue) {
        case FV_STORE: y[output] = fv_activate_scalar(sum, g->activation); break;
        case FV_ADD: y[output] += (g->scale ? g->scale[output] : 1) * sum; break;
        case FV_GATED: y[output] = fv_activate_scalar(sums[j], FV_SILU) * sums[j + width]; break;
        }
    }
}

void fv_gemm_f32_scalar(const struct fv_gemm *g) {
    const size_t bytes = g->inputs * NR * 4;
    for (size_t panel = g->first_panel; panel < g->first_panel + g->panel_count; panel++) {
        for (size_t row = 0; row < g->rows; row++) {
            float sums[NR];
            row_times_panel_f32(
                g->a + row * g->a_stride, (const char *)g->panels + panel * bytes, g->inputs, sums);
            fv_finish_row_scalar(g, row, panel, sums);
        }
    }
}

void fv_gemm_bf16_scalar(const struct fv_gemm *g) {
    const size_t bytes = (g->inputs + 1) / 2 * NR * 4;
    for (size_t panel = g->first_panel; panel < g->first_panel + g->panel_count; panel++) {
        for (size_t row = 0; row < g->rows; row++) {
            float sums[NR];
            row_times_panel_bf16(
                g->a + row * g->a_stride, (const char *)g->panels + panel * bytes, g->inputs, sums);
            fv_finish_row_scalar(g, row, panel, sums);
        }
    }
}

size_t fv_gemm_scratch_scalar(size_t inputs) {
    (void)inputs;
    return 0;
}

// The feed-forward network is two products with the hidden row in between.
static void ffn(const struct fv_ffn *f, void (*gemm)(const struct fv_gemm *)) {
    float *hidden = f->scratch;
    const struct fv_gemm expand = {
        .a = f->a, .a_stride = f->a_stride, .rows = f->rows, .inputs = f->inputs, .panels = f->expand,
        .panel_count = (f->hidden + NR - 1) / NR, .outputs = f->hidden, .y = hidden, .y_stride = f->hidden,
        .bias = f->expand_bias, .epilogue = FV_STORE, .activation = FV_GELU,
    };
    gemm(&expand);
    const struct fv_gemm project = {
        .a = hidden, .a_stride = f->hidden, .rows = f->rows, .inputs = f->hidden, .panels = f->project,
        .panel_count = (f->outputs + NR - 1) / NR, .outputs = f->outputs, .y = f->y, .y_stride = f->y_stride,
        .bias = f->project_bias, .scale = f->scale, .epilogue = FV_ADD,
    };
    gemm(&project);
}

void fv_ffn_f32_scalar(const struct fv_ffn *f) { ffn(f, fv_gemm_f32_scalar); }
void fv_ffn_bf16_scalar(const struct fv_ffn *f) { ffn(f, fv_gemm_bf16_scalar); }

size_t fv_ffn_rows_scalar(size_t inputs, size_t hidden, size_t outputs) {
    (void)inputs, (void)hidden, (void)outputs;
    return 16;
}

size_t fv_ffn_scratch_scalar(size_t inputs, size_t hidden, size_t outputs) {
    return fv_ffn_rows_scalar(inputs, hidden, outputs) * hidden * 4;
}
