// Keys and values of the attentions that multiply bfloat16 pairs (attention_pairs.h, attention_tiles.h): queries, keys and
// values are rounded to bfloat16, and so are the softmax's weights before they meet the values; scores, sums and the
// softmax itself are float32.
//
// Keys lie in panels of pairs of dimensions, as bfloat16 weights do (fv_pack.h), values in panels of pairs of positions:
// [KEYS / 2][NR] words.

// Row `first` of keys or values and those after it in its block, as bfloat16: where they are, or rounded into `target`.
static const char *paired_rows(
    const struct fv_attention *t, const struct fv_blocks *b, size_t first, size_t count, size_t *here, size_t *stride,
    uint16_t *target) {
    const char *rows = kv_rows(b, first, count, here, t->is_bf16);
    *stride = b->stride;
    if (t->is_bf16) return rows;
    *stride = (t->dimension + 1) / 2 * 2;
    for (size_t i = 0; i < *here; i++) {
        round_row(target + i * *stride, (const float *)rows + i * b->stride, t->dimension, 2);
    }
    return (const char *)target;
}

// Up to W bfloat16 numbers, each the lower half of a word; zeros after them.
INLINE VI low_halves(const char *p, size_t n) {
    uint16_t part[W] = {0};
    if (n < W) {
        __builtin_memcpy(part, p, 2 * n);
        p = (const char *)part;
    }
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
}

// n numbers of a row of values and of the next one, as pairs; zeros where there is no next one.
INLINE VI value_pairs(const char *row, size_t step, size_t n, const int has_next) {
    const VI low = low_halves(row, n);
    return has_next ? _mm512_or_si512(low, _mm512_slli_epi32(low_halves(row + step, n), 16)) : low;
}

// Values [count][dimension], rows `stride` numbers apart, as panels of NR dimensions; zeros beyond both.
static void pack_value_pairs(const char *v, size_t stride, size_t count, size_t dimension, uint32_t *target) {
    for (size_t first = 0; first < dimension; first += NR, target += KEYS / 2 * NR) {
        for (size_t part = 0; part < NR; part += W) {
            const size_t start = first + part;
            const size_t n = start >= dimension ? 0 : dimension - start < W ? dimension - start : W;
            for (size_t j = 0; j < count; j += 2) {
                const VI words = n == 0 ? vi_zero() : value_pairs(v + 2 * (j * stride + start), 2 * stride, n, j + 1 < count);
                _mm512_storeu_si512(target + j / 2 * NR + part, words);
            }
        }
    }
}
