// All kernels of one instruction set and their table. The including file has defined the vector functions,
// FV_NAME(operation), FV_TABLE and FV_ISA, and has set the target.

#include "tiles.h"
#if FV_HAS_DPBF16
#include "dpbf16.h"
#endif
#include "math.h"
#include "products.h"
#include "quantised.h"
#include "widened.h"
#if FV_HAS_AMX
#include "amx.h"
#define FV_MATRIX(operation) FV_AMX(operation)
#else
#define FV_MATRIX(operation) FV_NAME(operation)
#endif
#include "weights.h"
#include "depthwise.h"
#include "attention.h"
#include "rows.h"
#include "sampling.h"
#include "peak.h"

const struct fv_kernels FV_TABLE = {
    .isa = FV_ISA,
    .panel_width = NR,
    .row_block = ROWS,
    .panel_block = PANELS,
    .query_block = ROWS,
    .gemm_f32 = FV_NAME(gemm_f32),
    .gemm_bf16 = FV_MATRIX(gemm_bf16),
#if FV_HAS_DPBF16
    .gemm_exact_bf16 = FV_NAME(gemm_exact_bf16),
    .round_rows = FV_NAME(round_rows),
    .rounded_pitch = FV_NAME(rounded_pitch),
#else
    .gemm_exact_bf16 = FV_NAME(gemm_bf16),
#endif
    .gemm_scratch = FV_NAME(gemm_scratch),
    .weight_limit = WEIGHT_LIMIT,
    .input_limit = INPUT_LIMIT,
    .weight_zero = WEIGHT_ZERO,
    .largest_bits = FV_NAME(largest_bits),
    .quantise_weights = FV_NAME(quantise_weights),
    .quantised_pitch = FV_NAME(quantised_pitch),
    .quantise = FV_NAME(quantise),
    .gemm_q8 = FV_MATRIX(gemm_q8),
    .gemm_q4 = FV_NAME(gemm_q4),
    .rotate_rows = FV_NAME(rotate_rows),
    .gemm_widened_q8 = FV_NAME(gemm_widened_q8),
    .gemm_widened_q4 = FV_NAME(gemm_widened_q4),
    .widened_scratch = FV_NAME(widened_scratch),
    .ffn_q8 = FV_MATRIX(ffn_q8),
    .ffn_q8_rows = FV_NAME(ffn_q8_rows),
    .ffn_q8_scratch = FV_NAME(ffn_q8_scratch),
    .ffn_f32 = FV_NAME(ffn_f32),
    .ffn_bf16 = FV_MATRIX(ffn_bf16),
    .ffn_scratch = FV_NAME(ffn_scratch),
    .ffn_rows = FV_NAME(ffn_rows),
    .stem_f32 = FV_NAME(stem_f32),
    .stem_bf16 = FV_MATRIX(stem_bf16),
    .stem_scratch = FV_NAME(stem_scratch),
    .depthwise = FV_NAME(depthwise),
    .depthwise_scratch = FV_NAME(depthwise_scratch),
    .attention = FV_NAME(attention),
    .attention_scratch = FV_NAME(attention_scratch),
    .peak_f32 = FV_NAME(peak_f32),
    .peak_bf16 = FV_MATRIX(peak_bf16),
    .peak_q8 = FV_MATRIX(peak_q8),
    .read_memory = FV_NAME(read_memory),
    .layer_norm = FV_NAME(layer_norm),
    .rms_norm = FV_NAME(rms_norm),
    .rotate = FV_NAME(rotate),
    .activate = FV_NAME(activate),
    .sigmoid = FV_NAME(sigmoid),
    .add = FV_NAME(add),
    .multiply_columns = FV_NAME(multiply_columns),
    .column_means = FV_NAME(column_means),
    .score_masses = FV_NAME(score_masses),
    .select_scores = FV_NAME(select_scores),
};
