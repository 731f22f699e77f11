#include <math.h>

#include "../numbers.h"
#include "reference.h"

static float number(const struct fv_blocks *b, size_t position, size_t column, int is_bf16) {
    const size_t row = position & (((size_t)1 << b->shift) - 1), index = row * b->stride + column;
    const char *base = (const char *)b->bases[position >> b->shift] + b->offset;
    return is_bf16 ? fv_widen(fv_load16(base, index)) : fv_load_float(base, index);
}

// Three passes over the keys of one query: scores, softmax, weighted sum.
void fv_attention_scalar(const struct fv_attention *t) {
    float *weights = t->scratch;
    for (size_t i = 0; i < t->queries; i++) {
        const float *q = t->q + i * t->q_stride;
        float *y = t->y + i * t->y_stride;
        size_t keys = t->keys;
        if (t->causal && t->visible + i + 1 < keys) keys = t->visible + i + 1;
        float largest = -INFINITY;
        for (size_t j = 0; j < keys; j++) {
            float dot = 0;
            for (size_t d = 0; d < t->dimension; d++) dot += q[d] * number(&t->k, j, d, t->is_bf16);
            weights[j] = dot * t->scale;
            largest = fmaxf(largest, weights[j]);
        }
        float total = 0;
        for (size_t j = 0; j < keys; j++) {
            weights[j] = expf(weights[j] - largest);
            total += weights[j];
        }
        for (size_t d = 0; d < t->dimension; d++) {
            float sum = 0;
            for (size_t j = 0; j < keys; j++) {
                sum += weights[j] * number(&t->v, j, d, t->is_bf16);
            }
            y[d] = sum / total;
        }
    }
}

size_t fv_attention_scratch_scalar(size_t keys, size_t dimension) {
    (void)dimension;
    return keys * 4;
}
