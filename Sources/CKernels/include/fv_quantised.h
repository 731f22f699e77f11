// Integer weights and activations: layouts and packing.
#ifndef FV_QUANTISED_H
#define FV_QUANTISED_H

#include <stddef.h>
#include <stdint.h>

#include "fv_kernels.h"
#include "fv_pack.h"

/// Inputs per 32-bit lane: what `vpdpbusd`, or `vpmaddubsw` with `vpmaddwd`, multiply and add at once.
enum { FV_QUANTUM_STEP = 4 };

/// Weights of W [outputs, inputs] as integers of 8 or 4 bits in groups of `group` inputs, packed into panels of nr
/// outputs:
///
///     w[j][k] = scale[j][g] · (q − zero) + minimum[j][g]              minimum = 0 where a matrix has none
///
/// zero is 8 for 4 bits and the table's weight_zero for 8, where q − zero is −weight_limit … weight_limit: 127, or
/// 63 for instruction sets that add two products with an unsigned factor in 16 bits. x86 multiplies unsigned
/// weights with signed activations (zero is weight_limit + 1), NEON signed ones with signed ones (zero is 0).
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

#endif
