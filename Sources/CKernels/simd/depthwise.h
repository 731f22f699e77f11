// Depthwise convolution, NHWC: a tile is TILE outputs along x for one vector of channels.
//
//       channel vector c ─┐        x0 … x0+TILE-1                inputs x0·stride − pad … of k rows
//                         ▼        ┌──┬──┬──┬──┐                 ┌──┬──┬──┬──┬──┬──┬──┐
//     y [row][x][c..c+W)           │  │  │  │  │  in registers   │  │  │  │  │  │  │  │  loaded once per row
//                                  └──┴──┴──┴──┘                 └──┴──┴──┴──┴──┴──┴──┘  (stride 1)
//
// Each sum starts with the bias and runs over the taps row by row, in float32. Tiles that touch the border or
// a part of a vector run the same loops with checks per input column, which are hoisted out of the channels'
// way.

// Channels that pass through one band of rows before the next ones: k rows × their width stay in the
// second-level cache.
enum { DW_CHANNELS = 4 * W };

struct dw_place {
    size_t row, x0, channel, count; // count: outputs of this tile that exist
};

// One input vector; careful: the column may lie outside (zero), the channels may end within the vector.
INLINE V dw_input(const float *p, ptrdiff_t column, size_t width, size_t n, const int careful) {
    if (!careful) return v_load(p);
    if (column < 0 || column >= (ptrdiff_t)width) return v_zero();
    return n == W ? v_load(p) : v_load_part(p, n);
}

INLINE void dw_store(const struct fv_depthwise *d, float *y, V a, V b, size_t n) {
    if (d->activation != FV_NONE) {
        a = v_activate(a, d->activation);
        b = v_activate(b, d->activation);
    }
    if (d->multiplier == 1) {
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

// kernel, stride, multiplier, tile, careful and known (kernel is 3 or 7) are constants after inlining.
INLINE void dw_tile(
    const struct fv_depthwise *d, struct dw_place at, const size_t kernel, const size_t stride,
    const size_t multiplier, const size_t tile, const int careful, const int known) {
    const ptrdiff_t pad = (ptrdiff_t)(kernel / 2);
    const size_t left = d->channels - at.channel, n = left < W ? left : W;
    V sums[DW_TILE][2];
    FV_UNROLL for (size_t t = 0; t < tile; t++) {
        FV_UNROLL for (size_t q = 0; q < multiplier; q++) {
            sums[t][q] = v_load(d->bias + q * d->plane + at.channel);
        }
    }
    for (size_t ky = 0; ky < kernel; ky++) {
        const ptrdiff_t row = (ptrdiff_t)(at.row * stride + ky) - pad;
        if (row < 0 || row >= (ptrdiff_t)d->height) continue;
        const ptrdiff_t first = (ptrdiff_t)(at.x0 * stride) - pad, channels = (ptrdiff_t)d->channels;
        const float *x = d->x + (row * (ptrdiff_t)d->width + first) * channels + (ptrdiff_t)at.channel;
        const float *w = d->weights + ky * kernel * multiplier * d->plane + at.channel;
        if (known && stride == 1 && multiplier == 1) {
            // Slide: every input column goes into up to `kernel` outputs; the row's weights stay in
            // registers.
            V taps[7];
            FV_UNROLL for (size_t kx = 0; kx < kernel; kx++) taps[kx] = v_load(w + kx * d->plane);
            FV_UNROLL for (size_t j = 0; j < tile + kernel - 1; j++, x += channels) {
                const V value = dw_input(x, first + (ptrdiff_t)j, d->width, n, careful);
                FV_UNROLL for (size_t kx = 0; kx < kernel; kx++) {
                    if (j >= kx && j - kx < tile) sums[j - kx][0] = v_fma(taps[kx], value, sums[j - kx][0]);
                }
                // Keeps the compiler from reordering the columns so far that sums leave their registers.
                FV_UNROLL for (size_t t = 0; t < tile; t++) V_PIN(sums[t][0]);
            }
        } else {
            for (size_t kx = 0; kx < kernel; kx++, w += multiplier * d->plane, x += channels) {
                V taps[2];
                FV_UNROLL for (size_t q = 0; q < multiplier; q++) taps[q] = v_load(w + q * d->plane);
                const float *p = x;
                FV_UNROLL for (size_t t = 0; t < tile; t++, p += stride * d->channels) {
                    const V value = dw_input(p, first + (ptrdiff_t)(t * stride + kx), d->width, n, careful);
                    FV_UNROLL for (size_t q = 0; q < multiplier; q++) {
                        sums[t][q] = v_fma(taps[q], value, sums[t][q]);
                    }
                }
            }
        }
    }
    const size_t outputs = d->channels * multiplier;
    float *y = d->y + (at.row * d->out_width + at.x0) * outputs + at.channel * multiplier;
    FV_UNROLL for (size_t t = 0; t < tile; t++) {
        if (!careful || t < at.count) dw_store(d, y + t * outputs, sums[t][0], sums[t][multiplier - 1], n);
    }
}

typedef void dw_tile_function(const struct fv_depthwise *, struct dw_place);

#define FV_DW(k, s, m)                                                                                       \
    static void dw_inner_##k##_##s##_##m(const struct fv_depthwise *d, struct dw_place at) {                 \
        dw_tile(d, at, k, s, m, DW_TILE / m, 0, 1);                                                          \
    }                                                                                                        \
    static void dw_edge_##k##_##s##_##m(const struct fv_depthwise *d, struct dw_place at) {                  \
        dw_tile(d, at, k, s, m, DW_TILE / m, 1, 1);                                                          \
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
static void dw_any_1(const struct fv_depthwise *d, struct dw_place at) {
    dw_tile(d, at, d->kernel, d->stride, 1, DW_TILE, 1, 0);
}
static void dw_any_2(const struct fv_depthwise *d, struct dw_place at) {
    dw_tile(d, at, d->kernel, d->stride, 2, DW_TILE / 2, 1, 0);
}

// Asks for what the next output row reads newly and writes, a block of channels at a time: the hardware
// follows rows of whole lines, not pieces of them.
INLINE void prefetch_next_row(
    const struct fv_depthwise *d, size_t row, size_t x0, size_t tile, size_t channel, size_t end) {
    const size_t outputs = d->channels * d->multiplier, next = row * d->stride + d->kernel / 2 + 1;
    for (size_t t = 0; t < tile * d->stride && x0 * d->stride + t < d->width && next < d->height; t++) {
        const float *x = d->x + (next * d->width + x0 * d->stride + t) * d->channels;
        for (size_t c = channel; c < end; c += 16) __builtin_prefetch(x + c, 0, 2);
    }
    if (row + 1 == d->out_height) return;
    for (size_t t = 0; t < tile && x0 + t < d->out_width; t++) {
        const float *y = d->y + ((row + 1) * d->out_width + x0 + t) * outputs;
        for (size_t c = channel * d->multiplier; c < end * d->multiplier; c += 16) {
            __builtin_prefetch(y + c, 1, 2);
        }
    }
}

static void FV_NAME(depthwise)(const struct fv_depthwise *d) {
    static dw_tile_function *const inner[2][2][2] = {
        {{dw_inner_3_1_1, dw_inner_3_1_2}, {dw_inner_3_2_1, dw_inner_3_2_2}},
        {{dw_inner_7_1_1, dw_inner_7_1_2}, {dw_inner_7_2_1, dw_inner_7_2_2}},
    };
    static dw_tile_function *const edge[2][2][2] = {
        {{dw_edge_3_1_1, dw_edge_3_1_2}, {dw_edge_3_2_1, dw_edge_3_2_2}},
        {{dw_edge_7_1_1, dw_edge_7_1_2}, {dw_edge_7_2_1, dw_edge_7_2_2}},
    };
    const int known = d->kernel == 3 || d->kernel == 7;
    const size_t stride = d->stride - 1, multiplier = d->multiplier - 1;
    dw_tile_function *const any = multiplier ? dw_any_2 : dw_any_1;
    dw_tile_function *const fast = known ? inner[d->kernel == 7][stride][multiplier] : any;
    dw_tile_function *const careful = known ? edge[d->kernel == 7][stride][multiplier] : any;
    const size_t tile = DW_TILE / d->multiplier, pad = d->kernel / 2;
    for (size_t block = 0; block < d->channels; block += DW_CHANNELS) {
        const size_t end = d->channels - block < DW_CHANNELS ? d->channels : block + DW_CHANNELS;
        for (size_t row = d->first_row; row < d->first_row + d->row_count; row++) {
            for (size_t x0 = 0; x0 < d->out_width; x0 += tile) {
                const size_t left = d->out_width - x0, count = left < tile ? left : tile;
                const size_t last = (x0 + tile - 1) * d->stride + pad; // last column that a whole tile reads
                const int inside = count == tile && x0 * d->stride >= pad && last < d->width;
                prefetch_next_row(d, row, x0, tile, block, end);
                for (size_t channel = block; channel < end; channel += W) {
                    const struct dw_place at = {row, x0, channel, count};
                    (inside && channel + W <= d->channels ? fast : careful)(d, at);
                }
            }
        }
    }
}
