// The Hadamard transform of blocks of activations, before they are quantised (fv_quantised.h says why): log2(block)
// stages, each of which replaces two numbers that are 1, 2, 4, … apart by their sum and their difference. The same
// additions in the same order as fv_rotate in numbers.h, so the same bits.

// A block of `count` vectors, which is a constant after inlining.
INLINE void rotate_vectors(V *x, const size_t count) {
    FV_UNROLL for (size_t i = 0; i < count; i++) x[i] = v_rotate(x[i]);
    FV_UNROLL for (size_t apart = 1; apart < count; apart *= 2) {
        FV_UNROLL for (size_t i = 0; i < count; i++) {
            if (i & apart) continue;
            const V a = x[i], b = x[i + apart];
            x[i] = v_add(a, b);
            x[i + apart] = v_sub(a, b);
        }
    }
}

// Returns the sizes of the block's numbers, the largest for each lane.
INLINE VI rotate_block(const float *x, float *y, const size_t block, VI largest) {
    V values[FV_ROTATED_BLOCK / W];
    FV_UNROLL for (size_t i = 0; i < block / W; i++) values[i] = v_load(x + i * W);
    rotate_vectors(values, block / W);
    FV_UNROLL for (size_t i = 0; i < block / W; i++) {
        v_store(y + i * W, values[i]);
        largest = vi_max(largest, v_size_bits(values[i]));
    }
    return largest;
}

// y[count] = the rotated numbers of a group of `group` inputs, of which `count` are there; returns the largest sizes.
static VI rotate_group(const float *x, size_t count, size_t group, float *y) {
    VI largest = vi_zero();
    size_t k = 0;
    if (group >= FV_ROTATED_BLOCK) {
        for (; k + FV_ROTATED_BLOCK <= count; k += FV_ROTATED_BLOCK) {
            largest = rotate_block(x + k, y + k, FV_ROTATED_BLOCK, largest);
        }
    }
    for (; k + FV_ROTATED_BLOCK / 2 <= count; k += FV_ROTATED_BLOCK / 2) {
        largest = rotate_block(x + k, y + k, FV_ROTATED_BLOCK / 2, largest);
    }
    for (size_t n; k < count; k += n) {
        n = count - k < W ? count - k : W;
        const V left = v_load_part(x + k, n);
        v_store_part(y + k, left, n);
        largest = vi_max(largest, v_size_bits(left));
    }
    return largest;
}
