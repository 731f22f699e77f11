// Vector versions of exp, sigmoid, silu and gelu.

// e^x: 2^n · e^r with r in ±ln2/2 and a polynomial of degree 6. Relative error below 1.5e-7; exactly 0 for
// x <= -87.3 (where e^x is next to the smallest normal number); at most e^88.
INLINE V v_exp(V x) {
    const V bounded = v_min(v_max(x, v_set(-87.3f)), v_set(88.0f));
    const V n = v_round(v_mul(bounded, v_set(1.44269504f)));
    V r = v_fma(n, v_set(-0.693359375f), bounded);
    r = v_fma(n, v_set(2.12194440e-4f), r);
    V p = v_fma(r, v_set(1.38888889e-3f), v_set(8.33333333e-3f));
    p = v_fma(p, r, v_set(4.16666667e-2f));
    p = v_fma(p, r, v_set(1.66666667e-1f));
    p = v_fma(p, r, v_set(0.5f));
    p = v_fma(p, r, v_set(1));
    p = v_fma(p, r, v_set(1));
    return v_unless_below(x, v_set(-87.3f), v_mul(p, v_exp2(n)));
}

INLINE V v_sigmoid(V x) { return v_div(v_set(1), v_add(v_set(1), v_exp(v_sub(v_zero(), x)))); }
INLINE V v_silu(V x) { return v_div(x, v_add(v_set(1), v_exp(v_sub(v_zero(), x)))); }

// x·Φ(x) with Φ(x) = 1/2 + x·g(x²); g is the minimax polynomial of degree 13 on |x| <= 5.2 in t = x²/13.52 − 1
// (weighted so that the error of x·Φ(x) is even relative to |x|). Beyond −5.2 the result is 0, beyond 5.2 it is
// x. Error at most 2.5e-7 · max(1, |x|).
INLINE V v_gelu(V x) {
    const V bounded = v_min(v_max(x, v_set(-5.2f)), v_set(5.2f));
    const V t = v_fma(v_mul(bounded, bounded), v_set(2 / (5.2f * 5.2f)), v_set(-1));
    V p = v_fma(t, v_set(-0x1.017f04p-11f), v_set(0x1.4ecc28p-10f));
    p = v_fma(p, t, v_set(-0x1.396614p-10f));
    p = v_fma(p, t, v_set(0x1.d21ab0p-10f));
    p = v_fma(p, t, v_set(-0x1.3b8948p-8f));
    p = v_fma(p, t, v_set(0x1.192d40p-7f));
    p = v_fma(p, t, v_set(-0x1.9961c2p-7f));
    p = v_fma(p, t, v_set(0x1.260652p-6f));
    p = v_fma(p, t, v_set(-0x1.951cf6p-6f));
    p = v_fma(p, t, v_set(0x1.06135ep-5f));
    p = v_fma(p, t, v_set(-0x1.471a72p-5f));
    p = v_fma(p, t, v_set(0x1.99ccc8p-5f));
    p = v_fma(p, t, v_set(-0x1.157a64p-4f));
    p = v_fma(p, t, v_set(0x1.166cf4p-3f));
    return v_unless_below(x, v_set(-5.2f), v_mul(x, v_fma(p, bounded, v_set(0.5f))));
}

INLINE V v_activate(V x, enum fv_activation activation) {
    switch (activation) {
    case FV_NONE: return x;
    case FV_GELU: return v_gelu(x);
    case FV_SILU: return v_silu(x);
    case FV_RELU: return v_max(x, v_zero());
    }
    return x;
}
