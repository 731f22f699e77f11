// Integer weights and activations: layouts and packing.
#ifndef FV_QUANTISED_H
#define FV_QUANTISED_H

#include <stddef.h>
#include <stdint.h>

#include "fv_pack.h"

/// Weights of W [outputs, inputs] as unsigned integers of 8 or 4 bits in groups of `group` inputs, packed into
/// panels of nr outputs:
///
///     w[j][k] = scale[j][g] · (q − 2^(bits−1)) + minimum[j][g]         minimum = 0 where a matrix has none
///
///     panel:   group 0 │ group 1 │ …                       inputs beyond the last are q = 2^(bits−1)
///     group:   scale[nr] │ minimum[nr], if any │ steps      float32
///     step, 8 bits:  q[j][k … k+step) for each output j                            nr · step bytes
///     step, 4 bits:  byte (j, i) = q[j][k+i] | q[j][k+step+i] << 4, i < step       nr · step bytes, 2·step inputs
///
/// `step` is 2 or 4, what one 32-bit lane of the instruction set multiplies. Groups are multiples of 32 inputs.
/// Bytes that the first `inputs` inputs of a panel take: whole groups, or all inputs.
size_t fv_quantised_panel_bytes(
    size_t inputs, size_t group, int bits, int has_minima, size_t nr, size_t step);

struct fv_quantised_pack {
    const void *_Nonnull source;
    /// Null, or the `up` matrix of a gated pair.
    const void *_Nullable second;
    enum fv_type source_type;
    int bits;
    size_t group;
    size_t outputs;
    size_t inputs;
    size_t nr;
    size_t step;
    size_t first_panel;
    size_t panel_count;
    void *_Nonnull packed;
    /// Room for two groups of float32 numbers.
    float *_Nonnull scratch;
};

/// Quantises and packs a range of panels, symmetrically (no minima). 8 bits: the largest weight of a group
/// becomes ±127. 4 bits: of several scales the one with the smallest squared error.
void fv_quantised_pack_panels(const struct fv_quantised_pack *_Nonnull pack);

#endif
