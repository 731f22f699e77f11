// The attention of attention.h with products of bfloat16 pairs, twice as many in an instruction. A query sees whole pairs of
// positions and perhaps the first half of one more; what it does not see of that one becomes 0 before it is multiplied.

INLINE VI weight_pair(const uint16_t *weights) {
    int32_t pair;
    __builtin_memcpy(&pair, weights, 4);
    return vi_set(pair);
}

// One query's sums over the values from position `first`, which is even, up to `end`; behind an odd end weights has a 0.
static void add_value_panel(const uint16_t *weights, size_t first, size_t end, const uint32_t *panel, float *o) {
    V sums[2] = {v_load(o), v_load(o + W)};
    for (size_t j = first; j < end; j += 2) {
        FV_UNROLL for (size_t half = 0; half < 2; half++) {
            VI words = v_load_words(panel + j / 2 * NR + half * W);
            if (j + 1 == end) words = _mm512_and_si512(words, vi_set(0xFFFF));
            sums[half] = v_dot_pairs(sums[half], weight_pair(weights + j), words);
        }
    }
    v_store(o, sums[0]);
    v_store(o + W, sums[1]);
}

// The same for all dimensions, of values where they are: bfloat16 numbers in blocks.
static void add_paired_values(
    const struct fv_attention *t, const uint16_t *weights, size_t first, size_t count, float *o) {
    const size_t step = 2 * t->v.stride;
    for (size_t d = 0; d < t->dimension; d += 4 * W) {
        V sums[4];
        size_t n[4];
        for (size_t p = 0; p < 4; p++) {
            const size_t start = d + p * W;
            n[p] = start >= t->dimension ? 0 : t->dimension - start < W ? t->dimension - start : W;
            sums[p] = n[p] ? v_load(o + start) : v_zero();
        }
        for (size_t done = 0, here; done < count; done += here) {
            const char *v = kv_rows(&t->v, first + done, count - done, &here, 1) + 2 * d;
            size_t j = done;
            for (; n[3] == W && j + 2 <= done + here; j += 2, v += 2 * step) {
                const VI pair = weight_pair(weights + j);
                FV_UNROLL for (size_t p = 0; p < 4; p++) {
                    sums[p] = v_dot_pairs(sums[p], pair, value_pairs(v + 2 * p * W, step, W, 1));
                }
            }
            for (; j < done + here; j += 2, v += 2 * step) {
                const VI pair = weight_pair(weights + j);
                for (size_t p = 0; p < 4 && n[p]; p++) {
                    const VI words = value_pairs(v + 2 * p * W, step, n[p], j + 1 < done + here);
                    sums[p] = v_dot_pairs(sums[p], pair, words);
                }
            }
        }
        for (size_t p = 0; p < 4 && n[p]; p++) v_store(o + d + p * W, sums[p]);
    }
}

// Scores of one query for a chunk of packed keys: four panels at a time, in the order of the tiles.
static void score_paired_keys(const uint16_t *q, const uint32_t *keys, size_t count, size_t even, float *scores) {
    const size_t panel = even / 2 * NR;
    size_t j = 0;
    for (; j + 3 * NR < count; j += 4 * NR, keys += 4 * panel) {
        row_dpbf16(even, q, (const char *)keys, panel * 4, scores + j);
    }
    for (; j < count; j += NR, keys += panel) tile_dpbf16_1(even, q, 0, keys, scores + j, NR, 0);
}

static void attention_pairs(const struct fv_attention *t) {
    const size_t dimension = t->dimension, even = (dimension + 1) / 2 * 2, panel = even / 2 * NR;
    const size_t o_stride = (dimension + NR - 1) / NR * NR;
    // Not powers of two: rows fall into different cache sets.
    const size_t score_stride = KEYS + 32, weight_stride = KEYS + 32;
    // Few queries (decoding) leave the values where they are, in the order of the panels' pairs.
    const int in_place = t->is_bf16 && t->queries <= DIRECT_QUERIES;
    uint32_t *keys = t->scratch, *values = keys + KEYS / 2 * even;
    float *scores = (float *)(values + KEYS / 2 * o_stride), *o = scores + MR * score_stride;
    uint16_t *weights = (uint16_t *)(o + ROWS * o_stride), *queries = weights + MR * weight_stride;
    uint16_t *rounded = queries + ROWS * even;
    float largest[ROWS], total[ROWS];
    for (size_t i = 0; i < t->queries; i++) {
        largest[i] = -__builtin_inff();
        total[i] = 0;
        round_row(queries + i * even, t->q + i * t->q_stride, dimension, 2);
    }
    for (size_t i = 0; i < t->queries * o_stride; i += W) v_store(o + i, v_zero());
    const size_t seen = t->visible + t->queries, end = t->causal && seen < t->keys ? seen : t->keys;
    for (size_t first = 0; first < end; first += KEYS) {
        const size_t count = end - first < KEYS ? end - first : KEYS;
        // Queries before this one see none of the chunk.
        const size_t start = t->causal && first > t->visible ? (first - t->visible) / MR * MR : 0;
        for (size_t done = 0, here, stride; done < count; done += here) {
            const char *k = paired_rows(t, &t->k, first + done, count - done, &here, &stride, rounded);
            pack_bf16_keys(k, stride, here, dimension, (float *)(keys + done / NR * panel));
            if (in_place) continue;
            const char *v = paired_rows(t, &t->v, first + done, count - done, &here, &stride, rounded);
            pack_value_pairs(v, stride, here, dimension, values + done / 2 * NR);
        }
        for (size_t row = start; row < t->queries; row += MR) {
            const size_t mr = t->queries - row < MR ? t->queries - row : MR;
            // What the last of these queries sees, and the whole pairs that all of them see.
            const size_t most = seen_keys(t, row + mr - 1, first, count), shared = seen_keys(t, row, first, count) / 2 * 2;
            if (mr == 1) {
                score_paired_keys(queries + row * even, keys, most, even, scores);
            } else {
                for (size_t j = 0; j < most; j += NR) {
                    tiles_dpbf16[mr](
                        even, queries + row * even, even, keys + j / NR * panel, scores + j, score_stride, 0);
                }
            }
            for (size_t i = row; i < row + mr; i++) {
                const size_t visible = seen_keys(t, i, first, count);
                float *line = scores + (i - row) * score_stride;
                if (visible == 0) continue;
                soften(line, visible, t->scale, largest + i, total + i, o + i * o_stride, o_stride);
                round_row(weights + (i - row) * weight_stride, line, visible, 2);
                if (in_place) {
                    add_paired_values(t, weights + (i - row) * weight_stride, first, visible, o + i * o_stride);
                }
            }
            for (size_t c = 0; c < o_stride && !in_place; c += NR) {
                const uint32_t *of = values + c * (KEYS / 2);
                if (shared) tiles_dpbf16[mr](shared, weights, weight_stride, of, o + row * o_stride + c, o_stride, 1);
                for (size_t i = row; i < row + mr; i++) {
                    const size_t visible = seen_keys(t, i, first, count);
                    if (visible <= shared) continue;
                    add_value_panel(weights + (i - row) * weight_stride, shared, visible, of, o + i * o_stride + c);
                }
            }
        }
    }
    divide(t, o, o_stride, total);
}
