// The tile instructions that amx.h uses, in plain C, for the test build that emulates instruction sets: no emulator at
// hand knows them. Written after the operation sections of Intel's Software Developer's Manual. A tile that is touched
// without a configuration ends the program, as it would on the processor.

#include <math.h>
#include <stdlib.h>

#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbf16ps
#undef _tile_dpbsud
#define _tile_loadconfig emulated_loadconfig
#define _tile_release emulated_release
#define _tile_loadd emulated_loadd
#define _tile_stored emulated_stored
#define _tile_zero emulated_zero
#define _tile_dpbf16ps emulated_dpbf16ps
#define _tile_dpbsud emulated_dpbsud

struct emulated_tile {
    size_t rows, bytes;
    char data[16][64];
};
static struct emulated_tile emulated_tiles[8];
static int emulated_ready;

static void emulated_loadconfig(const void *memory) {
    const uint8_t *shape = memory;
    if (shape[0] != 1 || shape[1] != 0) abort();
    memset(emulated_tiles, 0, sizeof emulated_tiles);
    for (size_t i = 0; i < 8; i++) {
        uint16_t bytes;
        memcpy(&bytes, shape + 16 + 2 * i, 2);
        if (bytes > 64 || shape[48 + i] > 16) abort();
        emulated_tiles[i].bytes = bytes, emulated_tiles[i].rows = shape[48 + i];
    }
    emulated_ready = 1;
}
static void emulated_release(void) { emulated_ready = 0; }

static struct emulated_tile *emulated_at(int tile) {
    if (!emulated_ready || tile < 0 || tile > 7) abort();
    return emulated_tiles + tile;
}
static void emulated_zero(int tile) {
    struct emulated_tile *t = emulated_at(tile);
    memset(t->data, 0, sizeof t->data);
}
static void emulated_loadd(int tile, const void *base, size_t stride) {
    struct emulated_tile *t = emulated_at(tile);
    memset(t->data, 0, sizeof t->data);
    for (size_t i = 0; i < t->rows; i++) memcpy(t->data[i], (const char *)base + i * stride, t->bytes);
}
static void emulated_stored(int tile, void *base, size_t stride) {
    const struct emulated_tile *t = emulated_at(tile);
    for (size_t i = 0; i < t->rows; i++) memcpy((char *)base + i * stride, t->data[i], t->bytes);
}

// Three different tiles whose shapes agree.
static void emulated_check(const struct emulated_tile *c, const struct emulated_tile *a, const struct emulated_tile *b) {
    if (c == a || c == b || a == b) abort();
    if (a->rows != c->rows || b->bytes != c->bytes || a->bytes != b->rows * 4) abort();
}

static float emulated_flush(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x; }
static float emulated_bf16(const char *row, size_t index) { return emulated_flush(fv_widen(fv_load16(row, index))); }

static void emulated_dpbf16ps(int sum, int left, int right) {
    struct emulated_tile *c = emulated_at(sum), *a = emulated_at(left), *b = emulated_at(right);
    emulated_check(c, a, b);
    for (size_t i = 0; i < c->rows; i++) {
        for (size_t n = 0; n < c->bytes / 4; n++) {
            float even = 0, odd = 0;
            for (size_t k = 0; k < a->bytes / 4; k++) {
                const char *x = a->data[i], *y = b->data[k];
                even = emulated_flush(fmaf(emulated_bf16(x, 2 * k), emulated_bf16(y, 2 * n), even));
                odd = emulated_flush(fmaf(emulated_bf16(x, 2 * k + 1), emulated_bf16(y, 2 * n + 1), odd));
            }
            const float before = emulated_flush(fv_load_float(c->data[i], n));
            const float after = emulated_flush(before + emulated_flush(even + odd));
            memcpy(c->data[i] + 4 * n, &after, 4);
        }
    }
}

// Signed bytes on the left, unsigned ones on the right.
static void emulated_dpbsud(int sum, int left, int right) {
    struct emulated_tile *c = emulated_at(sum), *a = emulated_at(left), *b = emulated_at(right);
    emulated_check(c, a, b);
    for (size_t i = 0; i < c->rows; i++) {
        for (size_t n = 0; n < c->bytes / 4; n++) {
            int32_t total;
            memcpy(&total, c->data[i] + 4 * n, 4);
            for (size_t k = 0; k < a->bytes; k++) {
                total += (int8_t)a->data[i][k] * (uint8_t)b->data[k / 4][4 * n + k % 4];
            }
            memcpy(c->data[i] + 4 * n, &total, 4);
        }
    }
}
