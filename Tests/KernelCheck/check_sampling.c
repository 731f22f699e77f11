// Masses and selected tokens: the same bits on every instruction set, so compared without a tolerance.
#include "support.h"

#include <stdio.h>
#include <stdlib.h>

static void expect(int holds, const char *what, size_t count, float inverse) {
    checks++;
    if (holds) return;
    failures++;
    printf("FAIL %s, %zu scores, inverse temperature %g\n", what, count, (double)inverse);
}

// Results end where memory does, as the scores: what is read or written beyond them ends the program.
static void check_scores(const struct fv_kernels *t, size_t count, float spread, float inverse, float bound) {
    float *x = rows_of(count, spread);
    for (size_t i = 0; i < count; i++) {
        if (below(7) == 0) x[i] = i % 2 ? -__builtin_inff() : x[0];
    }
    struct fv_scores s = {x, count, x[0], inverse};
    for (size_t i = 0; i < count; i++) s.highest = x[i] > s.highest ? x[i] : s.highest;
    const struct fv_kernels *tables[2] = {&fv_kernels_scalar, t};
    uint64_t *masses[2], sums[2], alone[2];
    uint32_t *ids[2];
    float *exponents[2];
    size_t found[2];
    const float low = bound * 0.9f, high = bound * 0.2f;
    for (int i = 0; i < 2; i++) {
        masses[i] = edge(count * sizeof *masses[i]);
        sums[i] = tables[i]->score_masses(&s, bound, masses[i]);
        alone[i] = tables[i]->score_masses(&s, bound, 0);
        uint32_t *room = block(count * sizeof *room);
        float *also = block(count * sizeof *also);
        found[i] = tables[i]->select_scores(&s, low, high, room, also);
        free(room), free(also);
        // Once more into memory that has no room for a single one more.
        ids[i] = edge(found[i] * sizeof *ids[i]), exponents[i] = edge(found[i] * sizeof *exponents[i]);
        tables[i]->select_scores(&s, low, high, ids[i], exponents[i]);
    }
    expect(memcmp(masses[0], masses[1], count * sizeof *masses[0]) == 0, "masses", count, inverse);
    expect(sums[0] == sums[1] && alone[1] == sums[1] && sums[0] > 0, "sum of masses", count, inverse);
    expect(found[0] == found[1], "number of selected tokens", count, inverse);
    if (found[0] == found[1]) {
        const size_t bytes = found[0] * 4;
        expect(memcmp(ids[0], ids[1], bytes) == 0, "ids of selected tokens", count, inverse);
        expect(memcmp(exponents[0], exponents[1], bytes) == 0, "exponents of selected tokens", count, inverse);
    }
    for (int i = 0; i < 2; i++) release(masses[i]), release(ids[i]), release(exponents[i]);
    release(x);
}

void check_sampling(const struct fv_kernels *t) {
    static const float inverses[] = {1, 1 / 0.7f, 5, 1e-6f, 8.5e37f};
    for (size_t count = 1; count <= 70; count++) check_scores(t, count, 15, inverses[count % 5], -28);
    for (size_t i = 0; i < 5; i++) {
        for (float bound = -4; bound > -80; bound *= 2.6f) check_scores(t, 4001, 40, inverses[i], bound);
        check_scores(t, 1000 + below(200), 3e38f, inverses[i], -28);
    }
    // Every step of the whole range.
    float *x = rows_of(80000, 1);
    for (size_t i = 0; i < 80000; i++) x[i] = -(float)i / 1000;
    uint64_t *masses[2] = {edge(80000 * 8), edge(80000 * 8)};
    const struct fv_scores s = {x, 80000, 0, 1};
    fv_kernels_scalar.score_masses(&s, -79.9f, masses[0]), t->score_masses(&s, -79.9f, masses[1]);
    expect(memcmp(masses[0], masses[1], 80000 * 8) == 0, "masses of every exponent", 80000, 1);
    release(x), release(masses[0]), release(masses[1]);
}
