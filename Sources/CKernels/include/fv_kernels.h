// The function table: every arithmetic operation, once per instruction set.
//
// A call does one tile of work on one thread; who calls splits the work. Nothing here allocates, keeps state
// or starts threads. Activations are float32; strides count elements; `scratch` is 64-byte aligned, belongs
// to the calling thread and has at least the bytes that the operation's `…_scratch` function answers.
//
// Results do not depend on how rows and panels are cut into calls: each number is accumulated with the same instructions
// and in an order that only its own operands fix, whatever rows stand beside it. NaN in an operand is NaN in every number
// that depends on it; where products are of integers, NaN or infinity in a row makes the whole row NaN.
#ifndef FV_KERNELS_H
#define FV_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "fv_cpu.h"

enum fv_activation {
    FV_NONE = 0,
    FV_GELU = 1,
    FV_SILU = 2,
    FV_RELU = 3,
    /// GELU within 2e-4 · max(1, |x|), infinite for −infinity, at half the cost: for numbers that become integers of
    /// 8 bits next.
    FV_COARSE_GELU = 4,
    /// x / (1 + e^(−1.702·x)), CLIP's stand-in for GELU.
    FV_QUICK_GELU = 5,
    /// x · (1 + tanh(√(2/π)·(x + 0.044715·x³))) / 2, GELU as SigLIP has it.
    FV_TANH_GELU = 6,
};

/// What happens to a finished sum s of output j in row i.
enum fv_epilogue {
    /// y = activation(s + bias)
    FV_STORE = 0,
    /// y += scale · (s + bias)
    FV_ADD = 1,
    /// y = silu(gate sum) · (up sum); panels packed from a gated pair, no bias
    FV_GATED = 2,
};

/// y[rows, outputs] from a[rows, inputs] and packed panels; 2 · rows · inputs · outputs operations.
/// For FV_GATED `outputs` counts the outputs of one of the two matrices.
struct fv_gemm {
    const float *_Nonnull a;
    size_t a_stride;
    size_t rows;
    size_t inputs;
    const void *_Nonnull panels;
    size_t first_panel;
    size_t panel_count;
    size_t outputs;
    float *_Nonnull y;
    size_t y_stride;
    /// Null or zero-padded to a multiple of 64, as `scale`.
    const float *_Nullable bias;
    const float *_Nullable scale;
    enum fv_epilogue epilogue;
    enum fv_activation activation;
    void *_Nullable scratch;
    /// The rows as `quantise` left them for quantised panels, or null or as `round_rows` left them for bfloat16 panels;
    /// `a` is not read then. For quantised panels only: inputs per group, and whether groups of weights have minima
    /// (fv_quantised.h).
    const void *_Nullable quantised;
    size_t group;
    int has_minima;
};

/// Rows of x as integers of −127 … 127 with a scale and a sum per group, `quantised_pitch` bytes each, for products with
/// matrices that are rotated or not (fv_quantised.h).
struct fv_quantise {
    const float *_Nonnull x;
    size_t x_stride;
    size_t rows;
    size_t inputs;
    size_t group;
    int is_rotated;
    /// Largest integer: the table's input_limit for 8-bit weights, 127 for 4-bit ones.
    int limit;
    void *_Nonnull target;
};

/// y += scale · (gelu(a·expandᵀ + bias1)·projectᵀ + bias2) for a tile of rows: 4 · rows · channels · hidden.
/// The hidden activation is made in chunks that stay in the second-level cache. y may be a. With 8-bit weights gelu is
/// FV_COARSE_GELU.
struct fv_ffn {
    const float *_Nonnull a;
    size_t a_stride;
    size_t rows;
    /// Columns of a.
    size_t inputs;
    size_t hidden;
    /// Columns of y.
    size_t outputs;
    const void *_Nonnull expand;
    const float *_Nullable expand_bias;
    const void *_Nonnull project;
    const float *_Nullable project_bias;
    const float *_Nullable scale;
    float *_Nonnull y;
    size_t y_stride;
    void *_Nullable scratch;
    /// For quantised panels only: inputs per group, which divides 256, whether both matrices are rotated, and the largest
    /// integer of an activation (input_limit).
    size_t group;
    int is_rotated;
    int limit;
};

/// Depthwise k×k convolution, NHWC, zero padding k/2: 2 · k² per output number.
///
/// weights: [k·k][multiplier][plane], bias: [multiplier][plane]; plane = input channels rounded up to 16 with
/// zeros; the entry [tap][q][i] belongs to output channel i·multiplier + q, which reads input channel i.
struct fv_depthwise {
    const float *_Nonnull x;
    size_t height;
    size_t width;
    size_t channels;
    float *_Nonnull y;
    size_t out_height;
    size_t out_width;
    const float *_Nonnull weights;
    const float *_Nonnull bias;
    size_t plane;
    size_t kernel;
    size_t stride;
    size_t multiplier;
    enum fv_activation activation;
    /// Output rows and input channels of this call; the first channel is a multiple of 16, and so is the count unless
    /// it reaches the last channel.
    size_t first_row;
    size_t row_count;
    size_t first_channel;
    size_t channel_count;
    void *_Nullable scratch;
};

/// Dense k×k convolution on few input channels as im2col + GEMM; padding k/2; packed inputs ordered
/// [ky][kx][c].
struct fv_stem {
    const float *_Nonnull x;
    size_t height;
    size_t width;
    size_t channels;
    float *_Nonnull y;
    size_t out_width;
    size_t outputs;
    const void *_Nonnull panels;
    const float *_Nullable bias;
    size_t kernel;
    size_t stride;
    enum fv_activation activation;
    size_t first_row;
    size_t row_count;
    void *_Nullable scratch;
};

/// Rows of keys or values of one head: position j is row j & (1 << shift) - 1 of block j >> shift. Contiguous rows are a
/// single block with a shift of 63.
struct fv_blocks {
    /// Where each block begins.
    const void *_Nonnull const *_Nonnull bases;
    /// Bytes from there to the head's first number of row 0.
    size_t offset;
    /// Numbers between rows.
    size_t stride;
    /// At least 5: a block has a multiple of 32 positions.
    unsigned shift;
};

/// One head, a range of queries: y = softmax(scale · q·kᵀ) · v; 4 · queries · keys · dimension operations.
/// q and y stand at the head's first column. Query i (counted from 0 in this call) sees keys
/// 0 … visible + i, at most `keys` of them, when `causal`; else all keys. The cut into blocks changes no bit.
struct fv_attention {
    const float *_Nonnull q;
    size_t q_stride;
    struct fv_blocks k;
    struct fv_blocks v;
    /// Keys and values are bfloat16 instead of float32.
    int is_bf16;
    /// Where the instruction set multiplies bfloat16 numbers, queries, keys, values and weights are rounded to them.
    int rounds;
    float *_Nonnull y;
    size_t y_stride;
    size_t queries;
    size_t keys;
    size_t dimension;
    float scale;
    int causal;
    size_t visible;
    void *_Nullable scratch;
};

/// Rows of a strided float32 matrix.
struct fv_rows {
    const float *_Nonnull x;
    size_t x_stride;
    float *_Nonnull y;
    size_t y_stride;
    size_t rows;
    size_t columns;
};

/// Scores of tokens, without NaN. A token's exponent is (x − highest) · inverse, at most 0: its distance from the best
/// token in units of the temperature, 1 / inverse. Negative infinity stays so.
struct fv_scores {
    const float *_Nonnull x;
    size_t count;
    float highest;
    float inverse;
};

struct fv_kernels {
    enum fv_isa isa;
    /// Outputs in one packed panel.
    size_t panel_width;
    /// Rows that a GEMM or FFN call takes at most, and that a caller should give where it has them.
    size_t row_block;
    /// Panels that a GEMM call takes at most.
    size_t panel_block;
    /// Queries that an attention call takes at most.
    size_t query_block;

    void (*_Nonnull gemm_f32)(const struct fv_gemm *_Nonnull);
    /// Instruction sets that multiply bfloat16 numbers round the rows to bfloat16 first, a single row as well.
    void (*_Nonnull gemm_bf16)(const struct fv_gemm *_Nonnull);
    /// Rows as `gemm_bf16` rounds them, `rounded_pitch` bytes each, for several calls with the same rows (`group` and
    /// `is_rotated` do not matter). Null where it rounds nothing. A call may read, never use, what stands in the place of
    /// `row_block` rows.
    void (*_Nullable round_rows)(const struct fv_quantise *_Nonnull);
    size_t (*_Nullable rounded_pitch)(size_t inputs);
    /// The same panels with rows that nothing rounds, on every instruction set.
    void (*_Nonnull gemm_exact_bf16)(const struct fv_gemm *_Nonnull);
    size_t (*_Nonnull gemm_scratch)(size_t inputs);
    /// Largest integer of an 8-bit weight, and of what is multiplied with it; see fv_quantised.h.
    int weight_limit;
    int input_limit;
    /// The byte that stands for 0 in an 8-bit weight: weight_limit + 1 where bytes are unsigned, 0 where signed.
    int weight_zero;
    /// Sizes of numbers of `width` bytes, 2 or 4, as integers (their bits without the sign): the largest.
    uint32_t (*_Nonnull largest_bits)(const void *_Nonnull numbers, size_t count, size_t width);
    /// q = the integers of one group of weights, ±limit for 8 bits or −8 … 7 for 4; answers the scale.
    float (*_Nonnull quantise_weights)(
        const float *_Nonnull w, size_t count, int bits, int limit, int8_t *_Nonnull q);
    size_t (*_Nonnull quantised_pitch)(size_t inputs, size_t group);
    void (*_Nonnull quantise)(const struct fv_quantise *_Nonnull);
    void (*_Nonnull gemm_q8)(const struct fv_gemm *_Nonnull);
    void (*_Nonnull gemm_q4)(const struct fv_gemm *_Nonnull);
    /// Rows as float32 numbers, `inputs` of them each, rotated for matrices that are.
    void (*_Nonnull rotate_rows)(const struct fv_quantise *_Nonnull);
    /// Products of integer weights with float32 rows (`a`; `quantised` is not read), rotated where the matrix is.
    void (*_Nonnull gemm_widened_q8)(const struct fv_gemm *_Nonnull);
    void (*_Nonnull gemm_widened_q4)(const struct fv_gemm *_Nonnull);
    size_t (*_Nonnull widened_scratch)(void);
    void (*_Nonnull ffn_q8)(const struct fv_ffn *_Nonnull);
    size_t (*_Nonnull ffn_q8_rows)(size_t inputs, size_t hidden, size_t outputs, size_t group);
    size_t (*_Nonnull ffn_q8_scratch)(size_t inputs, size_t hidden, size_t outputs, size_t group);
    void (*_Nonnull ffn_f32)(const struct fv_ffn *_Nonnull);
    void (*_Nonnull ffn_bf16)(const struct fv_ffn *_Nonnull);
    size_t (*_Nonnull ffn_scratch)(size_t inputs, size_t hidden, size_t outputs);
    /// Rows that one FFN call should take.
    size_t (*_Nonnull ffn_rows)(size_t inputs, size_t hidden, size_t outputs);
    void (*_Nonnull stem_f32)(const struct fv_stem *_Nonnull);
    void (*_Nonnull stem_bf16)(const struct fv_stem *_Nonnull);
    size_t (*_Nonnull stem_scratch)(size_t inputs, size_t out_width);
    void (*_Nonnull depthwise)(const struct fv_depthwise *_Nonnull);
    /// Bytes, whatever the map, the multiplier and the rows and channels of the call.
    size_t (*_Nonnull depthwise_scratch)(size_t kernel, size_t stride);
    void (*_Nonnull attention)(const struct fv_attention *_Nonnull);
    size_t (*_Nonnull attention_scratch)(size_t keys, size_t dimension);

    /// Ceilings for benchmarks: loops on registers alone, which return their operations, and a read of memory.
    double (*_Nonnull peak_f32)(size_t rounds);
    double (*_Nonnull peak_bf16)(size_t rounds);
    double (*_Nonnull peak_q8)(size_t rounds);
    void (*_Nonnull read_memory)(const void *_Nonnull base, size_t bytes);

    /// y = (x − mean) / sqrt(variance + epsilon) · weight + bias, biased variance. y may be x.
    void (*_Nonnull layer_norm)(
        const struct fv_rows *_Nonnull, const float *_Nonnull weight, const float *_Nonnull bias, float epsilon);
    /// y = x / sqrt(mean(x²) + epsilon) · weight. y may be x.
    void (*_Nonnull rms_norm)(const struct fv_rows *_Nonnull, const float *_Nonnull weight, float epsilon);
    /// Half-rotation: (x1, x2) → (x1·cos − x2·sin, x2·cos + x1·sin), x1 the first half of each head.
    /// cosine and sine: [row][dimension/2] for the rows of this call. In place (x is y).
    void (*_Nonnull rotate)(
        const struct fv_rows *_Nonnull, size_t dimension, const float *_Nonnull cosine, const float *_Nonnull sine);
    /// y = activation(x), y may be x.
    void (*_Nonnull activate)(const struct fv_rows *_Nonnull, enum fv_activation activation);
    /// y = 1 / (1 + e^−x), y may be x.
    void (*_Nonnull sigmoid)(const struct fv_rows *_Nonnull);
    /// y += x
    void (*_Nonnull add)(const struct fv_rows *_Nonnull);
    /// y = activation(x · gate), y may be x; gate: [columns].
    void (*_Nonnull multiply_columns)(
        const struct fv_rows *_Nonnull, const float *_Nonnull gate, enum fv_activation activation);
    /// y[0][c] = mean over the rows of x.
    void (*_Nonnull column_means)(const struct fv_rows *_Nonnull);

    /// Sampling. Both give the same bits on every instruction set: each step is rounded by itself, and the rest is
    /// integers.
    ///
    /// Mass of a token: e^exponent · 2^40 as an integer, 0 unless the exponent is above `bound`, which is −80 … 0.
    /// Answers the sum; `masses`, [count] where it is not null, gets each.
    uint64_t (*_Nonnull score_masses)(const struct fv_scores *_Nonnull, float bound, uint64_t *_Nullable masses);
    /// The tokens with an exponent above `low` and not above `high`, in order: ids and exponents, of which there may be
    /// `count`. Answers how many there are; nothing is written beyond them.
    size_t (*_Nonnull select_scores)(
        const struct fv_scores *_Nonnull, float low, float high, uint32_t *_Nonnull ids, float *_Nonnull exponents);
};

/// The table of an instruction set, or null where the processor or this build lacks it.
const struct fv_kernels *_Nullable fv_kernels_for(enum fv_isa isa);

#endif
