#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

uint64_t state;
int failures, checks;

float uniform(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (float)(state >> 40) * 0x1p-23f - 1;
}
size_t below(size_t n) { return (size_t)((uniform() + 1) / 2 * (float)n) % n; }

void *block(size_t bytes) {
    void *pointer = aligned_alloc(64, (bytes + 127) / 64 * 64);
    if (!pointer) abort();
    return pointer;
}

// Memory that ends where a page begins that nobody may read: what kernels read beyond it ends the program. A few blocks
// at a time.
enum { EDGE_BYTES = 16 << 20, EDGES = 12 };
static struct {
    char *end;
    int taken;
} edges[EDGES];

void *edge(size_t bytes) {
    size_t i = 0;
    while (i < EDGES && edges[i].taken) i++;
    if (i == EDGES || bytes > EDGE_BYTES) abort();
    if (!edges[i].end) {
        const size_t page = (size_t)sysconf(_SC_PAGESIZE);
        char *const base =
            mmap(0, EDGE_BYTES + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (base == MAP_FAILED || mprotect(base + EDGE_BYTES, page, PROT_NONE) != 0) abort();
        edges[i].end = base + EDGE_BYTES;
    }
    edges[i].taken = 1;
    return memset(edges[i].end - bytes, 0x7F, bytes);
}
void release(const void *pointer) {
    for (size_t i = 0; i < EDGES; i++) {
        if (!edges[i].end) continue;
        const char *const start = edges[i].end - EDGE_BYTES;
        if ((const char *)pointer >= start && (const char *)pointer <= edges[i].end) edges[i].taken = 0;
    }
}

// Padded with zeros as Tensors pads vectors.
float *numbers(size_t count, float scale) {
    float *p = block((count + 64) * 4);
    for (size_t i = 0; i < count; i++) p[i] = uniform() * scale;
    for (size_t i = count; i < count + 64; i++) p[i] = 0;
    return p;
}

// Not padded, as the rows of a matrix are not.
float *rows_of(size_t count, float scale) {
    float *p = edge(count * 4);
    for (size_t i = 0; i < count; i++) p[i] = uniform() * scale;
    return p;
}

void *keys_of(size_t count, int is_bf16) {
    float *x = rows_of(count, 1);
    if (!is_bf16) return x;
    void *rounded = edge(count * 2);
    fv_convert(x, FV_FLOAT32, rounded, FV_BFLOAT16, count);
    release(x);
    return rounded;
}

struct fv_blocks contiguous(const void *const *base, size_t stride) {
    return (struct fv_blocks){.bases = base, .stride = stride, .shift = 63};
}

static const uint32_t guard_bits = 0x7FC0BEEF;

// [rows, stride] between guard zones; filled with `start` or, where that is null, with NaN.
float *guarded(size_t count, const float *start) {
    float *p = (float *)block((count + 2 * GUARD) * 4) + GUARD;
    for (ptrdiff_t i = -GUARD; i < (ptrdiff_t)(count + GUARD); i++) memcpy(p + i, &guard_bits, 4);
    if (start) memcpy(p, start, count * 4);
    return p;
}
static int is_guard(const float *p) { return memcmp(p, &guard_bits, 4) == 0; }

void compare(
    const char *what, const float *got, const float *expected, size_t rows, size_t columns, size_t stride,
    double bound, int filled) {
    double difference = 0, total = 0;
    int intact = 1;
    for (ptrdiff_t i = -GUARD; i < (ptrdiff_t)(rows * stride + GUARD); i++) {
        const int inside = i >= 0 && i < (ptrdiff_t)(rows * stride) && (size_t)i % stride < columns;
        if (inside) {
            const double d = (double)got[i] - expected[i];
            difference += d * d, total += (double)expected[i] * expected[i];
        } else if (!(filled && i >= 0 && i < (ptrdiff_t)(rows * stride)) && !is_guard(got + i)) {
            intact = 0;
        }
    }
    const double error = total > 0 ? difference / total : difference;
    checks++;
    if (!(error <= bound) || !intact) {
        failures++;
        printf("FAIL %s: error %.3g (bound %.1g)%s\n", what, error, bound, intact ? "" : ", guard overwritten");
    }
}

size_t group;
int is_rotated;
int weight_limit;
int input_limit;

static void *packed_integers(
    const struct fv_kernels *t, const float *w, const float *second, size_t outputs, size_t inputs, int bits) {
    const size_t per = second ? t->panel_width / 2 : t->panel_width, panels = (outputs + per - 1) / per;
    float scratch[FV_PACK_SCRATCH];
    // The same integers for both: vectorised sums may choose another scale for 4 bits. Tests/TensorsTests checks that.
    static struct fv_kernels mixed;
    mixed = *t;
    mixed.quantise_weights = fv_kernels_scalar.quantise_weights;
    mixed.weight_limit = weight_limit;
    struct fv_quantised_pack pack = {
        .source = w, .second = second, .source_type = FV_FLOAT32, .bits = bits, .group = group,
        .outputs = outputs, .inputs = inputs, .kernels = &mixed,
        .panel_count = panels, .scratch = scratch,
    };
    pack.packed =
        edge(panels * fv_quantised_panel_bytes(inputs, group, bits, 0, t->panel_width));
    struct fv_seen seen[2] = {{0, 0}, {0, 0}};
    fv_quantised_pack_panels(&pack, seen);
    return pack.packed;
}

int bits_of(int type) { return type == INT8 || type == WIDE8 ? 8 : type == INT4 || type == WIDE4 ? 4 : 0; }
int is_wide(int type) { return type == WIDE8 || type == WIDE4; }

void *packed(
    const struct fv_kernels *t, const float *w, const float *second, size_t outputs, size_t inputs, int type) {
    if (bits_of(type)) return packed_integers(t, w, second, outputs, inputs, bits_of(type));
    const enum fv_type packed_type = type == FV_FLOAT32 ? FV_FLOAT32 : FV_BFLOAT16;
    const size_t per = second ? t->panel_width / 2 : t->panel_width, panels = (outputs + per - 1) / per;
    struct fv_pack pack = {
        .source = w, .second = second, .source_type = FV_FLOAT32, .packed_type = packed_type, .outputs = outputs,
        .inputs = inputs, .kernels = t, .panel_count = panels,
    };
    pack.packed = edge(panels * fv_packed_panel_bytes(packed_type, inputs, t->panel_width));
    struct fv_seen seen[2] = {{0, 0}, {0, 0}};
    fv_pack_panels(&pack, seen);
    return pack.packed;
}

int rounds_inputs(const struct fv_kernels *t) { return t->isa == FV_ISA_AVX512BF16 || t->isa == FV_ISA_AVX512AMX; }

double bound(const struct fv_kernels *t, int type, size_t count) {
    if (bits_of(type) && !is_wide(type)) return 1e-9; // the same integers
    // These round the inputs as well; few numbers may cancel with their bias.
    if (type == FV_BFLOAT16 && (rounds_inputs(t) || t->isa == FV_ISA_NEONBF16)) return count < 200 ? 2e-2 : 5e-4;
    return 1e-10;
}

size_t scratch_of(const struct fv_kernels *t, int type, size_t inputs) {
    return is_wide(type) ? t->widened_scratch() : t->gemm_scratch(inputs);
}

size_t pitch_of(const struct fv_kernels *t, int type, size_t inputs) {
    return is_wide(type) ? inputs * 4 : bits_of(type) ? t->quantised_pitch(inputs, group) : 0;
}

void convert_rows(const struct fv_kernels *t, int type, const struct fv_gemm *g, void *converted) {
    if (!bits_of(type)) return;
    const int limit = bits_of(type) == 8 ? input_limit : 127;
    const struct fv_quantise q = {g->a, g->a_stride, g->rows, g->inputs, group, is_rotated, limit, converted};
    if (!is_wide(type)) {
        t->quantise(&q);
    } else if (is_rotated) {
        t->rotate_rows(&q);
    } else {
        for (size_t row = 0; row < g->rows; row++) {
            memcpy((float *)converted + row * g->inputs, g->a + row * g->a_stride, g->inputs * 4);
        }
    }
}

void run_part(const struct fv_kernels *t, int type, struct fv_gemm part, void *converted) {
    part.group = group;
    if (is_wide(type)) {
        part.a = converted;
        part.a_stride = part.inputs;
    } else if (bits_of(type)) {
        part.quantised = converted;
    }
    switch (type) {
    case FV_FLOAT32: t->gemm_f32(&part); break;
    case FV_BFLOAT16: t->gemm_bf16(&part); break;
    case EXACT: t->gemm_exact_bf16(&part); break;
    case INT8: t->gemm_q8(&part); break;
    case INT4: t->gemm_q4(&part); break;
    case WIDE8: t->gemm_widened_q8(&part); break;
    case WIDE4: t->gemm_widened_q4(&part); break;
    }
}

void run_gemm(const struct fv_kernels *t, struct fv_gemm g, const float *w, const float *second, int type) {
    void *const panels = packed(t, w, second, g.outputs, g.inputs, type);
    const size_t per = second ? t->panel_width / 2 : t->panel_width, count = (g.outputs + per - 1) / per;
    g.panels = panels;
    g.scratch = block(scratch_of(t, type, g.inputs));
    const size_t pitch = pitch_of(t, type, g.inputs);
    char *const converted = pitch ? edge(g.rows * pitch) : 0;
    convert_rows(t, type, &g, converted);
    for (size_t row = 0; row < g.rows; row += t->row_block) {
        for (size_t panel = 0; panel < count; panel += t->panel_block) {
            struct fv_gemm part = g;
            part.a += row * g.a_stride;
            part.y += row * g.y_stride;
            part.rows = g.rows - row < t->row_block ? g.rows - row : t->row_block;
            part.first_panel = panel;
            part.panel_count = count - panel < t->panel_block ? count - panel : t->panel_block;
            run_part(t, type, part, converted ? converted + row * pitch : 0);
        }
    }
    release(converted);
    release(panels);
    free(g.scratch);
}
