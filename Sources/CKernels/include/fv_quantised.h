// Integer weights and activations: layouts and packing.
#ifndef FV_QUANTISED_H
#define FV_QUANTISED_H

#include <stddef.h>
#include <stdint.h>

#include "fv_kernels.h"
#include "fv_pack.h"

/// Inputs per 32-bit lane: what `vpdpbusd`, or `vpmaddubsw` with `vpmaddwd`, multiply and add at once.
enum { FV_QUANTUM_STEP = 4 };

/// Inputs that are rotated together.
enum { FV_ROTATED_BLOCK = 64 };

/// Inputs of the largest group.
enum { FV_LARGEST_GROUP = 256 };

/// Inputs whose rounding errors make up for each other.
enum { FV_FEEDBACK_BLOCK = 64 };

enum { FV_PACK_SCRATCH = 2 * FV_LARGEST_GROUP };

/// Weights of W [outputs, inputs] as integers of 8 or 4 bits in groups of `group` inputs, packed into panels of nr
/// outputs:
///
///     w[j][k] = scale[j][g] · (q − zero) + minimum[j][g]              minimum = 0 where a matrix has none
///
/// zero is 8 for 4 bits and the table's weight_zero for 8, where q − zero is −weight_limit … weight_limit: 127, or
/// 97 for instruction sets that add two products with an unsigned factor in 16 bits; there activations beside 8-bit
/// weights are −84 … 84 (input_limit), else −127 … 127. x86 multiplies unsigned weights with signed activations (zero is
/// weight_limit + 1), NEON signed ones with signed ones (zero is 0).
///
///     panel:   group 0 │ group 1 │ …                       inputs beyond the last are q = zero
///     group:   scale[nr] │ minimum[nr], if any │ steps      float32
///     step, 8 bits:  q[j][k … k+4) for each output j                               4 · nr bytes
///     step, 4 bits:  byte (j, i) = q[j][k+i] | q[j][k+4+i] << 4, i < 4             4 · nr bytes, 8 inputs
///
/// Groups are multiples of 32 inputs.
///
/// Rotated matrices: one step for a group loses all small numbers beside a large one, in activations above all, so a
/// group's inputs are spread over each other first, weights and activations alike: both are multiplied with a Hadamard
/// matrix H (entries ±1, H·H = n·1, so W·x = (W·H/n)·(H·x); the idea of QuaRot, arXiv 2404.00456). Blocks of
/// FV_ROTATED_BLOCK inputs, or half of that where a group has no more or no more are left; fewer stay as they are.
/// Bytes that the first `inputs` inputs of a panel take: whole groups, or all inputs.
size_t fv_quantised_panel_bytes(
    size_t inputs, size_t group, int bits, int has_minima, size_t nr);

struct fv_quantised_pack {
    const void *_Nonnull source;
    /// Null, or the `up` matrix of a gated pair.
    const void *_Nullable second;
    enum fv_type source_type;
    int bits;
    size_t group;
    size_t outputs;
    size_t inputs;
    /// Panel width, limit of 8-bit weights, and the function that quantises a group.
    const struct fv_kernels *_Nonnull kernels;
    size_t first_panel;
    size_t panel_count;
    void *_Nonnull packed;
    /// Room for FV_PACK_SCRATCH float32 numbers.
    float *_Nonnull scratch;
    /// Null, or what fv_feedback_factors made: rounding errors are then made up for by the weights that follow.
    const float *_Nullable feedback;
};

/// Quantises and packs a range of panels, symmetrically (no minima) and rotated. 8 bits: the largest weight of a group
/// becomes ±weight_limit. 4 bits: of several scales the one with the smallest squared error.
/// `seen` as in fv_pack.h.
void fv_quantised_pack_panels(const struct fv_quantised_pack *_Nonnull pack, struct fv_seen *_Nonnull seen);

/// What quantising a block of weights in ascending order needs to know of its inputs, after GPTQ (arXiv 2210.17323): the
/// upper Cholesky factor of the inverse of H, how rotated inputs vary together, with its diagonal made larger by the share
/// `damping`. H is that of independent inputs: what rotating makes of their moments says as much as all of it (decision 65).
/// moments: [count], mean squares of the inputs before they are rotated; where all are 0 there is no feedback.
/// factors: [FV_FEEDBACK_BLOCK][FV_FEEDBACK_BLOCK]
void fv_feedback_factors(
    const float *_Nonnull moments, size_t count, size_t group, double damping, float *_Nonnull factors);

/// Integers that somebody else quantised: w[j][k] = scale[j][k / group] · q[j][k] + bias[j][k / group], q unsigned.
///
/// words: the q of a row one after the other, the first in the lowest bits, whole little-endian 32-bit words per row;
/// scales and biases: [outputs][inputs / group], of any type and alignment. inputs is a multiple of the group.
struct fv_integers {
    const void *_Nonnull words;
    const void *_Nonnull scales;
    const void *_Nonnull biases;
    enum fv_type scale_type;
    enum fv_type bias_type;
};

/// y[inputs] = the numbers of one output, 4 or 8 bits each.
void fv_integers_row(
    const struct fv_integers *_Nonnull integers, int bits, size_t group, size_t inputs, size_t output,
    float *_Nonnull y);

struct fv_integers_pack {
    struct fv_integers source;
    /// The `up` matrix of a gated pair; else as `source`.
    struct fv_integers second;
    int is_gated;
    int bits;
    size_t group;
    size_t outputs;
    size_t inputs;
    size_t panel_width;
    /// Of the kernels: what an 8-bit 0 is stored as.
    int weight_zero;
    size_t first_panel;
    size_t panel_count;
    void *_Nonnull packed;
};

/// Packs a range of panels with minima, every integer as it is. 8 bits fit where the weight limit is 127.
/// `seen` as in fv_pack.h, where an output whose integers are all 0 counts as one without numbers.
void fv_integers_pack_panels(const struct fv_integers_pack *_Nonnull pack, struct fv_seen *_Nonnull seen);

/// Packed panels back to numbers.
struct fv_quantised_unpack {
    const void *_Nonnull packed;
    int bits;
    size_t group;
    int has_minima;
    int is_gated;
    int is_rotated;
    size_t outputs;
    size_t inputs;
    size_t panel_width;
    int weight_zero;
    /// Of a gated pair: 1 for the second matrix.
    int part;
    /// [outputs][inputs]
    float *_Nonnull target;
};

void fv_quantised_unpack(const struct fv_quantised_unpack *_Nonnull unpack);

/// What the scales and minima of a range of panels say of the numbers; of `unpack`, `part` and `target` do not matter.
/// Adds it to seen[0] and, of a gated pair, seen[1]. An output whose scales and minima are 0 has no numbers.
void fv_quantised_look_at(
    const struct fv_quantised_unpack *_Nonnull unpack, size_t first_panel, size_t panel_count,
    struct fv_seen *_Nonnull seen);

#endif
