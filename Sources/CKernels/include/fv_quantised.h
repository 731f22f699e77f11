// Integer weights and activations: layouts and packing.
#ifndef FV_QUANTISED_H
#define FV_QUANTISED_H

#include <stddef.h>
#include <stdint.h>

#include "fv_kernels.h"
#include "fv_pack.h"

/// Inputs per 32-bit lane: what `vpdpbusd`, or `vpmaddubsw` with `vpmaddwd`, multiply and add at once.
enum { FV_QUANTUM_STEP = 4 };

/// Inputs of the largest group.
enum { FV_LARGEST_GROUP = 256 };

/// Weights of W [outputs, inputs] as unsigned integers of 8 or 4 bits in groups of `group` inputs, packed into
/// panels of nr outputs:
///
///     w[j][k] = scale[j][g] · (q − zero) + minimum[j][g]              minimum = 0 where a matrix has none
///
/// zero is 8 for 4 bits and weight_limit + 1 for 8, where q − zero is −weight_limit … weight_limit: 127, or 63
/// for instruction sets that add two products in 16 bits.
///
///     panel:   group 0 │ group 1 │ …                       inputs beyond the last are q = zero
///     group:   scale[nr] │ minimum[nr], if any │ steps      float32
///     step, 8 bits:  q[j][k … k+4) for each output j                               4 · nr bytes
///     step, 4 bits:  byte (j, i) = q[j][k+i] | q[j][k+4+i] << 4, i < 4             4 · nr bytes, 8 inputs
///
/// Groups are multiples of 32 inputs.
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
    /// Room for two groups of float32 numbers.
    float *_Nonnull scratch;
};

/// Quantises and packs a range of panels, symmetrically (no minima). 8 bits: the largest weight of a group
/// becomes ±weight_limit. 4 bits: of several scales the one with the smallest squared error.
void fv_quantised_pack_panels(const struct fv_quantised_pack *_Nonnull pack);

/// Integers that somebody else quantised: w[j][k] = scale[j][k / group] · q[j][k] + bias[j][k / group], q unsigned.
///
/// words: the q of a row one after the other, the first in the lowest bits, whole little-endian 32-bit words per row;
/// scales and biases: float32 [outputs][inputs / group]. inputs is a multiple of the group.
struct fv_integers {
    const void *_Nonnull words;
    const float *_Nonnull scales;
    const float *_Nonnull biases;
};

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
    size_t first_panel;
    size_t panel_count;
    void *_Nonnull packed;
};

/// Packs a range of panels with minima, every integer as it is. 8 bits fit where the weight limit is 127.
void fv_integers_pack_panels(const struct fv_integers_pack *_Nonnull pack);

/// Packed panels back to numbers.
struct fv_quantised_unpack {
    const void *_Nonnull packed;
    int bits;
    size_t group;
    int has_minima;
    int is_gated;
    size_t outputs;
    size_t inputs;
    size_t panel_width;
    int weight_limit;
    /// Of a gated pair: 1 for the second matrix.
    int part;
    /// [outputs][inputs]
    float *_Nonnull target;
};

void fv_quantised_unpack(const struct fv_quantised_unpack *_Nonnull unpack);

#endif
