// Random numbers, guarded memory, packed weights and comparisons for the kernel checks.
#ifndef KERNEL_CHECK_SUPPORT_H
#define KERNEL_CHECK_SUPPORT_H

#include <string.h>

#include "fv_pack.h"
#include "fv_quantised.h"
#include "numbers.h"
#include "tables.h"

/// Of the random numbers.
extern uint64_t state;
extern int failures, checks;
/// Inputs per group of the quantised check that runs.
extern size_t group;
/// Whether its inputs are.
extern int is_rotated;
/// Of the table that is checked: the reference takes the same integers.
extern int weight_limit;
/// And of an activation that is multiplied with one.
extern int input_limit;

/// Types of a product besides fv_type: integers, bfloat16 weights with rows that nothing rounds, and integers with such rows.
enum { INT8 = 10, INT4 = 11, EXACT = 12, WIDE8 = 13, WIDE4 = 14 };
/// Of a type's weights, where they are integers; else 0.
int bits_of(int type);
int is_wide(int type);

/// −1 … 1
float uniform(void);
size_t below(size_t n);
/// Aligned to 64 bytes; free it.
void *block(size_t bytes);
/// Ends at a page that nobody may read; release it.
void *edge(size_t bytes);
void release(const void *pointer);
/// Padded with zeros as Tensors pads vectors; free them.
float *numbers(size_t count, float scale);
/// Not padded, as the rows of a matrix are not; release them.
float *rows_of(size_t count, float scale);
/// The same as keys or values, float32 or bfloat16; release them.
void *keys_of(size_t count, int is_bf16);
/// Rows that stand at *base as a single block; *base is read as long as the block is.
struct fv_blocks contiguous(const void *const *base, size_t stride);

enum { GUARD = 64 };
/// `count` numbers between guard zones, copied from `start` or, where that is null, NaN; free them − GUARD.
float *guarded(size_t count, const float *start);
/// Σ (got − expected)² / Σ expected² against a bound, and nothing written outside of rows and columns.
void compare(
    const char *what, const float *got, const float *expected, size_t rows, size_t columns, size_t stride,
    double bound, int filled);

/// Release it.
void *packed(
    const struct fv_kernels *t, const float *w, const float *second, size_t outputs, size_t inputs, int type);
/// Whether the table's attention multiplies bfloat16 numbers where it is asked to round.
int rounds_inputs(const struct fv_kernels *t);
/// Of errors against the reference.
double bound(const struct fv_kernels *t, int type, size_t count);
/// Bytes that the table's product of a type takes.
size_t scratch_of(const struct fv_kernels *t, int type, size_t inputs);
/// Bytes of a row as such a product reads it, beside the row itself.
size_t pitch_of(const struct fv_kernels *t, int type, size_t inputs);
/// Rows of `part`, whose panels are set, times its panels; `converted`: as many rows of pitch_of bytes.
void run_part(const struct fv_kernels *t, int type, struct fv_gemm part, void *converted);
/// Makes of rows what products of their type read.
void convert_rows(const struct fv_kernels *t, int type, const struct fv_gemm *g, void *converted);
/// A whole product with freshly packed weights, in calls as large as the table takes them.
void run_gemm(const struct fv_kernels *t, struct fv_gemm g, const float *w, const float *second, int type);

/// check_invariance.c: rows alone and among others, and what is not a number.
void check_invariance(const struct fv_kernels *t);
void check_not_finite(const struct fv_kernels *t);

/// check_sampling.c: to the bit.
void check_sampling(const struct fv_kernels *t);

#endif
