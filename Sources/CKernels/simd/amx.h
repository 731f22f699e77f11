// Products with AMX tiles: eight registers of 16 rows × 64 bytes, and an instruction that multiplies two of them into a
// third. Packed panels are what it wants as its second factor: a step of inputs (a pair of bfloat16 numbers, four bytes)
// of 16 outputs is a row of a tile, and a panel of 32 outputs two such rows beside each other.
//
//     tile 4 │ 16 rows × 32 (64) inputs     tile 6, tile 7: the same inputs × outputs 0–15, 16–31 of a panel
//     tile 5 │ the next 16 rows             tiles 0, 1 and 2, 3: their sums
//
// Sums of bfloat16 products: of each 32 inputs the even and the odd ones are added up apart, then both to the sum, all
// rounded to float32, with numbers below 2^-126 taken for 0: not the same bits as `vdpbf16ps`. So a single row goes by
// tiles too: it has the same bits as among others, and 16 cycles for each kilobyte of weights are a fraction of what
// reading them takes. Integers are exact, and the same in every way.
//
// Every call configures the tiles and gives them back: they are state of the thread, and a thread that holds them costs
// more to switch. All shapes are full; a rest of inputs is copied beside zeros, rows beyond the last are not used.
//
// What tiles leave in memory costs as much as the products: on an Emerald Rapids a group of 128 inputs takes 128
// cycles to multiply, and its 64 vectors of sums as many again to become float32. Doing both at once was tried, and a few
// groups at a time: a processor has no more than one vector unit left while tiles multiply, and nothing was gained.

enum {
    // Rows and bytes of a tile.
    TILE_ROWS = 16,
    TILE_BYTES = 64,
};

#define FV_AMX(operation) FV_JOIN(operation, amx)

INLINE void begin_tiles(void) {
    // As LDTILECFG reads it: palette 1, then bytes per row and rows of each of the 8 tiles.
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } shape = {.palette = 1};
    for (size_t i = 0; i < 8; i++) shape.bytes[i] = TILE_BYTES, shape.rows[i] = TILE_ROWS;
    _tile_loadconfig(&shape);
}
INLINE void end_tiles(void) { _tile_release(); }

// The weights of one tile step of a panel, or the last `rows` steps beside zeros.
INLINE const char *whole_weights(const char *b, size_t rows, char *padded) {
    if (rows >= TILE_ROWS) return b;
    memset(padded, 0, TILE_ROWS * NR * 4);
    memcpy(padded, b, rows * NR * 4);
    return padded;
}

#define FV_START_SUMS(START, c, stride, two)                                                                 \
    START(0, c, stride);                                                                                     \
    START(1, (c) + W, stride);                                                                               \
    if (two) {                                                                                               \
        START(2, (c) + (stride) / 4 * TILE_ROWS, stride);                                                    \
        START(3, (c) + (stride) / 4 * TILE_ROWS + W, stride);                                                \
    }
#define FV_ZERO(tile, c, stride) _tile_zero(tile)
// sums += a · b; a: rows `stride` bytes apart.
#define FV_MULTIPLY(PRODUCT, a, stride, b, two)                                                              \
    _tile_loadd(6, b, NR * 4);                                                                               \
    _tile_loadd(7, (b) + TILE_BYTES, NR * 4);                                                                \
    _tile_loadd(4, a, stride);                                                                               \
    PRODUCT(0, 4, 6);                                                                                        \
    PRODUCT(1, 4, 7);                                                                                        \
    if (two) {                                                                                               \
        _tile_loadd(5, (a) + TILE_ROWS * (stride), stride);                                                  \
        PRODUCT(2, 5, 6);                                                                                    \
        PRODUCT(3, 5, 7);                                                                                    \
    }

// Up to 32 rows × one panel. Memory of a and c holds 16 or 32 rows whatever mr is, and a zeros up to a multiple of 32
// inputs.
static void tile_amx(
    size_t mr, size_t k, const uint16_t *a, size_t a_stride, const char *panel, float *c, size_t c_stride,
    int accumulate) {
    _Alignas(64) char padded[TILE_ROWS * NR * 4];
    const int two = mr > TILE_ROWS;
    const size_t stride = c_stride * 4;
    if (accumulate) {
        FV_START_SUMS(_tile_loadd, c, stride, two)
    } else {
        FV_START_SUMS(FV_ZERO, c, stride, two)
    }
    for (size_t j = 0; j < k; j += 2 * TILE_ROWS, panel += TILE_ROWS * NR * 4) {
        const char *b = whole_weights(panel, (k - j + 1) / 2, padded), *rows = (const char *)(a + j);
        // Few rows take less time than their weights do to come.
        if (!two) FV_UNROLL for (size_t i = 0; i < TILE_ROWS; i++) fetch_ahead(panel + i * 4 * NR);
        FV_MULTIPLY(_tile_dpbf16ps, rows, a_stride * 2, b, two)
    }
    FV_START_SUMS(_tile_stored, c, stride, two)
}

// c (+)= the sums of a group that tiles have left in memory: add_group for many rows, with the weights' scales in registers.
INLINE void add_tiles(
    const struct q_tile *t, const char *groups, size_t first, size_t count, const float *scale, const int32_t *sums,
    int adding) {
    const V s0 = v_load(scale), s1 = v_load(scale + W);
    const V m0 = t->has_minima ? v_load(scale + NR) : v_zero(), m1 = t->has_minima ? v_load(scale + NR + W) : v_zero();
    for (size_t row = first; row < first + count; row++, sums += NR) {
        const struct q_group of = *(const struct q_group *)(groups + row * t->pitch);
        const VI start = vi_set(-WEIGHT_ZERO * of.sum);
        const V factor = v_set(of.scale);
        float *c = t->c + row * NR;
        V y0 = adding ? v_load(c) : v_zero(), y1 = adding ? v_load(c + W) : v_zero();
        y0 = v_fma(v_floats(vi_add(v_load_words(sums), start)), v_mul(factor, s0), y0);
        y1 = v_fma(v_floats(vi_add(v_load_words(sums + W), start)), v_mul(factor, s1), y1);
        if (t->has_minima) {
            const V sum = v_set(of.scale * (float)of.sum);
            y0 = v_fma(sum, m0, y0);
            y1 = v_fma(sum, m1, y1);
        }
        v_store(c, y0);
        v_store(c + W, y1);
    }
}

// 16 or 32 rows from `row` on × one panel of 8-bit weights, in groups of whole tiles.
static void block_amx(const struct q_tile *t, size_t row, const int two) {
    _Alignas(64) int32_t sums[2 * TILE_ROWS * NR];
    _Alignas(64) char padded[TILE_ROWS * NR * 4];
    const char *b = t->panel, *groups = t->groups;
    for (size_t k = 0; k < t->inputs; k += t->group, groups += sizeof(struct q_group)) {
        const size_t count = t->inputs - k < t->group ? t->inputs - k : t->group;
        const float *scale = (const float *)b;
        b += t->has_minima ? 8 * NR : 4 * NR;
        FV_START_SUMS(FV_ZERO, sums, NR * 4, two)
        for (size_t done = 0; done < count; done += TILE_BYTES) {
            const size_t steps = (count - done + STEP - 1) / STEP;
            const char *weights = whole_weights(b, steps, padded), *a = t->a + row * t->pitch + k + done;
            FV_MULTIPLY(_tile_dpbsud, a, t->pitch, weights, two)
            b += (steps < TILE_ROWS ? steps : TILE_ROWS) * NR * 4;
        }
        FV_START_SUMS(_tile_stored, sums, NR * 4, two)
        add_tiles(t, groups, row, two ? 2 * TILE_ROWS : TILE_ROWS, scale, sums, t->accumulate || k > 0);
    }
}

// Rows in tiles as far as they fill some: beyond the last row there may be no memory.
static void tile_q8_amx(const struct q_tile *t) {
    size_t row = 0;
    while (t->rows - row >= TILE_ROWS) {
        const int two = t->rows - row >= 2 * TILE_ROWS;
        block_amx(t, row, two);
        row += two ? 2 * TILE_ROWS : TILE_ROWS;
    }
    while (row < t->rows) {
        struct q_tile rest = *t;
        rest.rows = t->rows - row < MR ? t->rows - row : MR;
        rest.a += row * t->pitch;
        rest.groups += row * t->pitch;
        rest.c += row * NR;
        tile_q8(&rest);
        row += rest.rows;
    }
}

#undef FV_START_SUMS
#undef FV_ZERO
#undef FV_MULTIPLY

// The loops of gemm.h over these tiles.
#define FV_WEIGHTS tiles
#define FV_TILE(mr, ...) tile_amx(mr, __VA_ARGS__)
#define FV_TILE_ROWS AMX_ROWS
#define FV_INPUTS_UNIT 32
#define FV_INPUT uint16_t
#define FV_INPUT_IS_BF16 1
#define FV_SUMS_STAY 1
#define FV_PANEL(k) (((k) + 1) / 2 * NR * 4)
#define finish_hidden_tiles finish_hidden_rounded
#include "gemm.h"

static void FV_AMX(gemm_bf16)(const struct fv_gemm *g) {
    begin_tiles();
    FV_NAME(gemm_tiles)(g);
    end_tiles();
}

static void FV_AMX(ffn_bf16)(const struct fv_ffn *f) {
    begin_tiles();
    FV_NAME(ffn_tiles)(f);
    end_tiles();
}

static void FV_AMX(stem_bf16)(const struct fv_stem *s) {
    begin_tiles();
    FV_NAME(stem_tiles)(s);
    end_tiles();
}

// Groups of 32 fill half a tile, and taking their sums apart would cost more than making them.
INLINE int suits_tiles(size_t rows, size_t group) { return rows >= TILE_ROWS && group % TILE_BYTES == 0; }

static void FV_AMX(gemm_q8)(const struct fv_gemm *g) {
    if (!suits_tiles(g->rows, g->group)) {
        FV_NAME(gemm_q8)(g);
        return;
    }
    begin_tiles();
    gemm_quantised(g, 8, tile_q8_amx, AMX_ROWS);
    end_tiles();
}

static void FV_AMX(ffn_q8)(const struct fv_ffn *f) {
    if (!suits_tiles(f->rows, f->group)) {
        FV_NAME(ffn_q8)(f);
        return;
    }
    begin_tiles();
    ffn_quantised(f, tile_q8_amx, AMX_ROWS);
    end_tiles();
}

// Ceilings, as in peak.h: four independent sums.
#define FV_PEAK_TILES(NAME, PRODUCT, INPUTS)                                                                 \
    static double NAME(size_t rounds) {                                                                      \
        begin_tiles();                                                                                       \
        _tile_zero(0), _tile_zero(1), _tile_zero(2), _tile_zero(3);                                          \
        _tile_zero(4), _tile_zero(5), _tile_zero(6), _tile_zero(7);                                          \
        for (size_t round = 0; round < rounds; round++) {                                                    \
            PRODUCT(0, 4, 6);                                                                                \
            PRODUCT(1, 4, 7);                                                                                \
            PRODUCT(2, 5, 6);                                                                                \
            PRODUCT(3, 5, 7);                                                                                \
        }                                                                                                    \
        end_tiles();                                                                                         \
        return 2.0 * 4 * TILE_ROWS * W * (INPUTS) * (double)rounds;                                          \
    }
FV_PEAK_TILES(FV_AMX(peak_bf16), _tile_dpbf16ps, 32)
FV_PEAK_TILES(FV_AMX(peak_q8), _tile_dpbsud, 64)
#undef FV_PEAK_TILES
