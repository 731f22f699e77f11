#include <math.h>

#include "reference.h"

static float coarse_gelu(float x) {
    const float range = fv_coarse_gelu_range, b = x < -range ? -range : x > range ? range : x;
    const size_t count = sizeof fv_coarse_gelu_coefficients / sizeof(float);
    float g = 0;
    for (size_t i = 0; i < count; i++) g = fmaf(g, b * b, fv_coarse_gelu_coefficients[i]);
    return x * fmaf(g, b, 0.5f);
}

float fv_activate_scalar(float x, enum fv_activation activation) {
    switch (activation) {
    case FV_NONE: return x;
    // Of −infinity the limit, not −infinity · 0; NaN stays NaN.
    case FV_GELU: return x == -INFINITY ? 0 : 0.5f * x * (1 + erff(x * 0.70710678118654752f));
    case FV_SILU: return x == -INFINITY ? 0 : x / (1 + expf(-x));
    case FV_RELU: return x < 0 ? 0 : x;
    case FV_COARSE_GELU: return coarse_gelu(x);
    case FV_QUICK_GELU: return x == -INFINITY ? 0 : x / (1 + expf(-1.702f * x));
    case FV_TANH_GELU: return x == -INFINITY ? 0 : x / (1 + expf(-1.59576912f * (x + 0.044715f * x * x * x)));
    }
    return x;
}

void fv_activate_rows_scalar(const struct fv_rows *m, enum fv_activation activation) {
    for (size_t r = 0; r < m->rows; r++) {
        for (size_t c = 0; c < m->columns; c++) {
            m->y[r * m->y_stride + c] = fv_activate_scalar(m->x[r * m->x_stride + c], activation);
        }
    }
}

void fv_sigmoid_scalar(const struct fv_rows *m) {
    for (size_t r = 0; r < m->rows; r++) {
        for (size_t c = 0; c < m->columns; c++) {
            m->y[r * m->y_stride + c] = 1 / (1 + expf(-m->x[r * m->x_stride + c]));
        }
    }
}

void fv_add_scalar(const struct fv_rows *m) {
    for (size_t r = 0; r < m->rows; r++) {
        for (size_t c = 0; c < m->columns; c++) m->y[r * m->y_stride + c] += m->x[r * m->x_stride + c];
    }
}

void fv_multiply_columns_scalar(const struct fv_rows *m, const float *gate, enum fv_activation activation) {
    for (size_t r = 0; r < m->rows; r++) {
        for (size_t c = 0; c < m->columns; c++) {
            m->y[r * m->y_stride + c] = fv_activate_scalar(m->x[r * m->x_stride + c] * gate[c], activation);
        }
    }
}

void fv_column_means_scalar(const struct fv_rows *m) {
    for (size_t c = 0; c < m->columns; c++) {
        float sum = 0;
        for (size_t r = 0; r < m->rows; r++) sum += m->x[r * m->x_stride + c];
        m->y[c] = sum / (float)m->rows;
    }
}
