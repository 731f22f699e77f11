// Packing of linear weights at load. The layout is private to this target and to Tensors.
#ifndef FV_PACK_H
#define FV_PACK_H

#include <stddef.h>

#include "fv_kernels.h"

enum fv_type { FV_FLOAT32 = 0, FV_BFLOAT16 = 1, FV_FLOAT16 = 2 };

/// Packs a range of panels of W [outputs, inputs].
///
/// float32 (one panel, nr outputs wide):        bfloat16 (inputs in pairs, the last one padded with 0):
///
///     k=0 | W[0][0] W[1][0] … W[nr-1][0] |        k=0,1 | W[0][0] W[0][1]  W[1][0] W[1][1] … |
///     k=1 | W[0][1] W[1][1] … W[nr-1][1] |        k=2,3 | W[0][2] W[0][3]  W[1][2] W[1][3] … |
///     …                                           …
///
/// so that a vector register of 32-bit words holds, for neighbouring outputs, either one float32 weight or
/// the bfloat16 weights of inputs k (low half) and k+1 (high half): what `vdpbf16ps` wants, and what a shift
/// and a mask widen to two float32 vectors. Outputs beyond the last are zero.
///
/// A gated matrix holds in panel p nr/2 outputs of `source` (gate) and then the same nr/2 of `second` (up).
struct fv_pack {
    const void *_Nonnull source;
    /// Null, or the `up` matrix of a gated pair.
    const void *_Nullable second;
    enum fv_type source_type;
    enum fv_type packed_type;
    size_t outputs;
    size_t inputs;
    const struct fv_kernels *_Nonnull kernels;
    size_t first_panel;
    size_t panel_count;
    /// Start of panel 0.
    void *_Nonnull packed;
};

/// What packing saw of a matrix.
struct fv_seen {
    /// 1 where a number is NaN or infinite.
    size_t not_finite;
    /// One more than the last output that has a number other than 0; 0 where none has.
    size_t filled;
};

/// Bytes of one panel.
size_t fv_packed_panel_bytes(enum fv_type packed_type, size_t inputs, size_t nr);
/// Adds what it sees of `source` and `second` to seen[0] and seen[1].
void fv_pack_panels(const struct fv_pack *_Nonnull pack, struct fv_seen *_Nonnull seen);

/// The same of numbers that are not packed: [outputs][inputs].
void fv_look_at(
    const struct fv_kernels *_Nonnull kernels, const void *_Nonnull numbers, enum fv_type type, size_t outputs,
    size_t inputs, struct fv_seen *_Nonnull seen);

/// Converts `count` numbers between float32, bfloat16 (round to nearest even) and float16 (source only).
/// Source and destination may be unaligned.
void fv_convert(
    const void *_Nonnull source, enum fv_type source_type, void *_Nonnull target, enum fv_type target_type,
    size_t count);

#endif
