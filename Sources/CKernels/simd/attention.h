// Attention of one head over a block of queries, with the softmax kept up to date while chunks of KEYS keys
// pass by (no matrix of all scores):
//
//     per chunk:  S = Q·Kᵀ   m' = max(m, scale·rowmax S)   P = e^(scale·S − m')   f = e^(m − m')
//                 l = l·f + rowsum P        O = O·f + P·V
//     at the end: y = O / l
//
// Both products run on the GEMM micro-kernels. K is transposed and V copied into panels per chunk. All sums
// are float32. A few queries (decoding) leave V in place and K in bfloat16, but take every sum in the same order: a query
// has the same bits alone and among others. Keys that a query does not see take no part in its sums, not even with weight
// 0: what they hold does not matter.
//
// Keys and values may stand in blocks of a cache (fv_blocks). A chunk is whole blocks, a block whole panels: only the
// copies and the sums over V where it is go from block to block.

#define FV_PAIRED_ATTENTION (FV_HAS_DPBF16 && !FV_NEON)

enum { KEYS = 256, DIRECT_QUERIES = 8 };

// Keys [count][dimension] as panels of NR keys, [dimension][NR] each; missing keys are zero.
static void pack_keys(const float *k, size_t stride, size_t count, size_t dimension, float *target) {
    const size_t whole = dimension / 8 * 8;
    for (size_t first = 0; first < count; first += NR, target += dimension * NR) {
        for (size_t j = 0; j < NR; j += 8) {
            const float *rows = k + (first + j) * stride;
            const int complete = first + j + 8 <= count;
            if (complete) {
                for (size_t d = 0; d < whole; d += 8) transpose8(rows + d, 4 * stride, target + d * NR + j, NR);
            }
            for (size_t d = complete ? whole : 0; d < dimension; d++) {
                for (size_t i = 0; i < 8; i++) {
                    target[d * NR + j + i] = first + j + i < count ? rows[i * stride + d] : 0;
                }
            }
        }
    }
}

// The same of bfloat16 numbers, as panels of bfloat16 weights: words of two neighbouring numbers (fv_pack.h).
static void pack_bf16_keys(const char *k, size_t stride, size_t count, size_t dimension, float *target) {
    const size_t words = (dimension + 1) / 2, whole = dimension / 2 / 8 * 8;
    for (size_t first = 0; first < count; first += NR, target += words * NR) {
        for (size_t j = 0; j < NR; j += 8) {
            const char *rows = k + 2 * (first + j) * stride;
            const int complete = first + j + 8 <= count;
            if (complete) {
                for (size_t w = 0; w < whole; w += 8) transpose8(rows + 4 * w, 2 * stride, target + w * NR + j, NR);
            }
            for (size_t w = complete ? whole : 0; w < words; w++) {
                for (size_t i = 0; i < 8; i++) {
                    uint32_t word = 0;
                    if (first + j + i < count) {
                        __builtin_memcpy(&word, rows + 2 * i * stride + 4 * w, 2 * w + 1 < dimension ? 4 : 2);
                    }
                    __builtin_memcpy(target + w * NR + j + i, &word, 4);
                }
            }
        }
    }
}

// Values [count][dimension] as panels of NR dimensions, [KEYS][NR] each, zero beyond the dimension.
static void pack_values(const float *v, size_t stride, size_t count, size_t dimension, float *target) {
    for (size_t first = 0; first < dimension; first += NR, target += KEYS * NR) {
        for (size_t part = 0; part < NR; part += W) {
            const size_t start = first + part;
            const size_t n = start >= dimension ? 0 : dimension - start < W ? dimension - start : W;
            for (size_t j = 0; j < count; j++) {
                const V value = n == 0 ? v_zero() : v_load_part(v + j * stride + start, n);
                v_store(target + j * NR + part, value);
            }
        }
    }
}

// Turns the scores of one query into weights, in place, and brings its row of O and its sums up to date.
// visible: keys of this chunk that the query sees, at least 1.
INLINE void soften(
    float *scores, size_t visible, float scale, float *largest, float *total, float *o, size_t o_columns) {
    const size_t whole = visible / W * W, rest = visible - whole;
    const V factor = v_set(scale);
    V top = v_set(*largest);
    for (size_t j = 0; j < whole; j += W) top = v_max(top, v_mul(v_load(scores + j), factor));
    float next = v_largest(top);
    for (size_t j = whole; j < visible; j++) {
        const float score = scores[j] * scale;
        if (score > next) next = score;
    }
    // While all scores are minus infinity their weights are 0.
    const V offset = v_set(next == -__builtin_inff() ? 0 : -next);
    V sum = v_zero();
    size_t done = 0;
    for (; done + 4 * W <= whole; done += 4 * W) {
        V p[4];
        FV_UNROLL for (size_t i = 0; i < 4; i++) p[i] = v_fma(v_load(scores + done + i * W), factor, offset);
        v_exp_all(p, 4);
        FV_UNROLL for (size_t i = 0; i < 4; i++) v_store(scores + done + i * W, p[i]);
        sum = v_add(sum, v_add(v_add(p[0], p[1]), v_add(p[2], p[3])));
    }
    for (; done < whole; done += W) {
        const V p = v_exp(v_fma(v_load(scores + done), factor, offset));
        v_store(scores + done, p);
        sum = v_add(sum, p);
    }
    if (rest) {
        const V p = v_keep_part(v_exp(v_fma(v_load(scores + whole), factor, offset)), rest);
        v_store(scores + whole, p);
        sum = v_add(sum, p);
    }
    if (next > *largest) {
        // The first chunk comes from minus infinity: factor 0 on sums that are 0.
        const V shrink = v_exp(v_set(*largest - next));
        for (size_t c = 0; c < o_columns; c += W) v_store(o + c, v_mul(v_load(o + c), shrink));
        *total *= v_largest(shrink);
        *largest = next;
    }
    *total += v_sum(sum);
}

// Numbers of keys or values, which are float32 or bfloat16; `is_bf16` is constant after inlining.
INLINE const char *kv_at(const void *base, size_t index, const int is_bf16) {
    return (const char *)base + index * (is_bf16 ? 2 : 4);
}

INLINE V kv_load(const char *p, const int is_bf16) {
    return is_bf16 ? v_load_bf16(p) : v_load((const float *)p);
}

INLINE V kv_load_part(const char *p, size_t n, const int is_bf16) {
    if (!is_bf16) return v_load_part((const float *)p, n);
    float values[W] = {0};
    for (size_t i = 0; i < n; i++) values[i] = fv_widen(fv_load16(p, i));
    return v_load(values);
}

// Row `first` of keys or values; *here: how many of `count` rows from there on stand in the same block.
INLINE const char *kv_rows(
    const struct fv_blocks *b, size_t first, size_t count, size_t *here, const int is_bf16) {
    const size_t positions = (size_t)1 << b->shift, row = first & (positions - 1);
    *here = positions - row < count ? positions - row : count;
    return kv_at((const char *)b->bases[first >> b->shift] + b->offset, row * b->stride, is_bf16);
}

// Keys of the chunk from `first` on, `count` long, that query i sees.
INLINE size_t seen_keys(const struct fv_attention *t, size_t i, size_t first, size_t count) {
    if (!t->causal) return count;
    const size_t limit = t->visible + i + 1;
    return limit <= first ? 0 : limit - first < count ? limit - first : count;
}

// y = O / l for every query.
static void divide(const struct fv_attention *t, const float *o, size_t o_stride, const float *total) {
    for (size_t i = 0; i < t->queries; i++) {
        const V factor = v_set(1 / total[i]);
        for (size_t d = 0; d < t->dimension; d += W) {
            const size_t n = t->dimension - d < W ? t->dimension - d : W;
            v_store_part(t->y + i * t->y_stride + d, v_mul(v_load(o + i * o_stride + d), factor), n);
        }
    }
}

// Scores of one query for a chunk of packed keys: four panels at a time, in the order of the tiles.
INLINE void score_keys(
    const float *q, const float *keys, size_t count, size_t dimension, float *scores, const int is_bf16) {
    const size_t panel = (is_bf16 ? (dimension + 1) / 2 : dimension) * NR;
    size_t j = 0;
    for (; j + 3 * NR < count; j += 4 * NR, keys += 4 * panel) {
        if (is_bf16) {
            row_bf16(dimension, q, (const char *)keys, panel * 4, scores + j);
        } else {
            row_f32(dimension, q, (const char *)keys, panel * 4, scores + j);
        }
    }
    for (; j < count; j += NR, keys += panel) {
        if (is_bf16) {
            tile_bf16_1(dimension, q, 0, keys, scores + j, NR, 0);
        } else {
            tile_f32_1(dimension, q, 0, keys, scores + j, NR, 0);
        }
    }
}

// O += weights · values, the values where they are.
INLINE void add_values(
    const struct fv_attention *t, const float *weights, size_t first, size_t count, float *o, const int is_bf16) {
    for (size_t d = 0; d < t->dimension; d += 4 * W) {
        V sums[4];
        size_t n[4];
        for (size_t p = 0; p < 4; p++) {
            const size_t start = d + p * W;
            n[p] = start >= t->dimension ? 0 : t->dimension - start < W ? t->dimension - start : W;
            sums[p] = n[p] ? v_load(o + start) : v_zero();
        }
        for (size_t done = 0, here; done < count; done += here) {
            const char *v = kv_at(kv_rows(&t->v, first + done, count - done, &here, is_bf16), d, is_bf16);
            const size_t step = t->v.stride * (is_bf16 ? 2 : 4);
            if (n[3] == W) {
                for (size_t j = done; j < done + here; j++, v += step) {
                    const V weight = v_set(weights[j]);
                    FV_UNROLL for (size_t p = 0; p < 4; p++) {
                        sums[p] = v_fma(weight, kv_load(kv_at(v, p * W, is_bf16), is_bf16), sums[p]);
                    }
                }
            } else {
                for (size_t j = done; j < done + here; j++, v += step) {
                    const V weight = v_set(weights[j]);
                    for (size_t p = 0; p < 4 && n[p]; p++) {
                        sums[p] = v_fma(weight, kv_load_part(kv_at(v, p * W, is_bf16), n[p], is_bf16), sums[p]);
                    }
                }
            }
        }
        for (size_t p = 0; p < 4 && n[p]; p++) v_store(o + d + p * W, sums[p]);
    }
}

INLINE void direct(const struct fv_attention *t, const int is_bf16) {
    const size_t o_stride = (t->dimension + NR - 1) / NR * NR;
    float *keys = t->scratch;
    float *scores = keys + KEYS * (t->dimension + 1);
    float *o = scores + KEYS + 32;
    float largest[DIRECT_QUERIES], total[DIRECT_QUERIES];
    for (size_t i = 0; i < t->queries; i++) {
        largest[i] = -__builtin_inff();
        total[i] = 0;
    }
    for (size_t i = 0; i < t->queries * o_stride; i += W) v_store(o + i, v_zero());
    const size_t seen = t->visible + t->queries, end = t->causal && seen < t->keys ? seen : t->keys;
    for (size_t first = 0; first < end; first += KEYS) {
        const size_t count = end - first < KEYS ? end - first : KEYS;
        for (size_t done = 0, here; done < count; done += here) {
            const char *k = kv_rows(&t->k, first + done, count - done, &here, is_bf16);
            if (is_bf16) {
                pack_bf16_keys(k, t->k.stride, here, t->dimension, keys + done * ((t->dimension + 1) / 2));
            } else {
                pack_keys((const float *)k, t->k.stride, here, t->dimension, keys + done * t->dimension);
            }
        }
        for (size_t i = 0; i < t->queries; i++) {
            const size_t visible = seen_keys(t, i, first, count);
            if (visible == 0) continue;
            float *sums = o + i * o_stride;
            score_keys(t->q + i * t->q_stride, keys, visible, t->dimension, scores, is_bf16);
            soften(scores, visible, t->scale, largest + i, total + i, sums, o_stride);
            add_values(t, scores, first, visible, sums, is_bf16);
        }
    }
    divide(t, o, o_stride, total);
}

static void direct_float(const struct fv_attention *t) { direct(t, 0); }
static void direct_bf16(const struct fv_attention *t) { direct(t, 1); }

// Rows of bfloat16 numbers, widened.
static void widen_rows(const char *x, size_t stride, size_t rows, size_t columns, float *y) {
    const size_t whole = columns / W * W;
    for (size_t i = 0; i < rows; i++, x += 2 * stride, y += columns) {
        for (size_t c = 0; c < whole; c += W) v_store(y + c, v_load_bf16(x + 2 * c));
        for (size_t c = whole; c < columns; c++) y[c] = fv_widen(fv_load16(x, c));
    }
}

// Keys and values of one block, from position `first` on, as panels in float32; see kv_rows.
static void pack_block(
    const struct fv_attention *t, size_t first, size_t count, size_t *here, float *widened, float *keys,
    float *values) {
    const size_t dimension = t->dimension;
    const char *k = kv_rows(&t->k, first, count, here, t->is_bf16);
    const char *v = kv_rows(&t->v, first, count, here, t->is_bf16);
    if (t->is_bf16) {
        widen_rows(k, t->k.stride, *here, dimension, widened);
        pack_keys(widened, dimension, *here, dimension, keys);
        widen_rows(v, t->v.stride, *here, dimension, widened);
        pack_values(widened, dimension, *here, dimension, values);
    } else {
        pack_keys((const float *)k, t->k.stride, *here, dimension, keys);
        pack_values((const float *)v, t->v.stride, *here, dimension, values);
    }
}

#if FV_PAIRED_ATTENTION
#include "attention_packing.h"
#if FV_HAS_AMX
#include "attention_tiles.h"
#else
#include "attention_pairs.h"
#endif
#endif

static void FV_NAME(attention)(const struct fv_attention *t) {
#if FV_HAS_AMX
    if (t->rounds) return attention_tiles(t);
#elif FV_PAIRED_ATTENTION
    if (t->rounds) return attention_pairs(t);
#endif
    if (t->queries <= DIRECT_QUERIES) {
        (t->is_bf16 ? direct_bf16 : direct_float)(t);
        return;
    }
    const size_t o_stride = (t->dimension + NR - 1) / NR * NR;
    float *keys = t->scratch;
    float *values = keys + KEYS * t->dimension;
    float *scores = values + KEYS * o_stride;
    float *o = scores + MR * (KEYS + 32);
    float *widened = o + ROWS * o_stride;
    const size_t score_stride = KEYS + 32; // not a power of two: rows fall into different cache sets
    float largest[ROWS], total[ROWS];
    for (size_t i = 0; i < t->queries; i++) {
        largest[i] = -__builtin_inff();
        total[i] = 0;
    }
    for (size_t i = 0; i < t->queries * o_stride; i += W) v_store(o + i, v_zero());
    const size_t seen = t->visible + t->queries, end = t->causal && seen < t->keys ? seen : t->keys;
    for (size_t first = 0; first < end; first += KEYS) {
        const size_t count = end - first < KEYS ? end - first : KEYS;
        // Queries before this one see none of the chunk.
        const size_t start =
            t->causal && first > t->visible ? (first - t->visible) / MR * MR : 0;
        for (size_t done = 0, here; done < count; done += here) {
            pack_block(t, first + done, count - done, &here, widened, keys + done * t->dimension, values + done * NR);
        }
        for (size_t row = start; row < t->queries; row += MR) {
            const size_t mr = t->queries - row < MR ? t->queries - row : MR;
            // What the first and the last of these queries see.
            const size_t least = seen_keys(t, row, first, count), most = seen_keys(t, row + mr - 1, first, count);
            for (size_t j = 0; j < most; j += NR) {
                tiles_f32[mr](
                    t->dimension, t->q + row * t->q_stride, t->q_stride, keys + j * t->dimension, scores + j,
                    score_stride, 0);
            }
            for (size_t i = row; i < row + mr; i++) {
                const size_t visible = seen_keys(t, i, first, count);
                float *line = scores + (i - row) * score_stride, *sums = o + i * o_stride;
                if (visible) soften(line, visible, t->scale, largest + i, total + i, sums, o_stride);
            }
            for (size_t c = 0; c < o_stride; c += NR) {
                const float *panel = values + c * KEYS;
                if (least) tiles_f32[mr](least, scores, score_stride, panel, o + row * o_stride + c, o_stride, 1);
                for (size_t i = row; i < row + mr; i++) {
                    const size_t more = seen_keys(t, i, first, count) - least;
                    if (more == 0) continue;
                    const float *line = scores + (i - row) * score_stride + least;
                    tile_f32_1(more, line, 0, panel + least * NR, o + i * o_stride + c, o_stride, 1);
                }
            }
        }
    }
    divide(t, o, o_stride, total);
}

// Enough for every way: the few queries' packed keys have one number more for an odd dimension, and pairs of bfloat16
// numbers take half of what is theirs here.
static size_t FV_NAME(attention_scratch)(size_t keys, size_t dimension) {
    (void)keys;
    const size_t o_stride = (dimension + NR - 1) / NR * NR;
    const size_t numbers = 2 * KEYS * (dimension + 1) + KEYS * o_stride + MR * (KEYS + 32) + ROWS * o_stride;
#if FV_HAS_AMX
    // The scores and weights of 32 queries, and rows of a whole number of steps.
    return (numbers + 2 * AMX_ROWS * (KEYS + 32) + (KEYS + ROWS) * 32) * 4 + 64;
#else
    return numbers * 4 + 64;
#endif
}
