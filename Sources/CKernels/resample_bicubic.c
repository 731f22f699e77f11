#include "resample_bicubic.h"

#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define FV_AVX2 __attribute__((target("avx2")))
#endif

enum { FV_BICUBIC_BITS = 22, FV_BICUBIC_HALF = 1 << 21 };

static inline uint8_t fv_bicubic_clip(int32_t sum)
{
    int32_t value = sum >> FV_BICUBIC_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

// The convolution kernel with a = -0.5, support 2.
static double fv_bicubic_kernel(double x)
{
#pragma STDC FP_CONTRACT OFF
    const double a = -0.5;
    if (x < 0.0) {
        x = -x;
    }
    if (x < 1.0) {
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    }
    if (x < 2.0) {
        return (((x - 5) * x + 8) * x - 4) * a;
    }
    return 0.0;
}

int64_t fv_bicubic_taps(const fv_bicubic_axis *axis)
{
    double scale = (double)axis->padded / (double)axis->resized;
    int64_t taps = (int64_t)ceil(2.0 * (scale < 1.0 ? 1.0 : scale)) * 2 + 1;
    return (taps + 3) / 4 * 4;
}

// All weights of one output, in samples of the padded axis: scratch[0..<*count] from *start on.
static void fv_bicubic_weigh(const fv_bicubic_axis *axis, int64_t output, double *scratch, int64_t *start,
                             int64_t *count)
{
#pragma STDC FP_CONTRACT OFF
    double scale = (double)axis->padded / (double)axis->resized;
    double stretch = scale < 1.0 ? 1.0 : scale;
    double support = 2.0 * stretch;
    double center = ((double)output + 0.5) * scale;
    double step = 1.0 / stretch;
    // Casts truncate toward zero, as in Pillow: a start of -0.7 becomes 0, not -1.
    int64_t low = (int64_t)(center - support + 0.5);
    int64_t high = (int64_t)(center + support + 0.5);
    low = low < 0 ? 0 : low;
    high = high > axis->padded ? axis->padded : high;
    double sum = 0.0;
    for (int64_t k = 0; k < high - low; k++) {
        scratch[k] = fv_bicubic_kernel(((double)(k + low) - center + 0.5) * step);
        sum += scratch[k];
    }
    for (int64_t k = 0; k < high - low && sum != 0.0; k++) {
        scratch[k] /= sum;
    }
    *start = low;
    *count = high - low;
}

static int fv_bicubic_split(const int32_t *weights, int64_t taps, int16_t *halves)
{
    int fits = 1;
    for (int64_t k = 0; k < taps; k++) {
        int32_t high = weights[k] >> 8;
        fits &= high >= INT16_MIN && high <= INT16_MAX;
        int64_t group = k / 4 * 8 + k % 4;
        halves[group] = (int16_t)high;
        halves[group + 4] = (int16_t)(weights[k] & 255);
    }
    return fits;
}

int fv_bicubic_plan(const fv_bicubic_axis *axis, int64_t taps, fv_bicubic_window *windows, int32_t *weights,
                    int16_t *halves, double *scratch)
{
    int fits = 1;
    memset(weights, 0, sizeof(int32_t) * (size_t)(axis->outputs * taps));
    for (int64_t i = 0; i < axis->outputs; i++) {
        int32_t *row = weights + i * taps;
        fv_bicubic_window window = {0, 0, 0, 0};
        int64_t low, count;
        fv_bicubic_weigh(axis, axis->first + i, scratch, &low, &count);
        for (int64_t k = 0; k < count; k++) {
            double scaled = scratch[k] * (1 << FV_BICUBIC_BITS);
            int32_t weight = (int32_t)(scaled < 0 ? -0.5 + scaled : 0.5 + scaled);
            int64_t position = low + k - axis->before;
            window.total += weight;
            if (position < 0 || position >= axis->real) {
                window.outside += weight;
            } else if (weight != 0 || window.count > 0) {
                if (window.count == 0) {
                    window.start = (int32_t)position;
                }
                row[window.count++] = weight;
            }
        }
        // Zero weights at either end (there are some when nothing is resized) cost time for nothing.
        while (window.count > 0 && row[window.count - 1] == 0) {
            window.count--;
        }
        windows[i] = window;
        fits &= fv_bicubic_split(row, taps, halves + i * taps * 2);
    }
    return fits;
}

// One output pixel of the row pass.
static inline void fv_bicubic_pixel(const fv_bicubic_window *window, const int32_t *weights,
                                    const uint8_t *row, const uint8_t background[3], uint8_t *destination)
{
    int32_t sum[3];
    for (int c = 0; c < 3; c++) {
        sum[c] = FV_BICUBIC_HALF + window->outside * background[c];
    }
    const uint8_t *pixel = row + (size_t)window->start * 3;
    for (int32_t k = 0; k < window->count; k++, pixel += 3) {
        sum[0] += weights[k] * pixel[0];
        sum[1] += weights[k] * pixel[1];
        sum[2] += weights[k] * pixel[2];
    }
    for (int c = 0; c < 3; c++) {
        destination[c] = fv_bicubic_clip(sum[c]);
    }
}

void fv_bicubic_rows_u8_scalar(fv_bicubic_plan_view plan, const uint8_t *source, const uint8_t *source_end,
                               size_t stride, int64_t rows, const uint8_t background[3],
                               uint8_t *destination)
{
    (void)source_end;
    for (int64_t y = 0; y < rows; y++) {
        for (int64_t i = 0; i < plan.outputs; i++) {
            fv_bicubic_pixel(&plan.windows[i], plan.weights + i * plan.taps, source + (size_t)y * stride,
                             background, destination + (size_t)(y * plan.outputs + i) * 3);
        }
    }
}

void fv_bicubic_background_u8(fv_bicubic_plan_view plan, const uint8_t background[3], uint8_t *destination)
{
    for (int64_t i = 0; i < plan.outputs; i++) {
        for (int c = 0; c < 3; c++) {
            int32_t sum = FV_BICUBIC_HALF + plan.windows[i].total * background[c];
            destination[i * 3 + c] = fv_bicubic_clip(sum);
        }
    }
}

// Bytes [from, to) of one output row of the column pass; `rows` is the first row of the window.
static void fv_bicubic_column_span(const fv_bicubic_window *window, const int32_t *weights,
                                   const uint8_t *rows, size_t stride, const uint8_t *background_row,
                                   size_t from, size_t to, uint8_t *destination)
{
    for (size_t x = from; x < to; x++) {
        int32_t sum = FV_BICUBIC_HALF + window->outside * background_row[x];
        for (int32_t k = 0; k < window->count; k++) {
            sum += weights[k] * rows[(size_t)k * stride + x];
        }
        destination[x] = fv_bicubic_clip(sum);
    }
}

void fv_bicubic_columns_u8_scalar(fv_bicubic_plan_view plan, int64_t first, int64_t count,
                                  const uint8_t *rows, int64_t rows_start, size_t stride,
                                  size_t row_bytes, const uint8_t *background_row, uint8_t *destination)
{
    for (int64_t y = 0; y < count; y++) {
        const fv_bicubic_window *window = &plan.windows[first + y];
        size_t skip = window->count > 0 ? (size_t)(window->start - rows_start) : 0;
        fv_bicubic_column_span(window, plan.weights + (first + y) * plan.taps, rows + skip * stride, stride,
                               background_row, 0, row_bytes, destination + (size_t)y * row_bytes);
    }
}

#if defined(__x86_64__)

int fv_bicubic_has_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") != 0;
}

// Four taps of `block` rows at a time. A 128-bit lane holds two taps, its words r0 r1 g0 g1 b0 b1 0 0, so
// that madd gives r, g, b; the other lane holds the next two taps.
FV_AVX2 __attribute__((always_inline)) static inline void
fv_bicubic_pixel_avx2(const fv_bicubic_window *window, const int16_t *halves, const uint8_t *source,
                      size_t stride, const int block, const uint8_t background[3], uint8_t *destination,
                      size_t destination_stride)
{
    const __m256i gather = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
    const __m256i pick_high = _mm256_setr_epi8(0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 4,
                                               5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7);
    const __m256i pick_low = _mm256_add_epi8(pick_high, _mm256_set1_epi8(8));
    __m256i high[4], low[4];
    for (int r = 0; r < block; r++) {
        high[r] = low[r] = _mm256_setzero_si256();
    }
    const uint8_t *pixel = source + (size_t)window->start * 3;
    for (int32_t k = 0; k < window->count; k += 4, pixel += 12, halves += 8) {
        __m256i packed = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)halves));
        __m256i weight_high = _mm256_shuffle_epi8(packed, pick_high);
        __m256i weight_low = _mm256_shuffle_epi8(packed, pick_low);
        for (int r = 0; r < block; r++) {
            const uint8_t *at = pixel + (size_t)r * stride;
            __m128i first = _mm_loadu_si128((const __m128i *)at);
            __m128i second = _mm_loadu_si128((const __m128i *)(at + 6));
            __m256i words = _mm256_inserti128_si256(_mm256_castsi128_si256(first), second, 1);
            words = _mm256_shuffle_epi8(words, gather);
            high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(words, weight_high));
            low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(words, weight_low));
        }
    }
    __m128i outside = _mm_mullo_epi32(_mm_setr_epi32(background[0], background[1], background[2], 0),
                                      _mm_set1_epi32(window->outside));
    outside = _mm_add_epi32(outside, _mm_set1_epi32(FV_BICUBIC_HALF));
    for (int r = 0; r < block; r++) {
        __m256i both = _mm256_add_epi32(_mm256_slli_epi32(high[r], 8), low[r]);
        __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
        sum = _mm_srai_epi32(_mm_add_epi32(sum, outside), FV_BICUBIC_BITS);
        sum = _mm_packs_epi32(sum, sum);
        sum = _mm_packus_epi16(sum, sum);
        uint32_t rgb = (uint32_t)_mm_cvtsi128_si32(sum);
        memcpy(destination + (size_t)r * destination_stride, &rgb, 3);
    }
}

FV_AVX2 void fv_bicubic_rows_u8_avx2(fv_bicubic_plan_view plan, const uint8_t *source,
                                     const uint8_t *source_end, size_t stride, int64_t rows,
                                     const uint8_t background[3], uint8_t *destination)
{
    size_t out_stride = (size_t)plan.outputs * 3;
    size_t readable = (size_t)(source_end - source);
    for (int64_t y = 0; y < rows; y += 4) {
        int64_t block = rows - y < 4 ? rows - y : 4;
        const uint8_t *row = source + (size_t)y * stride;
        uint8_t *out = destination + (size_t)y * out_stride;
        size_t last = (size_t)(y + block - 1) * stride;
        for (int64_t i = 0; i < plan.outputs; i++, out += 3) {
            const fv_bicubic_window *window = &plan.windows[i];
            const int16_t *halves = plan.halves + i * plan.taps * 2;
            // The last group of taps loads 16 bytes from its sixth on: 10 past the group's own 12.
            size_t reach = last + (size_t)window->start * 3 + (size_t)((window->count + 3) / 4) * 12 + 10;
            if (reach > readable) {
                for (int64_t r = 0; r < block; r++) {
                    fv_bicubic_pixel(window, plan.weights + i * plan.taps, row + (size_t)r * stride,
                                     background, out + (size_t)r * out_stride);
                }
            } else if (block == 4) {
                fv_bicubic_pixel_avx2(window, halves, row, stride, 4, background, out, out_stride);
            } else {
                for (int64_t r = 0; r < block; r++) {
                    fv_bicubic_pixel_avx2(window, halves, row + (size_t)r * stride, stride, 1, background,
                                          out + (size_t)r * out_stride, out_stride);
                }
            }
        }
    }
}

// Adds two rows of 32 bytes, each with its weight, to 32 sums: acc[0..3] hold the high products, acc[4..7]
// the low ones. Unpacking works within lanes; packing at the end undoes the order.
FV_AVX2 __attribute__((always_inline)) static inline void
fv_bicubic_add_pair(__m256i acc[8], __m256i a, __m256i b, __m256i high, __m256i low)
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i even = _mm256_unpacklo_epi8(a, b);
    __m256i odd = _mm256_unpackhi_epi8(a, b);
    __m256i words[4] = {_mm256_unpacklo_epi8(even, zero), _mm256_unpackhi_epi8(even, zero),
                        _mm256_unpacklo_epi8(odd, zero), _mm256_unpackhi_epi8(odd, zero)};
    for (int j = 0; j < 4; j++) {
        acc[j] = _mm256_add_epi32(acc[j], _mm256_madd_epi16(words[j], high));
        acc[4 + j] = _mm256_add_epi32(acc[4 + j], _mm256_madd_epi16(words[j], low));
    }
}

// Two weights as one 32-bit word pair for madd.
static inline int32_t fv_bicubic_pair(int32_t first, int32_t second)
{
    return (int32_t)(((uint32_t)first & 0xffff) | ((uint32_t)second << 16));
}

FV_AVX2 static void fv_bicubic_column_block_avx2(const fv_bicubic_window *window, const int32_t *weights,
                                                 const uint8_t *rows, size_t stride,
                                                 const uint8_t *background_row, uint8_t *destination)
{
    __m256i acc[8];
    for (int j = 0; j < 8; j++) {
        acc[j] = _mm256_setzero_si256();
    }
    for (int32_t k = 0; k < window->count; k += 2) {
        const uint8_t *a = rows + (size_t)k * stride;
        int paired = k + 1 < window->count;
        int32_t second = paired ? weights[k + 1] : 0;
        fv_bicubic_add_pair(acc, _mm256_loadu_si256((const __m256i *)a),
                            _mm256_loadu_si256((const __m256i *)(paired ? a + stride : a)),
                            _mm256_set1_epi32(fv_bicubic_pair(weights[k] >> 8, second >> 8)),
                            _mm256_set1_epi32(fv_bicubic_pair(weights[k] & 255, second & 255)));
    }
    // The summed outside weight may exceed what the split holds: weight it twice, in halves that fit.
    int32_t outside = window->outside / 2, rest = window->outside - outside;
    if (window->outside != 0) {
        __m256i row = _mm256_loadu_si256((const __m256i *)background_row);
        fv_bicubic_add_pair(acc, row, row, _mm256_set1_epi32(fv_bicubic_pair(outside >> 8, rest >> 8)),
                            _mm256_set1_epi32(fv_bicubic_pair(outside & 255, rest & 255)));
    }
    const __m256i half = _mm256_set1_epi32(FV_BICUBIC_HALF);
    for (int j = 0; j < 4; j++) {
        __m256i sum = _mm256_add_epi32(_mm256_add_epi32(_mm256_slli_epi32(acc[j], 8), acc[4 + j]), half);
        acc[j] = _mm256_srai_epi32(sum, FV_BICUBIC_BITS);
    }
    __m256i even = _mm256_packs_epi32(acc[0], acc[1]);
    __m256i odd = _mm256_packs_epi32(acc[2], acc[3]);
    _mm256_storeu_si256((__m256i *)destination, _mm256_packus_epi16(even, odd));
}

FV_AVX2 void fv_bicubic_columns_u8_avx2(fv_bicubic_plan_view plan, int64_t first, int64_t count,
                                        const uint8_t *rows, int64_t rows_start, size_t stride,
                                        size_t row_bytes, const uint8_t *background_row,
                                        uint8_t *destination)
{
    for (int64_t y = 0; y < count; y++, destination += row_bytes) {
        const fv_bicubic_window *window = &plan.windows[first + y];
        const int32_t *weights = plan.weights + (first + y) * plan.taps;
        size_t skip = window->count > 0 ? (size_t)(window->start - rows_start) : 0;
        const uint8_t *top = rows + skip * stride;
        size_t x = 0;
        for (; x + 32 <= row_bytes; x += 32) {
            fv_bicubic_column_block_avx2(window, weights, top + x, stride, background_row + x,
                                         destination + x);
        }
        fv_bicubic_column_span(window, weights, top, stride, background_row, x, row_bytes, destination);
    }
}

#else

int fv_bicubic_has_avx2(void)
{
    return 0;
}

void fv_bicubic_rows_u8_avx2(fv_bicubic_plan_view plan, const uint8_t *source, const uint8_t *source_end,
                             size_t stride, int64_t rows, const uint8_t background[3], uint8_t *destination)
{
    fv_bicubic_rows_u8_scalar(plan, source, source_end, stride, rows, background, destination);
}

void fv_bicubic_columns_u8_avx2(fv_bicubic_plan_view plan, int64_t first, int64_t count,
                                const uint8_t *rows, int64_t rows_start, size_t stride, size_t row_bytes,
                                const uint8_t *background_row, uint8_t *destination)
{
    fv_bicubic_columns_u8_scalar(plan, first, count, rows, rows_start, stride, row_bytes, background_row,
                                 destination);
}

#endif
