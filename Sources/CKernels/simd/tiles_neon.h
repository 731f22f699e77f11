// The micro-kernels of tiles.h for NEON, which multiplies a register of weights by one lane of another: four inputs of
// a row come with one load, and each of their lanes meets the weights of its own input. The order of every sum is
// that of tiles.h.

// sums += lane `lane` of each row's inputs · NR weights.
#define FV_LANE(lane, weights)                                                                               \
    FV_UNROLL for (size_t part = 0; part < 4; part++) {                                                      \
        const float32x4_t w = weights(part);                                                                 \
        FV_UNROLL for (size_t i = 0; i < mr; i++) {                                                          \
            float32x4_t *sum = &sums[i][part / 2].val[part % 2];                                             \
            *sum = vfmaq_laneq_f32(*sum, w, x[i], lane);                                                     \
        }                                                                                                    \
    }

INLINE void tile_f32(
    const size_t mr, size_t k, const float *a, size_t a_stride, const float *b, float *c, size_t c_stride,
    int accumulate) {
    FV_TILE_BEGIN(mr)
    size_t j = 0;
    float32x4_t x[MR];
#define FV_WEIGHTS_F32(part) vld1q_f32(b + 4 * part)
    for (; j + 4 <= k; j += 4) {
        FV_UNROLL for (size_t i = 0; i < mr; i++) x[i] = vld1q_f32(a + i * a_stride + j);
        FV_LANE(0, FV_WEIGHTS_F32)
        b += NR;
        FV_LANE(1, FV_WEIGHTS_F32)
        b += NR;
        FV_LANE(2, FV_WEIGHTS_F32)
        b += NR;
        FV_LANE(3, FV_WEIGHTS_F32)
        b += NR;
    }
    for (; j < k; j++, b += NR) {
        FV_UNROLL for (size_t i = 0; i < mr; i++) x[i] = vdupq_n_f32(a[i * a_stride + j]);
        FV_LANE(0, FV_WEIGHTS_F32)
    }
#undef FV_WEIGHTS_F32
    FV_TILE_END(mr)
}

// bfloat16 weights, widened in registers.
INLINE void tile_bf16(
    const size_t mr, size_t k, const float *a, size_t a_stride, const uint16_t *b, float *c, size_t c_stride,
    int accumulate) {
    FV_TILE_BEGIN(mr)
    size_t j = 0;
    float32x4_t x[MR];
#define FV_WORDS(part) vreinterpretq_s32_u16(vld1q_u16(b + 8 * part))
#define FV_EVEN(part) low_half(FV_WORDS(part))
#define FV_ODD(part) high_half(FV_WORDS(part))
    for (; j + 4 <= k; j += 4) {
        FV_UNROLL for (size_t i = 0; i < mr; i++) x[i] = vld1q_f32(a + i * a_stride + j);
        FV_LANE(0, FV_EVEN)
        FV_NO_LOAD_AHEAD;
        FV_LANE(1, FV_ODD)
        b += 2 * NR;
        FV_NO_LOAD_AHEAD;
        FV_LANE(2, FV_EVEN)
        FV_NO_LOAD_AHEAD;
        FV_LANE(3, FV_ODD)
        b += 2 * NR;
    }
    for (; j < k; j++) {
        FV_UNROLL for (size_t i = 0; i < mr; i++) x[i] = vdupq_n_f32(a[i * a_stride + j]);
        if (j % 2 == 0) {
            FV_LANE(0, FV_EVEN)
        } else {
            FV_LANE(0, FV_ODD)
            b += 2 * NR;
        }
    }
#undef FV_WORDS
#undef FV_EVEN
#undef FV_ODD
    FV_TILE_END(mr)
}

#undef FV_LANE
