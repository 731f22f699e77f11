// What quantising with feedback of the errors needs to know of a product's inputs (fv_quantised.h). Runs once, when a
// checkpoint is quantised.
#include <math.h>

#include "fv_quantised.h"
#include "numbers.h"

enum { BLOCK = FV_FEEDBACK_BLOCK };

// The lower Cholesky factor of a [count][count], in place; 0 where a is not positive definite.
static int factorise(double a[BLOCK][BLOCK], size_t count) {
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j <= i; j++) {
            double sum = a[i][j];
            for (size_t k = 0; k < j; k++) sum -= a[i][k] * a[j][k];
            if (i == j && !(sum > 0)) return 0;
            a[i][j] = i == j ? sqrt(sum) : sum / a[j][j];
        }
    }
    return 1;
}

// The inverse of L·Lᵀ, column by column.
static void invert(double l[BLOCK][BLOCK], size_t count, double inverse[BLOCK][BLOCK]) {
    for (size_t column = 0; column < count; column++) {
        double y[BLOCK];
        for (size_t i = 0; i < count; i++) {
            y[i] = i == column;
            for (size_t k = 0; k < i; k++) y[i] -= l[i][k] * y[k];
            y[i] /= l[i][i];
        }
        for (size_t i = count; i-- > 0;) {
            for (size_t k = i + 1; k < count; k++) y[i] -= l[k][i] * y[k];
            y[i] /= l[i][i];
            inverse[i][column] = y[i];
        }
    }
}

// The factors of one rotated block: `count` of its inputs, whose second moments are given.
static void block_factors(const float *moments, size_t count, double damping, float *factors) {
    // Rotated, inputs i and j vary together as Σ ±moment, where the signs are those of row i XOR j of the Hadamard matrix:
    // all that is needed is the transform of the moments.
    double together[BLOCK], a[BLOCK][BLOCK], inverse[BLOCK][BLOCK];
    for (size_t i = 0; i < count; i++) {
        together[i] = 0;
        for (size_t k = 0; k < count; k++) together[i] += __builtin_parityll(i & k) ? -moments[k] : moments[k];
    }
    for (size_t i = 0; i < count; i++) factors[i * BLOCK + i] = 1;
    if (!(together[0] > 0 && together[0] < INFINITY)) return;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) a[i][j] = together[i ^ j] / together[0];
        a[i][i] += damping;
    }
    if (!factorise(a, count)) return;
    invert(a, count, inverse);
    if (!factorise(inverse, count)) return;
    // The upper factor is the lower one's transpose.
    for (size_t i = 0; i < count; i++) {
        for (size_t j = i; j < count; j++) factors[i * BLOCK + j] = (float)inverse[j][i];
    }
}

void fv_feedback_factors(const float *moments, size_t count, size_t group, double damping, float *factors) {
    memset(factors, 0, BLOCK * BLOCK * sizeof *factors);
    for (size_t k = 0, block; k < count; k += block) {
        block = fv_rotated_block(count - k, group);
        block_factors(moments + k, block, damping, factors + k * BLOCK + k);
    }
}
