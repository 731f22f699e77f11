#include "reference.h"

void fv_depthwise_scalar(const struct fv_depthwise *d) {
    const ptrdiff_t pad = (ptrdiff_t)(d->kernel / 2);
    const size_t outputs = d->channels * d->multiplier;
    for (size_t row = d->first_row; row < d->first_row + d->row_count; row++) {
        for (size_t column = 0; column < d->out_width; column++) {
            const size_t first = d->first_channel * d->multiplier, count = d->channel_count * d->multiplier;
            for (size_t o = first; o < first + count; o++) {
                const size_t i = o / d->multiplier, q = o % d->multiplier;
                float sum = d->bias[q * d->plane + i];
                for (size_t ky = 0; ky < d->kernel; ky++) {
                    for (size_t kx = 0; kx < d->kernel; kx++) {
                        const ptrdiff_t y = (ptrdiff_t)(row * d->stride + ky) - pad;
                        const ptrdiff_t x = (ptrdiff_t)(column * d->stride + kx) - pad;
                        if (y < 0 || x < 0 || y >= (ptrdiff_t)d->height || x >= (ptrdiff_t)d->width) continue;
                        const size_t tap = ky * d->kernel + kx;
                        sum += d->weights[(tap * d->multiplier + q) * d->plane + i]
                            * d->x[((size_t)y * d->width + (size_t)x) * d->channels + i];
                    }
                }
                d->y[(row * d->out_width + column) * outputs + o] = fv_activate_scalar(sum, d->activation);
            }
        }
    }
}

size_t fv_depthwise_scratch_scalar(size_t kernel, size_t stride) {
    (void)kernel, (void)stride;
    return 0;
}

// One output row as a matrix [out_width, k·k·channels], then a product.
static void stem(const struct fv_stem *s, void (*gemm)(const struct fv_gemm *)) {
    const ptrdiff_t pad = (ptrdiff_t)(s->kernel / 2);
    const size_t inputs = s->kernel * s->kernel * s->channels;
    float *patches = s->scratch;
    for (size_t row = s->first_row; row < s->first_row + s->row_count; row++) {
        float *entry = patches;
        for (size_t column = 0; column < s->out_width; column++) {
            for (size_t ky = 0; ky < s->kernel; ky++) {
                for (size_t kx = 0; kx < s->kernel; kx++) {
                    const ptrdiff_t y = (ptrdiff_t)(row * s->stride + ky) - pad;
                    const ptrdiff_t x = (ptrdiff_t)(column * s->stride + kx) - pad;
                    const int inside = y >= 0 && x >= 0 && y < (ptrdiff_t)s->height && x < (ptrdiff_t)s->width;
                    for (size_t c = 0; c < s->channels; c++) {
                        *entry++ = inside ? s->x[((size_t)y * s->width + (size_t)x) * s->channels + c] : 0;
                    }
                }
            }
        }
        const struct fv_gemm product = {
            .a = patches, .a_stride = inputs, .rows = s->out_width, .inputs = inputs, .panels = s->panels,
            .panel_count = (s->outputs + FV_SCALAR_NR - 1) / FV_SCALAR_NR, .outputs = s->outputs,
            .y = s->y + row * s->out_width * s->outputs, .y_stride = s->outputs, .bias = s->bias,
            .epilogue = FV_STORE, .activation = s->activation,
        };
        gemm(&product);
    }
}

void fv_stem_f32_scalar(const struct fv_stem *s) { stem(s, fv_gemm_f32_scalar); }
void fv_stem_bf16_scalar(const struct fv_stem *s) { stem(s, fv_gemm_bf16_scalar); }

size_t fv_stem_scratch_scalar(size_t inputs, size_t out_width) { return inputs * out_width * 4; }
