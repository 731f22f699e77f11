// Bicubic resampling of 8-bit RGB, bit for bit what Pillow's Image.resize(..., BICUBIC) gives.
//
// Resampling is separable: one direction into uint8, then the other. Along one axis, output i is
//
//     clip8((2^21 + sum_k weight[i][k] * sample[start_i + k]) >> 22)        weights in 2^-22
//
// A sum of int32 products: every order of adding gives the same bits, so the vector forms are exact too.
//
// The picture may lie inside a larger one of a single colour (the padding to a square). Samples outside
// are never stored: their weights are summed once per output ("outside") and multiplied with the colour.
//
// No allocation and no threads here; the caller splits output rows as it likes.
#ifndef FV_RESAMPLE_BICUBIC_H
#define FV_RESAMPLE_BICUBIC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// One axis: `real` samples stand at `before` within `padded`; `padded` samples become `resized`, of which
// only [first, first + outputs) are wanted.
typedef struct {
    int64_t padded;
    int64_t before;
    int64_t real;
    int64_t resized;
    int64_t first;
    int64_t outputs;
} fv_bicubic_axis;

typedef struct {
    int32_t start;    // first real sample with a weight
    int32_t count;    // how many follow each other; 0 when the window lies wholly outside
    int32_t outside;  // sum of the weights of samples outside the real ones
    int32_t total;    // sum of all weights, about 2^22
} fv_bicubic_window;

// Weights stored per output: a multiple of 4, the rest filled with zero.
int64_t fv_bicubic_taps(const fv_bicubic_axis *axis);

// Fills windows[outputs], weights[outputs * taps] and halves[outputs * taps * 2]; scratch has taps doubles.
// halves holds the same weights for the vector form, by groups of four taps:
//     | hi0 hi1 hi2 hi3 | lo0 lo1 lo2 lo3 |     int16 each, weight = hi * 256 + lo, 0 <= lo < 256
// Returns 0 when some weight does not fit that split (then only the scalar form may be used), else 1.
int fv_bicubic_plan(const fv_bicubic_axis *axis, int64_t taps, fv_bicubic_window *windows, int32_t *weights,
                    int16_t *halves, double *scratch);

// The plan of one axis as the passes read it.
typedef struct {
    const fv_bicubic_window *windows;
    const int32_t *weights;
    const int16_t *halves;
    int64_t taps;
    int64_t outputs;
} fv_bicubic_plan_view;

// Rows: source [rows, stride bytes] RGB -> destination [rows, outputs, 3]. source_end is one past the last
// readable byte of the picture. 2 * 3 * outputs * taps * rows operations.
void fv_bicubic_rows_u8_scalar(fv_bicubic_plan_view plan, const uint8_t *source, const uint8_t *source_end,
                               size_t stride, int64_t rows, const uint8_t background[3],
                               uint8_t *destination);
void fv_bicubic_rows_u8_avx2(fv_bicubic_plan_view plan, const uint8_t *source, const uint8_t *source_end,
                             size_t stride, int64_t rows, const uint8_t background[3],
                             uint8_t *destination);

// One line of nothing but background after a pass along it: destination [outputs, 3].
void fv_bicubic_background_u8(fv_bicubic_plan_view plan, const uint8_t background[3], uint8_t *destination);

// Columns: outputs [first, first + count) of the plan. `rows` holds picture row `rows_start` and following,
// `stride` bytes apart, as far as the windows of these outputs reach; row_bytes of each are used.
// background_row has row_bytes. destination [count, row_bytes]. 2 * row_bytes * taps * count operations.
void fv_bicubic_columns_u8_scalar(fv_bicubic_plan_view plan, int64_t first, int64_t count,
                                  const uint8_t *rows, int64_t rows_start, size_t stride,
                                  size_t row_bytes, const uint8_t *background_row, uint8_t *destination);
void fv_bicubic_columns_u8_avx2(fv_bicubic_plan_view plan, int64_t first, int64_t count,
                                const uint8_t *rows, int64_t rows_start, size_t stride,
                                size_t row_bytes, const uint8_t *background_row, uint8_t *destination);

// 1 when the _avx2 forms may be called on this machine. Elsewhere they do the scalar work.
int fv_bicubic_has_avx2(void);

#ifdef __cplusplus
}
#endif

#endif
