// The scalar kernels: the plainest code that says what an operation is. Every other variant is compared with
// these. Internal to this target.
#ifndef FV_REFERENCE_H
#define FV_REFERENCE_H

#include "../numbers.h"
#include "fv_kernels.h"

/// Panel width of the scalar table.
enum {
    FV_SCALAR_NR = 8,
    FV_SCALAR_ROWS = 96,
    FV_SCALAR_PANELS = 32,
    FV_SCALAR_QUERIES = 64,
    FV_SCALAR_WEIGHT_LIMIT = 127,
    FV_SCALAR_INPUT_LIMIT = 127,
    FV_SCALAR_WEIGHT_ZERO = 128,
};

float fv_activate_scalar(float x, enum fv_activation activation);

void fv_gemm_f32_scalar(const struct fv_gemm *);
void fv_gemm_bf16_scalar(const struct fv_gemm *);
size_t fv_gemm_scratch_scalar(size_t inputs);
void fv_ffn_f32_scalar(const struct fv_ffn *);
void fv_ffn_bf16_scalar(const struct fv_ffn *);
size_t fv_ffn_scratch_scalar(size_t inputs, size_t hidden, size_t outputs);
size_t fv_ffn_rows_scalar(size_t inputs, size_t hidden, size_t outputs);
double fv_peak_scalar(size_t rounds);
void fv_read_memory_scalar(const void *base, size_t bytes);
uint32_t fv_largest_bits_scalar(const void *numbers, size_t count, size_t width);
float fv_quantise_weights_scalar(const float *w, size_t count, int bits, int limit, int8_t *q);
size_t fv_quantised_pitch_scalar(size_t inputs, size_t group);
void fv_quantise_scalar(const struct fv_quantise *);
void fv_rotate_rows_scalar(const struct fv_quantise *);
void fv_gemm_widened_q8_scalar(const struct fv_gemm *);
void fv_gemm_widened_q4_scalar(const struct fv_gemm *);
size_t fv_widened_scratch_scalar(void);
void fv_gemm_q8_scalar(const struct fv_gemm *);
void fv_gemm_q4_scalar(const struct fv_gemm *);
void fv_ffn_q8_scalar(const struct fv_ffn *);
size_t fv_ffn_q8_rows_scalar(size_t inputs, size_t hidden, size_t outputs, size_t group);
size_t fv_ffn_q8_scratch_scalar(size_t inputs, size_t hidden, size_t outputs, size_t group);
void fv_finish_row_scalar(const struct fv_gemm *g, size_t row, size_t panel, const float *sums);
void fv_stem_f32_scalar(const struct fv_stem *);
void fv_stem_bf16_scalar(const struct fv_stem *);
size_t fv_stem_scratch_scalar(size_t inputs, size_t out_width);
void fv_depthwise_scalar(const struct fv_depthwise *);
size_t fv_depthwise_scratch_scalar(size_t kernel, size_t stride);
void fv_attention_scalar(const struct fv_attention *);
size_t fv_attention_scratch_scalar(size_t keys, size_t dimension);
void fv_layer_norm_scalar(const struct fv_rows *, const float *weight, const float *bias, float epsilon);
void fv_rms_norm_scalar(const struct fv_rows *, const float *weight, float epsilon);
void fv_rotate_scalar(const struct fv_rows *, size_t dimension, const float *cosine, const float *sine);
void fv_activate_rows_scalar(const struct fv_rows *, enum fv_activation activation);
void fv_sigmoid_scalar(const struct fv_rows *);
void fv_add_scalar(const struct fv_rows *);
void fv_multiply_columns_scalar(const struct fv_rows *, const float *gate, enum fv_activation activation);
void fv_column_means_scalar(const struct fv_rows *);
uint64_t fv_score_masses_scalar(const struct fv_scores *, float bound, uint64_t *masses);
size_t fv_select_scores_scalar(
    const struct fv_scores *, float low, float high, uint32_t *ids, float *exponents);

#endif
