#include <math.h>

#include "reference.h"

void fv_layer_norm_scalar(const struct fv_rows *m, const float *weight, const float *bias, float epsilon) {
    for (size_t r = 0; r < m->rows; r++) {
        const float *x = m->x + r * m->x_stride;
        float *y = m->y + r * m->y_stride;
        float sum = 0, squares = 0;
        for (size_t c = 0; c < m->columns; c++) sum += x[c];
        const float mean = sum / (float)m->columns;
        for (size_t c = 0; c < m->columns; c++) squares += (x[c] - mean) * (x[c] - mean);
        const float factor = 1 / sqrtf(squares / (float)m->columns + epsilon);
        for (size_t c = 0; c < m->columns; c++) y[c] = (x[c] - mean) * factor * weight[c] + bias[c];
    }
}

void fv_rms_norm_scalar(const struct fv_rows *m, const float *weight, float epsilon) {
    for (size_t r = 0; r < m->rows; r++) {
        const float *x = m->x + r * m->x_stride;
        float *y = m->y + r * m->y_stride;
        float squares = 0;
        for (size_t c = 0; c < m->columns; c++) squares += x[c] * x[c];
        const float factor = 1 / sqrtf(squares / (float)m->columns + epsilon);
        for (size_t c = 0; c < m->columns; c++) y[c] = x[c] * factor * weight[c];
    }
}

void fv_rotate_scalar(const struct fv_rows *m, size_t dimension, const float *cosine, const float *sine) {
    const size_t half = dimension / 2;
    for (size_t r = 0; r < m->rows; r++) {
        for (size_t head = 0; head < m->columns / dimension; head++) {
            const float *x = m->x + r * m->x_stride + head * dimension;
            float *y = m->y + r * m->y_stride + head * dimension;
            for (size_t i = 0; i < half; i++) {
                const float c = cosine[r * half + i], s = sine[r * half + i];
                const float x1 = x[i], x2 = x[i + half];
                y[i] = x1 * c - x2 * s;
                y[i + half] = x2 * c + x1 * s;
            }
        }
    }
}
