#include "fv_quantised.h"
#include "reference.h"

#define FV_NAME(operation) plain_##operation
#include "../simd/weights.h"

uint32_t fv_largest_bits_scalar(const void *numbers, size_t count, size_t width) {
    return plain_largest_bits(numbers, count, width);
}

float fv_quantise_weights_scalar(const float *w, size_t count, int bits, int limit, int8_t *q) {
    return plain_quantise_weights(w, count, bits, limit, q);
}

// Activations: per row the integers, then a scale and a sum for each group.
enum { NR = FV_SCALAR_NR, STEP = FV_QUANTUM_STEP };

struct group {
    float scale;
    int32_t sum;
};

static size_t value_bytes(size_t inputs) { return (inputs + 7) / 8 * 8; }

size_t fv_quantised_pitch_scalar(size_t inputs, size_t group) {
    return value_bytes(inputs) + (inputs + group - 1) / group * sizeof(struct group);
}

static void quantise_row(const float *x, size_t inputs, size_t group, int is_rotated, int limit, char *row) {
    int8_t *values = (int8_t *)row;
    struct group *groups = (struct group *)(row + value_bytes(inputs));
    for (size_t k = inputs; k < value_bytes(inputs); k++) values[k] = 0;
    const float most = (float)limit;
    float rotated[FV_LARGEST_GROUP];
    for (size_t first = 0; first < inputs; first += group) {
        const size_t count = inputs - first < group ? inputs - first : group;
        memcpy(rotated, x + first, count * 4);
        for (size_t k = 0, block; is_rotated && k < count; k += block) {
            block = fv_rotated_block(count - k, group);
            fv_rotate(rotated + k, block);
        }
        float top = 0;
        for (size_t k = 0; k < count; k++) {
            const float size = __builtin_fabsf(rotated[k]);
            if (size > top || size != size) top = size; // NaN stays
        }
        const float factor = fv_quantising_factor(top, limit);
        struct group *g = groups++;
        *g = (struct group){fv_quantised_scale(top, limit), 0};
        for (size_t k = 0; k < count; k++) {
            const float q = __builtin_rintf(rotated[k] * factor);
            values[first + k] = (int8_t)(q > most ? most : q > -most ? q : -most); // also for NaN
            g->sum += values[first + k];
        }
    }
}

void fv_quantise_scalar(const struct fv_quantise *q) {
    const size_t pitch = fv_quantised_pitch_scalar(q->inputs, q->group);
    for (size_t row = 0; row < q->rows; row++) {
        char *target = (char *)q->target + row * pitch;
        quantise_row(q->x + row * q->x_stride, q->inputs, q->group, q->is_rotated, q->limit, target);
    }
}

// q − zero of output j, input k within a group whose steps begin at `steps`.
static int weight(const unsigned char *steps, size_t j, size_t k, int bits) {
    if (bits == 8) return steps[(k / STEP * NR + j) * STEP + k % STEP] - FV_SCALAR_WEIGHT_ZERO;
    const unsigned char byte = steps[(k / (2 * STEP) * NR + j) * STEP + k % STEP];
    return (k / STEP % 2 ? byte >> 4 : byte & 15) - 8;
}

static void row_times_panel(
    const char *row, const char *panel, size_t inputs, size_t group, int bits, int has_minima, float sums[NR]) {
    const int8_t *values = (const int8_t *)row;
    const struct group *groups = (const struct group *)(row + value_bytes(inputs));
    for (size_t j = 0; j < NR; j++) sums[j] = 0;
    for (size_t first = 0; first < inputs; first += group, groups++) {
        const size_t count = inputs - first < group ? inputs - first : group;
        const char *base = panel + fv_quantised_panel_bytes(first, group, bits, has_minima, NR);
        const unsigned char *steps = (const unsigned char *)base + (has_minima ? 8 : 4) * NR;
        for (size_t j = 0; j < NR; j++) {
            int32_t sum = 0;
            for (size_t k = 0; k < count; k++) sum += values[first + k] * weight(steps, j, k, bits);
            sums[j] += (float)sum * (groups->scale * fv_load_float(base, j));
            if (has_minima) sums[j] += groups->scale * (float)groups->sum * fv_load_float(base, NR + j);
        }
    }
}

static void gemm(const struct fv_gemm *g, int bits) {
    const size_t bytes = fv_quantised_panel_bytes(g->inputs, g->group, bits, g->has_minima, NR);
    const size_t pitch = fv_quantised_pitch_scalar(g->inputs, g->group);
    for (size_t panel = g->first_panel; panel < g->first_panel + g->panel_count; panel++) {
        for (size_t row = 0; row < g->rows; row++) {
            float sums[NR];
            row_times_panel(
                (const char *)g->quantised + row * pitch, (const char *)g->panels + panel * bytes, g->inputs,
                g->group, bits, g->has_minima, sums);
            fv_finish_row_scalar(g, row, panel, sums);
        }
    }
}

void fv_gemm_q8_scalar(const struct fv_gemm *g) { gemm(g, 8); }
void fv_gemm_q4_scalar(const struct fv_gemm *g) { gemm(g, 4); }

void fv_rotate_rows_scalar(const struct fv_quantise *q) {
    for (size_t row = 0; row < q->rows; row++) {
        float *y = (float *)q->target + row * q->inputs;
        memcpy(y, q->x + row * q->x_stride, q->inputs * 4);
        for (size_t first = 0; first < q->inputs; first += q->group) {
            const size_t count = q->inputs - first < q->group ? q->inputs - first : q->group;
            for (size_t k = 0, block; k < count; k += block) {
                block = fv_rotated_block(count - k, q->group);
                fv_rotate(y + first + k, block);
            }
        }
    }
}

static void gemm_widened(const struct fv_gemm *g, int bits) {
    const size_t bytes = fv_quantised_panel_bytes(g->inputs, g->group, bits, g->has_minima, NR);
    for (size_t panel = g->first_panel; panel < g->first_panel + g->panel_count; panel++) {
        for (size_t row = 0; row < g->rows; row++) {
            float sums[NR] = {0};
            for (size_t k = 0; k < g->inputs; k++) {
                const size_t first = k / g->group * g->group;
                const char *base = (const char *)g->panels + panel * bytes
                    + fv_quantised_panel_bytes(first, g->group, bits, g->has_minima, NR);
                const unsigned char *steps = (const unsigned char *)base + (g->has_minima ? 8 : 4) * NR;
                for (size_t j = 0; j < NR; j++) {
                    float w = (float)weight(steps, j, k - first, bits) * fv_load_float(base, j);
                    if (g->has_minima) w += fv_load_float(base, NR + j);
                    sums[j] += g->a[row * g->a_stride + k] * w;
                }
            }
            fv_finish_row_scalar(g, row, panel, sums);
        }
    }
}

void fv_gemm_widened_q8_scalar(const struct fv_gemm *g) { gemm_widened(g, 8); }
void fv_gemm_widened_q4_scalar(const struct fv_gemm *g) { gemm_widened(g, 4); }
size_t fv_widened_scratch_scalar(void) { return 0; }

// Hidden columns are quantised in steps of HIDDEN, as in the other variants; groups divide it.
void fv_ffn_q8_scalar(const struct fv_ffn *f) {
    const size_t pitch = fv_quantised_pitch_scalar(f->inputs, f->group);
    char *row = f->scratch;
    float *hidden = (float *)(row + pitch);
    char *middle = (char *)(hidden + f->hidden);
    for (size_t i = 0; i < f->rows; i++) {
        quantise_row(f->a + i * f->a_stride, f->inputs, f->group, f->is_rotated, f->limit, row);
        const struct fv_gemm expand = {
            .a = f->a, .quantised = row, .rows = 1, .inputs = f->inputs, .panels = f->expand,
            .panel_count = (f->hidden + NR - 1) / NR, .outputs = f->hidden, .y = hidden, .group = f->group,
            .bias = f->expand_bias, .epilogue = FV_STORE, .activation = FV_COARSE_GELU,
        };
        gemm(&expand, 8);
        quantise_row(hidden, f->hidden, f->group, f->is_rotated, f->limit, middle);
        const struct fv_gemm project = {
            .a = f->a, .quantised = middle, .rows = 1, .inputs = f->hidden, .panels = f->project,
            .panel_count = (f->outputs + NR - 1) / NR, .outputs = f->outputs, .y = f->y + i * f->y_stride,
            .bias = f->project_bias, .scale = f->scale, .epilogue = FV_ADD, .group = f->group,
        };
        gemm(&project, 8);
    }
}

size_t fv_ffn_q8_rows_scalar(size_t inputs, size_t hidden, size_t outputs, size_t group) {
    (void)inputs, (void)hidden, (void)outputs, (void)group;
    return 16;
}

size_t fv_ffn_q8_scratch_scalar(size_t inputs, size_t hidden, size_t outputs, size_t group) {
    (void)outputs;
    return fv_quantised_pitch_scalar(inputs, group) + hidden * 4 + fv_quantised_pitch_scalar(hidden, group);
}
