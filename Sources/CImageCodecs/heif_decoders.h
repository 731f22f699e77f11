// The decoders that libheif is given for HEVC and AV1.
#ifndef FV_HEIF_DECODERS_H
#define FV_HEIF_DECODERS_H

#include <cstdint>

namespace fastvlm {

// How many pixels may still be decoded on this thread. The size that a container names is a promise that its
// coded pictures need not keep: a file of one kilobyte can say 64x64 and hold a picture of 65,536 a side, and a
// grid can name the same large tile thousands of times. The decoders refuse before they allocate.
struct DecodingAllowance {
    bool applies = false;       // outside of a call of ours nothing is limited
    uint64_t largest = 0;       // pixels of one coded picture
    uint64_t pixels = 0;        // left for all of them
    uint64_t decoded = 0;
    uint64_t least_width = UINT64_MAX;   // of the pictures decoded
    uint64_t least_height = UINT64_MAX;
    bool exceeded = false;
    bool damaged = false;       // a decoder found damage that libheif would pass over
};

extern thread_local DecodingAllowance decoding_allowance;

// Registers the decoders with libheif, once per process, ahead of its own: those do not look at the allowance,
// and for tiles of a grid they pass over damage. False when this libheif does not take them.
bool register_heif_decoders();

}  // namespace fastvlm

#endif
