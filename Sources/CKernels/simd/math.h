// Vector versions of exp, sigmoid, silu and the kinds of gelu.

//
// The polynomials take several vectors at a time (n is a constant after inlining, at most 4): their chains of
// dependent operations overlap, and each coefficient is loaded once.

#define FV_ALL(n) FV_UNROLL for (size_t i = 0; i < n; i++)

// x within low … high; NaN stays NaN: on x86 the smaller and the larger of two numbers are the second one where either is
// NaN.
INLINE V v_clamp(V x, float low, float high) { return v_min(v_set(high), v_max(v_set(low), x)); }

// p[i] = p[i]·t[i] + c for all i, with the coefficients from the highest power on.
INLINE void v_polynomial(V *p, const V *t, const size_t n, const float *c, const size_t count) {
    FV_ALL(n) p[i] = v_set(c[0]);
    FV_UNROLL for (size_t k = 1; k < count; k++) {
        const V next = v_set(c[k]);
        FV_ALL(n) p[i] = v_fma(p[i], t[i], next);
    }
}

// e^x: 2^m · e^r with r in ±ln2/2 and a polynomial of degree 6. Relative error below 1.5e-7; exactly 0 for
// x <= -87.3 (where e^x is next to the smallest normal number); at most e^88; NaN for NaN.
INLINE void v_exp_all(V *x, const size_t n) {
    static const float c[] = {1.38888889e-3f, 8.33333333e-3f, 4.16666667e-2f, 1.66666667e-1f, 0.5f, 1, 1};
    V m[4], r[4], p[4];
    FV_ALL(n) {
        r[i] = v_clamp(x[i], -87.3f, 88.0f);
        m[i] = v_round(v_mul(r[i], v_set(1.44269504f)));
        r[i] = v_fma(m[i], v_set(-0.693359375f), r[i]);
        r[i] = v_fma(m[i], v_set(2.12194440e-4f), r[i]);
    }
    v_polynomial(p, r, n, c, sizeof c / sizeof c[0]);
    FV_ALL(n) x[i] = v_unless_below(x[i], v_set(-87.3f), v_mul(p[i], v_exp2(m[i])));
}

INLINE V v_exp(V x) {
    v_exp_all(&x, 1);
    return x;
}

INLINE V v_sigmoid(V x) { return v_div(v_set(1), v_add(v_set(1), v_exp(v_sub(v_zero(), x)))); }
// 0 below -87.3, where the quotient is below 1e-35.
INLINE V v_silu(V x) {
    return v_unless_below(x, v_set(-87.3f), v_div(x, v_add(v_set(1), v_exp(v_sub(v_zero(), x)))));
}

// 0 below -51.3, where the quotient is below 1e-35.
INLINE V v_quick_gelu(V x) {
    const V exponent = v_mul(x, v_set(-1.702f));
    return v_unless_below(x, v_set(-51.3f), v_div(x, v_add(v_set(1), v_exp(exponent))));
}
// (1 + tanh(u/2)) / 2 is the sigmoid of u. 0 below -10, where the quotient is below 1e-36.
INLINE V v_tanh_gelu(V x) {
    const V cubic = v_fma(v_mul(x, x), v_set(0.044715f * -1.59576912f), v_set(-1.59576912f));
    return v_unless_below(x, v_set(-10), v_div(x, v_add(v_set(1), v_exp(v_mul(x, cubic)))));
}

// x·Φ(x) with Φ(x) = 1/2 + x·g(x²); g is the minimax polynomial of degree 13 on |x| <= 5.2 in t = x²/13.52 −
// 1 (weighted so that the error of x·Φ(x) is even relative to |x|). Beyond −5.2 the result is 0, beyond 5.2
// it is x. Error at most 2.5e-7 · max(1, |x|).
INLINE void v_gelu_all(V *x, const size_t n) {
    static const float c[] = {
        -0x1.017f04p-11f, 0x1.4ecc28p-10f, -0x1.396614p-10f, 0x1.d21ab0p-10f, -0x1.3b8948p-8f, 0x1.192d40p-7f,
        -0x1.9961c2p-7f,  0x1.260652p-6f,  -0x1.951cf6p-6f,  0x1.06135ep-5f,  -0x1.471a72p-5f, 0x1.99ccc8p-5f,
        -0x1.157a64p-4f,  0x1.166cf4p-3f,
    };
    V t[4], p[4];
    FV_ALL(n) {
        const V bounded = v_clamp(x[i], -5.2f, 5.2f);
        t[i] = v_fma(v_mul(bounded, bounded), v_set(2 / (5.2f * 5.2f)), v_set(-1));
    }
    v_polynomial(p, t, n, c, sizeof c / sizeof c[0]);
    FV_ALL(n) {
        const V bounded = v_clamp(x[i], -5.2f, 5.2f);
        x[i] = v_unless_below(x[i], v_set(-5.2f), v_mul(x[i], v_fma(p[i], bounded, v_set(0.5f))));
    }
}

// FV_COARSE_GELU, see numbers.h.
INLINE void v_coarse_gelu_all(V *x, const size_t n) {
    V b[4], t[4], g[4];
    FV_ALL(n) b[i] = v_clamp(x[i], -fv_coarse_gelu_range, fv_coarse_gelu_range);
    FV_ALL(n) t[i] = v_mul(b[i], b[i]);
    v_polynomial(g, t, n, fv_coarse_gelu_coefficients, sizeof fv_coarse_gelu_coefficients / sizeof(float));
    FV_ALL(n) x[i] = v_mul(x[i], v_fma(g[i], b[i], v_set(0.5f)));
}

INLINE V v_gelu(V x) {
    v_gelu_all(&x, 1);
    return x;
}

INLINE V v_activate(V x, enum fv_activation activation) {
    switch (activation) {
    case FV_NONE: return x;
    case FV_GELU: return v_gelu(x);
    case FV_SILU: return v_silu(x);
    case FV_RELU: return v_max(v_zero(), x); // in this order NaN stays
    case FV_COARSE_GELU:
        v_coarse_gelu_all(&x, 1);
        return x;
    case FV_QUICK_GELU: return v_quick_gelu(x);
    case FV_TANH_GELU: return v_tanh_gelu(x);
    }
    return x;
}
