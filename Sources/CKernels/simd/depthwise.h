// Depthwise convolution, NHWC, in strips: up to DW_STRIP outputs along x of 16 channels, one output row after the
// other.
//
//     x [H][W][C] ──copy──▶ ring of k input rows, 16 channels side by side, in the first-level cache
//                           ┌────────────────────────────┐
//                           │ column 0 │ column 1 │ …    │  zeros where the strip sticks out of the map
//                           └────────────────────────────┘
//                                  ▼
//     y [row][x0 … x0+T)[c … c+W)   in registers: T outputs × the multiplier
//
// Copying costs one load and one store per input and strip, and spares the k² reads of each input what they would
// meet in place: borders, and columns whose distance is a multiple of a large power of two, so that they fall into the
// same few sets of the cache.
// Each sum starts with the bias and runs over the taps row by row, in float32.

// Channels of a strip: a cache line of inputs. Weights have planes of multiples of 16.
enum { DW_LANES = 16 };

struct dw_strip {
    const struct fv_depthwise *d;
    size_t channel, x0;
    size_t lanes;   // channels that exist, at most DW_LANES
    size_t count;   // outputs along x that exist, at most DW_STRIP / stride
    size_t columns; // inputs along x, also for outputs of a last tile that do not exist
    float *ring;    // [kernel][columns][DW_LANES]; input row r − pad is row r mod kernel
    float *taps;    // [kernel · kernel][multiplier][DW_LANES], then the bias, [multiplier][DW_LANES]
};

// Input row `row` counted from −pad.
INLINE void dw_copy_row(const struct dw_strip *s, size_t row) {
    const struct fv_depthwise *d = s->d;
    const size_t pad = d->kernel / 2;
    float *target = s->ring + row % d->kernel * s->columns * DW_LANES;
    float *const end = target + s->columns * DW_LANES;
    if (row < pad || row - pad >= d->height) {
        for (; target < end; target += W) v_store(target, v_zero());
        return;
    }
    const size_t start = s->x0 * d->stride, missing = start < pad ? pad - start : 0;
    for (size_t i = 0; i < missing * DW_LANES; i += W) v_store(target + i, v_zero());
    target += missing * DW_LANES;
    const size_t first = start + missing - pad, left = d->width - first;
    const size_t wanted = s->columns - missing, there = wanted < left ? wanted : left;
    const float *x = d->x + ((row - pad) * d->width + first) * d->channels + s->channel;
    if (s->lanes == DW_LANES) {
        for (size_t i = 0; i < there; i++, x += d->channels, target += DW_LANES) {
            FV_UNROLL for (size_t v = 0; v < DW_LANES; v += W) v_store(target + v, v_load(x + v));
        }
    } else {
        for (size_t i = 0; i < there; i++, x += d->channels, target += DW_LANES) {
            for (size_t v = 0; v < DW_LANES; v += W) {
                const size_t n = s->lanes <= v ? 0 : s->lanes - v < W ? s->lanes - v : W;
                v_store(target + v, n ? v_load_part(x + v, n) : v_zero());
            }
        }
    }
    for (; target < end; target += W) v_store(target, v_zero());
}

// Asks for the input rows that the next output row reads newly, and for the lines that it writes: the hardware
// follows rows of whole lines, not pieces of them.
INLINE void dw_prefetch(const struct dw_strip *s, size_t row) {
    const struct fv_depthwise *d = s->d;
    const size_t outputs = d->channels * d->multiplier, pad = d->kernel / 2;
    const size_t start = s->x0 * d->stride, first = start < pad ? 0 : start - pad;
    const size_t end = first + s->columns < d->width ? first + s->columns : d->width;
    for (size_t i = 0; i < d->stride; i++) {
        const size_t input = row * d->stride + d->kernel - pad + i;
        if (input >= d->height) break;
        const float *x = d->x + (input * d->width + first) * d->channels + s->channel;
        for (size_t column = first; column < end; column++, x += d->channels) __builtin_prefetch(x, 0, 3);
    }
    const float *y = d->y + ((row + 1) * d->out_width + s->x0) * outputs + s->channel * d->multiplier;
    for (size_t t = 0; t < s->count; t++, y += outputs) {
        for (size_t line = 0; line < d->multiplier; line++) __builtin_prefetch(y + line * DW_LANES, 1, 3);
    }
}

INLINE void dw_activate(V *x, const size_t n, enum fv_activation activation) {
    if (activation == FV_NONE) return;
    if (activation != FV_GELU) {
        FV_UNROLL for (size_t i = 0; i < n; i++) x[i] = v_activate(x[i], activation);
        return;
    }
    FV_UNROLL for (size_t i = 0; i < n; i += 4) v_gelu_all(x + i, n - i < 4 ? n - i : 4);
}

// n channels of one output column: a, or a and b in turns with a multiplier of 2.
INLINE void dw_store(float *y, V a, V b, size_t n, const size_t multiplier) {
    if (multiplier == 1) {
        if (n == W) {
            v_store(y, a);
        } else {
            v_store_part(y, a, n);
        }
        return;
    }
    V low, high;
    v_interleave(a, b, &low, &high);
    if (2 * n >= W) {
        v_store(y, low);
        if (2 * n == 2 * W) {
            v_store(y + W, high);
        } else if (2 * n > W) {
            v_store_part(y + W, high, 2 * n - W);
        }
    } else {
        v_store_part(y, low, 2 * n);
    }
}

// One row of taps into a tile's sums. With stride 1 an input goes into up to `kernel` outputs: it is loaded once and
// the taps stay in registers. kernel and tile are constants here.
INLINE void dw_slide(const float *x, const float *w, V sums[DW_TILE], const size_t kernel, const size_t tile) {
    V taps[7];
    FV_UNROLL for (size_t kx = 0; kx < kernel; kx++) taps[kx] = v_load(w + kx * DW_LANES);
    FV_UNROLL for (size_t j = 0; j < tile + kernel - 1; j++) {
        const V value = v_load(x + j * DW_LANES);
        FV_UNROLL for (size_t kx = 0; kx < kernel; kx++) {
            if (j >= kx && j - kx < tile) sums[j - kx] = v_fma(taps[kx], value, sums[j - kx]);
        }
        // Keeps the compiler from reordering the columns so far that sums leave their registers.
        FV_UNROLL for (size_t t = 0; t < tile; t++) V_PIN(sums[t]);
    }
}

// One tap, for every output of the tile.
INLINE void dw_tap(
    const float *x, const float *w, V sums[DW_TILE], const size_t stride, const size_t multiplier, const size_t tile) {
    V taps[2];
    FV_UNROLL for (size_t q = 0; q < multiplier; q++) taps[q] = v_load(w + q * DW_LANES);
    FV_UNROLL for (size_t t = 0; t < tile; t++) {
        const V value = v_load(x + t * stride * DW_LANES);
        FV_UNROLL for (size_t q = 0; q < multiplier; q++) {
            sums[t * multiplier + q] = v_fma(taps[q], value, sums[t * multiplier + q]);
        }
    }
    FV_UNROLL for (size_t t = 0; t < tile * multiplier; t++) V_PIN(sums[t]);
}

// One output row of a strip. stride and multiplier are constants after inlining, and so is kernel where it is known.
INLINE void dw_row(
    const struct dw_strip *s, size_t row, const size_t kernel, const size_t stride, const size_t multiplier,
    const int known) {
    const struct fv_depthwise *d = s->d;
    const size_t tile = DW_TILE / multiplier, outputs = d->channels * multiplier;
    for (size_t t0 = 0; t0 < s->count; t0 += tile) {
        float *y = d->y + (row * d->out_width + s->x0 + t0) * outputs + s->channel * multiplier;
        const size_t count = s->count - t0 < tile ? s->count - t0 : tile;
        for (size_t v = 0; v < s->lanes; v += W) {
            const float *w = s->taps + v, *bias = w + kernel * kernel * multiplier * DW_LANES;
            V sums[DW_TILE];
            FV_UNROLL for (size_t t = 0; t < tile; t++) {
                FV_UNROLL for (size_t q = 0; q < multiplier; q++) {
                    sums[t * multiplier + q] = v_load(bias + q * DW_LANES);
                }
            }
            size_t slot = row * stride % kernel;
            for (size_t ky = 0; ky < kernel; ky++, w += kernel * multiplier * DW_LANES) {
                const float *x = s->ring + (slot * s->columns + t0 * stride) * DW_LANES + v;
                slot = slot + 1 == kernel ? 0 : slot + 1;
                if (known && stride == 1 && multiplier == 1) {
                    dw_slide(x, w, sums, kernel, tile);
                    continue;
                }
                for (size_t kx = 0; kx < kernel; kx++) {
                    dw_tap(x + kx * DW_LANES, w + kx * multiplier * DW_LANES, sums, stride, multiplier, tile);
                }
            }
            dw_activate(sums, tile * multiplier, d->activation);
            const size_t n = s->lanes - v < W ? s->lanes - v : W;
            FV_UNROLL for (size_t t = 0; t < tile; t++) {
                if (t < count) {
                    const V *sum = sums + t * multiplier;
                    dw_store(y + t * outputs + v * multiplier, sum[0], sum[multiplier - 1], n, multiplier);
                }
            }
        }
    }
}

typedef void dw_row_function(const struct dw_strip *, size_t row);

#define FV_DW(k, s, m)                                                                                       \
    static void dw_row_##k##_##s##_##m(const struct dw_strip *strip, size_t row) {                           \
        dw_row(strip, row, k, s, m, 1);                                                                      \
    }
FV_DW(3, 1, 1)
FV_DW(3, 1, 2)
FV_DW(3, 2, 1)
FV_DW(3, 2, 2)
FV_DW(7, 1, 1)
FV_DW(7, 1, 2)
FV_DW(7, 2, 1)
FV_DW(7, 2, 2)
#undef FV_DW

// Any other kernel, with its size read at run time.
#define FV_DW_ANY(s, m)                                                                                      \
    static void dw_row_any_##s##_##m(const struct dw_strip *strip, size_t row) {                             \
        dw_row(strip, row, strip->d->kernel, s, m, 0);                                                          \
    }
FV_DW_ANY(1, 1)
FV_DW_ANY(1, 2)
FV_DW_ANY(2, 1)
FV_DW_ANY(2, 2)
#undef FV_DW_ANY

// Taps and, after them, the bias of a strip's channels, beside each other.
INLINE void dw_copy_taps(const struct dw_strip *s) {
    const struct fv_depthwise *d = s->d;
    const size_t planes = d->kernel * d->kernel * d->multiplier;
    for (size_t p = 0; p < planes + d->multiplier; p++) {
        const float *from = p < planes ? d->weights + p * d->plane : d->bias + (p - planes) * d->plane;
        FV_UNROLL for (size_t v = 0; v < DW_LANES; v += W) {
            v_store(s->taps + p * DW_LANES + v, v_load(from + s->channel + v));
        }
    }
}

static void FV_NAME(depthwise)(const struct fv_depthwise *d) {
    static dw_row_function *const functions[3][2][2] = {
        {{dw_row_3_1_1, dw_row_3_1_2}, {dw_row_3_2_1, dw_row_3_2_2}},
        {{dw_row_7_1_1, dw_row_7_1_2}, {dw_row_7_2_1, dw_row_7_2_2}},
        {{dw_row_any_1_1, dw_row_any_1_2}, {dw_row_any_2_1, dw_row_any_2_2}},
    };
    const size_t which = d->kernel == 3 ? 0 : d->kernel == 7 ? 1 : 2;
    dw_row_function *const function = functions[which][d->stride - 1][d->multiplier - 1];
    // With stride 2 half as many outputs have as many inputs.
    const size_t tile = DW_TILE / d->multiplier, strip = DW_STRIP / d->stride;
    const size_t end_row = d->first_row + d->row_count, end = d->first_channel + d->channel_count;
    for (size_t channel = d->first_channel; channel < end; channel += DW_LANES) {
        struct dw_strip s = {.d = d, .channel = channel, .taps = d->scratch};
        s.lanes = end - channel < DW_LANES ? end - channel : DW_LANES;
        s.ring = s.taps + (d->kernel * d->kernel + 1) * d->multiplier * DW_LANES;
        dw_copy_taps(&s);
        for (s.x0 = 0; s.x0 < d->out_width; s.x0 += strip) {
            s.count = d->out_width - s.x0 < strip ? d->out_width - s.x0 : strip;
            s.columns = ((s.count + tile - 1) / tile * tile - 1) * d->stride + d->kernel;
            size_t next = d->first_row * d->stride; // input row to copy
            for (size_t row = d->first_row; row < end_row; row++) {
                for (; next < row * d->stride + d->kernel; next++) dw_copy_row(&s, next);
                if (row + 1 < end_row) dw_prefetch(&s, row);
                function(&s, row);
            }
        }
    }
}

static size_t FV_NAME(depthwise_scratch)(size_t kernel, size_t stride) {
    const size_t columns = (DW_STRIP / stride - 1) * stride + kernel;
    return (2 * (kernel * kernel + 1) + kernel * columns) * DW_LANES * 4;
}
