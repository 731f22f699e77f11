// How fast the arithmetic units and the memory can go at most: loops on registers, and a plain read. The operations
// of a call are returned, so that a caller divides by its seconds.

// Twelve independent chains cover latency × throughput of the two multipliers on current cores.
#define FV_PEAK(NAME, TYPE, START, OPERATION, LANES)                                                         \
    static double NAME(size_t rounds) {                                                                      \
        TYPE sums[12], x = START, y = START;                                                                 \
        V_PIN(y);                                                                                            \
        FV_UNROLL for (size_t i = 0; i < 12; i++) sums[i] = START;                                           \
        for (size_t round = 0; round < rounds; round++) {                                                    \
            FV_UNROLL for (size_t i = 0; i < 12; i++) {                                                      \
                V_PIN(x); /* or products of the same numbers would be made once */                           \
                sums[i] = OPERATION(sums[i], x, y);                                                          \
                V_PIN(sums[i]);                                                                              \
            }                                                                                                \
        }                                                                                                    \
        return 2.0 * 12 * (LANES) * (double)rounds;                                                          \
    }
#define FV_PEAK_FMA(sum, x, y) v_fma(x, y, sum)
FV_PEAK(FV_NAME(peak_f32), V, v_set(0.5f), FV_PEAK_FMA, W)
#if !FV_HAS_AMX // amx.h has its own
#if FV_HAS_I8MM
FV_PEAK(FV_NAME(peak_q8), VI, vi_zero(), vi_matrix_product, 8 * W)
#else
FV_PEAK(FV_NAME(peak_q8), VI, vi_zero(), vi_dot, 4 * W)
#endif
#if FV_HAS_DPBF16
static double FV_NAME(peak_bf16)(size_t rounds) {
    V sums[12];
    VI x = vi_zero(), y = vi_zero();
    V_PIN(x);
    V_PIN(y);
    FV_UNROLL for (size_t i = 0; i < 12; i++) sums[i] = v_zero();
    for (size_t round = 0; round < rounds; round++) {
        FV_UNROLL for (size_t i = 0; i < 12; i++) sums[i] = v_dot_pairs(sums[i], x, y);
        FV_UNROLL for (size_t i = 0; i < 12; i++) V_PIN(sums[i]);
    }
    return 2.0 * 12 * PAIR_PRODUCTS * (double)rounds;
}
#else
// Weights are widened and multiplied in float32.
static double FV_NAME(peak_bf16)(size_t rounds) { return FV_NAME(peak_f32)(rounds); }
#endif
#endif
#undef FV_PEAK
#undef FV_PEAK_FMA

// Reads `bytes` (whole cache lines) in four streams.
static void FV_NAME(read_memory)(const void *base, size_t bytes) {
    const size_t quarter = bytes / 4 / 64 * 64;
    V sums[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
    for (size_t at = 0; at < quarter; at += 64) {
        FV_UNROLL for (size_t s = 0; s < 4; s++) {
            const float *line = (const float *)((const char *)base + s * quarter + at);
            __builtin_prefetch((const char *)line + 1024);
            FV_UNROLL for (size_t i = 0; i < 16; i += W) sums[s] = v_add(sums[s], v_load(line + i));
        }
    }
    FV_UNROLL for (size_t s = 0; s < 4; s++) V_PIN(sums[s]);
}
