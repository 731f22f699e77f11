// Norms, rotation, element-wise operations, column means and row products.

static void FV_NAME(layer_norm)(
    const struct fv_rows *m, const float *weight, const float *bias, float epsilon) {
    const size_t whole = m->columns / W * W, rest = m->columns - whole;
    for (size_t row = 0; row < m->rows; row++) {
        const float *x = m->x + row * m->x_stride;
        float *y = m->y + row * m->y_stride;
        V sums = v_zero(), squares = v_zero();
        for (size_t c = 0; c < whole; c += W) sums = v_add(sums, v_load(x + c));
        if (rest) sums = v_add(sums, v_load_part(x + whole, rest));
        const float average = v_sum(sums) / (float)m->columns;
        const V mean = v_set(average);
        for (size_t c = 0; c < whole; c += W) {
            const V d = v_sub(v_load(x + c), mean);
            squares = v_fma(d, d, squares);
        }
        if (rest) {
            const V d = v_keep_part(v_sub(v_load_part(x + whole, rest), mean), rest);
            squares = v_fma(d, d, squares);
        }
        const V factor = v_set(1 / __builtin_sqrtf(v_sum(squares) / (float)m->columns + epsilon));
        for (size_t c = 0; c < whole; c += W) {
            const V d = v_mul(v_sub(v_load(x + c), mean), factor);
            v_store(y + c, v_fma(d, v_load(weight + c), v_load(bias + c)));
        }
        if (rest) { // weight and bias are padded
            const V d = v_mul(v_sub(v_load_part(x + whole, rest), mean), factor);
            v_store_part(y + whole, v_fma(d, v_load(weight + whole), v_load(bias + whole)), rest);
        }
    }
}

static void FV_NAME(rms_norm)(const struct fv_rows *m, const float *weight, float epsilon) {
    const size_t whole = m->columns / W * W, rest = m->columns - whole;
    for (size_t row = 0; row < m->rows; row++) {
        const float *x = m->x + row * m->x_stride;
        float *y = m->y + row * m->y_stride;
        V squares = v_zero();
        for (size_t c = 0; c < whole; c += W) squares = v_fma(v_load(x + c), v_load(x + c), squares);
        if (rest) {
            const V d = v_load_part(x + whole, rest);
            squares = v_fma(d, d, squares);
        }
        const V factor = v_set(1 / __builtin_sqrtf(v_sum(squares) / (float)m->columns + epsilon));
        for (size_t c = 0; c < whole; c += W) {
            v_store(y + c, v_mul(v_mul(v_load(x + c), factor), v_load(weight + c)));
        }
        if (rest) {
            const V d = v_mul(v_load_part(x + whole, rest), factor);
            v_store_part(y + whole, v_mul(d, v_load(weight + whole)), rest);
        }
    }
}

static void FV_NAME(rotate)(
    const struct fv_rows *m, size_t dimension, const float *cosine, const float *sine) {
    const size_t half = dimension / 2;
    for (size_t row = 0; row < m->rows; row++) {
        const float *c = cosine + row * half, *s = sine + row * half;
        for (size_t start = 0; start < m->columns; start += dimension) {
            const float *x = m->x + row * m->x_stride + start;
            float *y = m->y + row * m->y_stride + start;
            for (size_t i = 0; i < half; i += W) {
                const size_t n = half - i < W ? half - i : W;
                const V x1 = v_load_part(x + i, n), x2 = v_load_part(x + half + i, n);
                const V ci = v_load_part(c + i, n), si = v_load_part(s + i, n);
                v_store_part(y + i, v_sub(v_mul(x1, ci), v_mul(x2, si)), n);
                v_store_part(y + half + i, v_fma(x2, ci, v_mul(x1, si)), n);
            }
        }
    }
}

// y[c] = f(x[c], y[c], c) over all rows: the loop of the functions below, `whole` and `rest` as above.
#define FV_EACH(m, EXPRESSION)                                                                               \
    for (size_t row = 0; row < (m)->rows; row++) {                                                           \
        const float *x = (m)->x + row * (m)->x_stride;                                                       \
        float *y = (m)->y + row * (m)->y_stride;                                                             \
        size_t c = 0;                                                                                        \
        for (; c + W <= (m)->columns; c += W) {                                                              \
            const V a = v_load(x + c);                                                                       \
            v_store(y + c, EXPRESSION(a, v_load(y + c), v_load));                                            \
        }                                                                                                    \
        if (c < (m)->columns) {                                                                              \
            const size_t n = (m)->columns - c;                                                               \
            const V a = v_load_part(x + c, n);                                                               \
            v_store_part(y + c, EXPRESSION(a, v_load_part(y + c, n), v_load_rest), n);                       \
        }                                                                                                    \
    }

static void FV_NAME(activate)(const struct fv_rows *m, enum fv_activation activation) {
#define FV_EXPRESSION(a, b, load) v_activate(a, activation)
    FV_EACH(m, FV_EXPRESSION)
#undef FV_EXPRESSION
}

static void FV_NAME(sigmoid)(const struct fv_rows *m) {
#define FV_EXPRESSION(a, b, load) v_sigmoid(a)
    FV_EACH(m, FV_EXPRESSION)
#undef FV_EXPRESSION
}

static void FV_NAME(add)(const struct fv_rows *m) {
#define FV_EXPRESSION(a, b, load) v_add(a, b)
    FV_EACH(m, FV_EXPRESSION)
#undef FV_EXPRESSION
}

static void FV_NAME(multiply_columns)(
    const struct fv_rows *m, const float *gate, enum fv_activation activation) {
#define v_load_rest(p) v_load_part(p, n)
#define FV_EXPRESSION(a, b, load) v_activate(v_mul(a, load(gate + c)), activation)
    FV_EACH(m, FV_EXPRESSION)
#undef FV_EXPRESSION
#undef v_load_rest
}

#undef FV_EACH

static void FV_NAME(column_means)(const struct fv_rows *m) {
    const V count = v_set((float)m->rows);
    for (size_t c = 0; c < m->columns; c += W) {
        const size_t n = m->columns - c < W ? m->columns - c : W;
        V sums = v_zero();
        for (size_t row = 0; row < m->rows; row++) {
            sums = v_add(sums, v_load_part(m->x + row * m->x_stride + c, n));
        }
        v_store_part(m->y + c, v_div(sums, count), n);
    }
}
