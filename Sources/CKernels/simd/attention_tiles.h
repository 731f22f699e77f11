// The attention of attention.h with AMX tiles: 32 queries at a time, 32 keys or dimensions, in steps of 32 numbers.
//
// A step is one instruction, so a query meets keys that it does not see: with weights of 0, which adds 0 to its sums and
// changes no bit of them. Only what is not finite would show; where such a value is hidden from some of the queries, each of
// them gets a copy of the panel without what it does not see.

// Keys [count][dimension] as panels of NR keys, `panel` words apart, of which the caller has set what lies beyond the
// dimension to 0.
static void pack_tile_keys(
    const char *k, size_t stride, size_t count, size_t dimension, size_t panel, uint32_t *target) {
    for (size_t first = 0; first < count; first += NR, target += panel) {
        const size_t n = count - first < NR ? count - first : NR;
        pack_bf16_keys(k + 2 * first * stride, stride, n, dimension, (float *)target);
    }
}

// Whether `count` bfloat16 numbers are finite.
static int are_finite(const uint16_t *x, size_t count) {
    uint16_t found = 0;
    for (size_t i = 0; i < count; i++) found |= (x[i] & 0x7F80) == 0x7F80;
    return !found;
}

// One query's sums over one panel of values, of which it sees `visible` of `count` positions.
static void add_visible_values(
    const uint16_t *weights, size_t visible, size_t count, const uint32_t *panel, float *o) {
    enum { STRIDE = KEYS + 32 };
    _Alignas(64) uint32_t seen[KEYS / 2 * NR];
    _Alignas(64) uint16_t lines[TILE_ROWS * STRIDE];
    _Alignas(64) float sums[TILE_ROWS * NR];
    memset(seen, 0, sizeof seen), memset(lines, 0, sizeof lines), memset(sums, 0, sizeof sums);
    memcpy(seen, panel, visible / 2 * NR * 4);
    for (size_t i = 0; visible % 2 && i < NR; i++) seen[visible / 2 * NR + i] = panel[visible / 2 * NR + i] & 0xFFFF;
    memcpy(lines, weights, count * 2);
    memcpy(sums, o, NR * 4);
    tile_amx(1, count, lines, STRIDE, (const char *)seen, sums, NR, 1);
    memcpy(o, sums, NR * 4);
}

static void attention_tiles(const struct fv_attention *t) {
    const size_t dimension = t->dimension, inputs = (dimension + 31) / 32 * 32, panel = inputs / 2 * NR;
    const size_t o_stride = (dimension + NR - 1) / NR * NR;
    // Not powers of two: rows fall into different cache sets.
    const size_t score_stride = KEYS + 32, weight_stride = KEYS + 32;
    uint32_t *keys = t->scratch, *values = keys + KEYS / 2 * inputs;
    float *scores = (float *)(values + KEYS / 2 * o_stride), *o = scores + AMX_ROWS * score_stride;
    uint16_t *weights = (uint16_t *)(o + ROWS * o_stride), *queries = weights + AMX_ROWS * weight_stride;
    uint16_t *rounded = queries + ROWS * inputs;
    float largest[ROWS], total[ROWS];
    for (size_t i = 0; i < t->queries; i++) {
        largest[i] = -__builtin_inff();
        total[i] = 0;
        round_row(queries + i * inputs, t->q + i * t->q_stride, dimension, 32);
    }
    for (size_t i = 0; i < t->queries * o_stride; i += W) v_store(o + i, v_zero());
    memset(keys, 0, KEYS / 2 * inputs * 4);
    const size_t seen = t->visible + t->queries, end = t->causal && seen < t->keys ? seen : t->keys;
    begin_tiles();
    for (size_t first = 0; first < end; first += KEYS) {
        const size_t count = end - first < KEYS ? end - first : KEYS, steps = (count + 31) / 32 * 32;
        // Queries before this one see none of the chunk.
        const size_t start = t->causal && first > t->visible ? (first - t->visible) / AMX_ROWS * AMX_ROWS : 0;
        for (size_t done = 0, here, stride; done < count; done += here) {
            const char *k = paired_rows(t, &t->k, first + done, count - done, &here, &stride, rounded);
            pack_tile_keys(k, stride, here, dimension, panel, keys + done / NR * panel);
            const char *v = paired_rows(t, &t->v, first + done, count - done, &here, &stride, rounded);
            pack_value_pairs(v, stride, here, dimension, values + done / 2 * NR);
        }
        int finite = 1;
        for (size_t c = 0; c < o_stride; c += NR) {
            uint32_t *const of = values + c * (KEYS / 2);
            memset(of + (count + 1) / 2 * NR, 0, (steps - (count + 1) / 2 * 2) / 2 * NR * 4);
            // What all queries see may be anything.
            if (seen_keys(t, 0, first, count) < count) finite &= are_finite((const uint16_t *)of, steps * NR);
        }
        for (size_t row = start; row < t->queries; row += AMX_ROWS) {
            const size_t mr = t->queries - row < AMX_ROWS ? t->queries - row : AMX_ROWS;
            // What the last of these queries sees.
            const size_t most = seen_keys(t, row + mr - 1, first, count), used = (most + 31) / 32 * 32;
            for (size_t j = 0; j < most; j += NR) {
                tile_amx(
                    mr, inputs, queries + row * inputs, inputs, (const char *)(keys + j / NR * panel), scores + j,
                    score_stride, 0);
            }
            for (size_t i = row; i < row + mr; i++) {
                const size_t visible = seen_keys(t, i, first, count);
                float *line = scores + (i - row) * score_stride;
                uint16_t *weight = weights + (i - row) * weight_stride;
                if (visible) soften(line, visible, t->scale, largest + i, total + i, o + i * o_stride, o_stride);
                round_row(weight, line, visible, 2);
                memset(weight + (visible + 1) / 2 * 2, 0, (used - (visible + 1) / 2 * 2) * 2);
            }
            for (size_t c = 0; c < o_stride; c += NR) {
                const uint32_t *of = values + c * (KEYS / 2);
                float *sums = o + row * o_stride + c;
                if (finite) {
                    tile_amx(mr, used, weights, weight_stride, (const char *)of, sums, o_stride, 1);
                    continue;
                }
                for (size_t i = 0; i < mr; i++) {
                    const size_t visible = seen_keys(t, row + i, first, count);
                    add_visible_values(weights + i * weight_stride, visible, used, of, sums + i * o_stride);
                }
            }
        }
    }
    end_tiles();
    divide(t, o, o_stride, total);
}
