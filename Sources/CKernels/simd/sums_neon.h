// Sums of one group of integers for NEON with the dot product of bytes (SDOT), and with their matrix product (SMMLA)
// where there is one. All sums are exact, so both give the same.

// sums += lane `lane` of each row's inputs (four bytes) · the weights of one step.
#define FV_LANE(lane, weights)                                                                               \
    FV_UNROLL for (size_t i = 0; i < mr; i++) {                                                              \
        int32x4_t *sum = &sums[i][part / 2].val[part % 2];                                                   \
        *sum = vdotq_laneq_s32(*sum, weights, x[i], lane);                                                   \
    }
// Steps `first` and `second` of the inputs in x, for 4 of the outputs at a time.
#define FV_TWO_STEPS(first, second)                                                                          \
    FV_UNROLL for (size_t part = 0; part < 4; part++) {                                                      \
        int8x16_t low, high;                                                                                 \
        load_steps(b + 16 * part, bits, &low, &high);                                                        \
        FV_LANE(first, low)                                                                                  \
        FV_LANE(second, high)                                                                                \
    }                                                                                                        \
    b += bits == 8 ? 2 * NR * STEP : NR * STEP;

// The weights of two steps for four outputs.
INLINE void load_steps(const char *b, const int bits, int8x16_t *low, int8x16_t *high) {
    const uint8x16_t bytes = vld1q_u8((const uint8_t *)b);
    if (bits == 8) {
        *low = vreinterpretq_s8_u8(bytes);
        *high = vld1q_s8((const int8_t *)b + NR * STEP);
    } else {
        *low = vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(15)));
        *high = vreinterpretq_s8_u8(vshrq_n_u8(bytes, 4));
    }
}

INLINE void dot_sums(
    VI sums[MR][2], const char *a, size_t pitch, const char *b, size_t count, const int bits, const size_t mr) {
    int8x16_t x[MR];
    size_t done = 0;
    for (; done + 4 * STEP <= count; done += 4 * STEP) {
        FV_UNROLL for (size_t i = 0; i < mr; i++) x[i] = vld1q_s8((const int8_t *)a + i * pitch + done);
        FV_TWO_STEPS(0, 1)
        FV_TWO_STEPS(2, 3)
    }
    // What is left are whole steps; the inputs after them are zeros, but there may be no weights.
    for (; done < count; done += 2 * STEP) {
        FV_UNROLL for (size_t i = 0; i < mr; i++) {
            const int8x8_t eight = vld1_s8((const int8_t *)a + i * pitch + done);
            x[i] = vcombine_s8(eight, eight);
        }
        if (bits == 8 && done + STEP >= count) {
            FV_UNROLL for (size_t part = 0; part < 4; part++) {
                const int8x16_t w = vld1q_s8((const int8_t *)b + 16 * part);
                FV_LANE(0, w)
            }
        } else {
            FV_TWO_STEPS(0, 1)
        }
    }
}

#undef FV_TWO_STEPS
#undef FV_LANE

#if FV_HAS_I8MM
// A register of sums holds two rows × two outputs, one of inputs two rows × eight, one of weights two outputs × eight:
// that is what SMMLA multiplies. Interleaving the words of two steps brings an output's eight weights together.
INLINE void matrix_sums(
    VI sums[MR][2], const char *a, size_t pitch, const char *b, size_t count, const int bits, const size_t mr) {
    const size_t pairs = (mr + 1) / 2;
    int32x4_t blocks[MR / 2][8];
    FV_UNROLL for (size_t p = 0; p < pairs; p++) {
        FV_UNROLL for (size_t n = 0; n < 8; n++) blocks[p][n] = vdupq_n_s32(0);
    }
    for (size_t done = 0; done < count; done += 2 * STEP) {
        const int half = bits == 8 && done + STEP >= count; // one step is left
        int8x16_t x[MR / 2];
        FV_UNROLL for (size_t p = 0; p < pairs; p++) {
            // Without a second row the first one stands in for it; its sums are not read.
            const int8_t *row = (const int8_t *)a + 2 * p * pitch + done;
            x[p] = vcombine_s8(vld1_s8(row), vld1_s8(2 * p + 1 < mr ? row + pitch : row));
        }
        FV_UNROLL for (size_t part = 0; part < 4; part++) {
            FV_NO_LOAD_AHEAD;
            int8x16_t low, high;
            if (half) {
                low = vld1q_s8((const int8_t *)b + 16 * part);
                high = vdupq_n_s8(0);
            } else {
                load_steps(b + 16 * part, bits, &low, &high);
            }
            const int32x4_t first = vreinterpretq_s32_s8(low), second = vreinterpretq_s32_s8(high);
            const int8x16_t w0 = vreinterpretq_s8_s32(vzip1q_s32(first, second));
            const int8x16_t w1 = vreinterpretq_s8_s32(vzip2q_s32(first, second));
            FV_UNROLL for (size_t p = 0; p < pairs; p++) {
                blocks[p][2 * part] = vmmlaq_s32(blocks[p][2 * part], x[p], w0);
                blocks[p][2 * part + 1] = vmmlaq_s32(blocks[p][2 * part + 1], x[p], w1);
            }
        }
        b += bits == 8 ? 2 * NR * STEP : NR * STEP;
    }
    FV_UNROLL for (size_t i = 0; i < mr; i++) {
        FV_UNROLL for (size_t part = 0; part < 4; part++) {
            const int64x2_t left = vreinterpretq_s64_s32(blocks[i / 2][2 * part]);
            const int64x2_t right = vreinterpretq_s64_s32(blocks[i / 2][2 * part + 1]);
            int32x4_t *sum = &sums[i][part / 2].val[part % 2];
            *sum = vaddq_s32(
                *sum, vreinterpretq_s32_s64(i % 2 ? vzip2q_s64(left, right) : vzip1q_s64(left, right)));
        }
    }
}
#endif

#if FV_HAS_I8MM
// For the ceiling of peak.h.
INLINE VI vi_matrix_product(VI sum, VI a, VI b) {
    FV_UNROLL for (size_t half = 0; half < 2; half++) {
        sum.val[half] =
            vmmlaq_s32(sum.val[half], vreinterpretq_s8_s32(a.val[half]), vreinterpretq_s8_s32(b.val[half]));
    }
    return sum;
}
#endif

// As in quantised.h.
INLINE void group_sums(
    VI sums[MR][2], const char *a, size_t pitch, const char *b, size_t count, const int bits, const size_t mr) {
#if FV_HAS_I8MM
    if (mr > 1) {
        matrix_sums(sums, a, pitch, b, count, bits, mr);
        return;
    }
#endif
    dot_sums(sums, a, pitch, b, count, bits, mr);
}
