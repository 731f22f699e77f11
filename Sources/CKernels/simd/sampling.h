// Masses of tokens by their scores, and the tokens between two bounds.
//
// Products and sums stay apart here, where the other kernels fuse them: a seed gives the same tokens on every
// instruction set, so the numbers must be those of the reference to the bit.

INLINE V score_exponents(const struct fv_scores *s, V x) {
    return v_mul(v_sub(x, v_set(s->highest)), v_set(s->inverse));
}

INLINE V multiply_add(V a, V b, float c) { return v_add(v_mul(a, b), v_set(c)); }

// e^x where x is above the bound, else 0.
INLINE V score_weights(V x, V bound) {
    const V e = v_max(v_set(-80), x);
    const V n = v_round(v_mul(e, v_set(1.442695041f)));
    const V r = v_add(v_sub(e, v_mul(n, v_set(0.693359375f))), v_mul(n, v_set(2.12194440e-4f)));
    V p = multiply_add(r, v_set(1.9875691500e-4f), 1.3981999507e-3f);
    p = multiply_add(p, r, 8.3334519073e-3f);
    p = multiply_add(p, r, 4.1665795894e-2f);
    p = multiply_add(p, r, 1.6666665459e-1f);
    p = multiply_add(p, r, 5.0000001201e-1f);
    p = v_add(v_add(v_mul(v_mul(p, r), r), r), v_set(1));
    return v_unless_below(x, bound, v_mul(p, v_exp2(n)));
}

INLINE uint64_t score_masses(const struct fv_scores *s, float bound, uint64_t *masses) {
    const size_t whole = s->count / W * W, rest = s->count - whole;
    const V above = v_set(bound);
    uint64_t lanes[W];
    VL sums = v_masses(v_zero());
    for (size_t i = 0; i < whole; i += W) {
        const VL mass = v_masses(score_weights(score_exponents(s, v_load(s->x + i)), above));
        sums = vl_add(sums, mass);
        if (masses) vl_store(masses + i, mass);
    }
    if (rest) {
        const V x = v_load_part(s->x + whole, rest);
        const VL mass = v_masses(v_keep_part(score_weights(score_exponents(s, x), above), rest));
        sums = vl_add(sums, mass);
        vl_store(lanes, mass);
        if (masses) memcpy(masses + whole, lanes, rest * sizeof lanes[0]);
    }
    vl_store(lanes, sums);
    uint64_t sum = 0;
    for (size_t i = 0; i < W; i++) sum += lanes[i];
    return sum;
}

static uint64_t FV_NAME(score_masses)(const struct fv_scores *s, float bound, uint64_t *masses) {
    return masses ? score_masses(s, bound, masses) : score_masses(s, bound, 0);
}

// Bit i is set where token first + i is between the bounds; n is at most 64.
INLINE uint64_t scores_between(const struct fv_scores *s, V low, V high, size_t first, const size_t n) {
    uint64_t inside = 0;
    for (size_t i = 0; i < n; i += W) {
        const float *x = s->x + first + i;
        const V e = score_exponents(s, n - i < W ? v_load_part(x, n - i) : v_load(x));
        inside |= (uint64_t)(v_above(e, low) & ~v_above(e, high)) << i;
    }
    return n < 64 ? inside & (((uint64_t)1 << n) - 1) : inside;
}

static size_t FV_NAME(select_scores)(
    const struct fv_scores *s, float low, float high, uint32_t *ids, float *exponents) {
    const V above = v_set(low), to = v_set(high);
    size_t found = 0;
    for (size_t first = 0; first < s->count; first += 64) {
        // Many at a time: most are outside, and a loop of unknown length costs a wrong prediction.
        uint64_t inside = s->count - first < 64 ? scores_between(s, above, to, first, s->count - first)
                                                : scores_between(s, above, to, first, 64);
        for (; inside; inside &= inside - 1) {
            const size_t i = first + (size_t)__builtin_ctzll(inside);
            ids[found] = (uint32_t)i;
            exponents[found++] = (s->x[i] - s->highest) * s->inverse;
        }
    }
    return found;
}
