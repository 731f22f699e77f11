// bfloat16 products for NEON. A register of sums holds two rows × two outputs, one of inputs two rows × four, one of
// weights two outputs × four: that is what BFMMLA multiplies.
//
//     words of a panel, inputs k,k+1:    o0 o1 o2 o3   ┐ interleaved:   o0: k…k+3, o1: k…k+3
//                  and k+2,k+3:          o0 o1 o2 o3   ┘                o2: k…k+3, o3: k…k+3

INLINE float32x4_t matrix_product(float32x4_t sum, uint16x8_t a, uint16x8_t b) {
    return vbfmmlaq_f32(sum, vreinterpretq_bf16_u16(a), vreinterpretq_bf16_u16(b));
}

// For the ceiling of peak.h: how many multiplications, and any registers.
#define PAIR_PRODUCTS (4 * W)
INLINE V v_dot_pairs(V sum, VI a, VI b) {
    FV_UNROLL for (size_t half = 0; half < 2; half++) {
        sum.val[half] = matrix_product(
            sum.val[half], vreinterpretq_u16_s32(a.val[half]), vreinterpretq_u16_s32(b.val[half]));
    }
    return sum;
}

INLINE void v_store_rounded(uint16_t *p, V x) {
    const bfloat16x8_t low = vcvtq_low_bf16_f32(x.val[0]);
    vst1q_u16(p, vreinterpretq_u16_bf16(vcvtq_high_bf16_f32(low, x.val[1])));
}

// blocks += products of four inputs; second: words of the next two inputs, or zeros.
#define FV_FOUR_INPUTS(second)                                                                               \
    FV_UNROLL for (size_t part = 0; part < 4; part++) {                                                      \
        FV_NO_LOAD_AHEAD;                                                                                    \
        const uint32x4_t even = vreinterpretq_u32_u16(vld1q_u16(b + 8 * part)), odd = second;                \
        const uint16x8_t w0 = vreinterpretq_u16_u32(vzip1q_u32(even, odd));                                  \
        const uint16x8_t w1 = vreinterpretq_u16_u32(vzip2q_u32(even, odd));                                  \
        FV_UNROLL for (size_t p = 0; p < pairs; p++) {                                                       \
            blocks[p][2 * part] = matrix_product(blocks[p][2 * part], x[p], w0);                             \
            blocks[p][2 * part + 1] = matrix_product(blocks[p][2 * part + 1], x[p], w1);                     \
        }                                                                                                    \
    }

INLINE void tile_dpbf16(
    const size_t mr, size_t k, const uint16_t *a, size_t a_stride, const uint16_t *b, float *c, size_t c_stride,
    int accumulate) {
    const size_t pairs = (mr + 1) / 2;
    float32x4_t blocks[MR / 2][8];
    uint16x8_t x[MR / 2];
    FV_UNROLL for (size_t p = 0; p < pairs; p++) {
        const float *first = c + 2 * p * c_stride, *second = 2 * p + 1 < mr ? first + c_stride : first;
        FV_UNROLL for (size_t n = 0; n < 8; n++) {
            blocks[p][n] = accumulate ? vcombine_f32(vld1_f32(first + 2 * n), vld1_f32(second + 2 * n))
                                      : vdupq_n_f32(0);
        }
    }
    size_t j = 0;
    for (; j + 4 <= k; j += 4, b += 4 * NR) {
        FV_UNROLL for (size_t p = 0; p < pairs; p++) {
            // Without a second row the first one stands in for it; its sums are not stored.
            const uint16_t *row = a + 2 * p * a_stride + j;
            x[p] = vcombine_u16(vld1_u16(row), vld1_u16(2 * p + 1 < mr ? row + a_stride : row));
        }
        FV_FOUR_INPUTS(vreinterpretq_u32_u16(vld1q_u16(b + 2 * NR + 8 * part)))
    }
    for (; j < k; j += 2, b += 2 * NR) {
        FV_UNROLL for (size_t p = 0; p < pairs; p++) {
            const uint16_t *row = a + 2 * p * a_stride + j;
            uint64_t first = 0, second = 0;
            __builtin_memcpy(&first, row, 4);
            __builtin_memcpy(&second, 2 * p + 1 < mr ? row + a_stride : row, 4);
            x[p] = vcombine_u16(vcreate_u16(first), vcreate_u16(second));
        }
        FV_FOUR_INPUTS(vdupq_n_u32(0))
    }
    FV_UNROLL for (size_t i = 0; i < mr; i++) {
        FV_UNROLL for (size_t n = 0; n < 8; n++) {
            const float32x4_t block = blocks[i / 2][n];
            vst1_f32(c + i * c_stride + 2 * n, i % 2 ? vget_high_f32(block) : vget_low_f32(block));
        }
    }
}

#undef FV_FOUR_INPUTS
