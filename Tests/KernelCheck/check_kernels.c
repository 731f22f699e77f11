// Compares every kernel of a function table with the scalar reference, over odd shapes, strides and tails.
//
// The Swift tests do the same for what the processor can run. This program exists for what it cannot: built
// with FV_SIMDE=1 it holds the AVX-512 and AMX kernels, every instruction emulated; built for aarch64 it runs under
// qemu; see run.sh.
#include "support.h"

#include <stdio.h>
#include <stdlib.h>

static void check_gemm(const struct fv_kernels *t, size_t rows, size_t inputs, size_t outputs) {
    const size_t a_stride = inputs + below(3), y_stride = outputs + below(3);
    float *a = rows_of(rows * a_stride, 1), *w = numbers(outputs * inputs, 1), *up = numbers(outputs * inputs, 1);
    float *bias = numbers(outputs, 1), *scale = numbers(outputs, 1), *start = numbers(rows * y_stride, 1);
    for (int variant = 0; variant < 11; variant++) {
        struct fv_gemm g = {
            .a = a, .a_stride = a_stride, .rows = rows, .inputs = inputs, .outputs = outputs,
            .y_stride = y_stride, .bias = variant == 1 || variant > 5 ? 0 : bias, .epilogue = FV_STORE,
        };
        if (variant < 5 && variant > 0) g.activation = (enum fv_activation)(variant - 1);
        if (variant == 5 || variant == 6) g.epilogue = FV_ADD;
        if (variant == 5) g.scale = scale;
        if (variant == 7) g.epilogue = FV_GATED;
        if (variant == 8) g.activation = FV_COARSE_GELU;
        if (variant == 9) g.activation = FV_QUICK_GELU;
        if (variant == 10) g.activation = FV_TANH_GELU;
        static const int types[] = {FV_FLOAT32, FV_BFLOAT16, INT8, INT4, EXACT, WIDE8, WIDE4};
        group = (size_t)32 << below(4), is_rotated = (int)below(2);
        for (int index = 0; index < 7; index++) {
            const int type = types[index];
            const float *fill = g.epilogue == FV_ADD ? start : 0, *second = variant == 7 ? up : 0;
            float *expected = guarded(rows * y_stride, fill), *got = guarded(rows * y_stride, fill);
            g.y = expected;
            run_gemm(&fv_kernels_scalar, g, w, second, type);
            g.y = got;
            run_gemm(t, g, w, second, type);
            char what[128];
            snprintf(what, sizeof what, "gemm %zux%zu->%zu variant %d type %d", rows, inputs, outputs, variant, type);
            compare(what, got, expected, rows, outputs, y_stride, bound(t, type, rows * outputs), fill != 0);
            free(expected - GUARD), free(got - GUARD);
        }
    }
    release(a), free(w), free(up), free(bias), free(scale), free(start);
}

// Every integer as large as it may be, and all of one sign: where 16 bits take the sum of two products, they are full.
static void check_largest_integers(const struct fv_kernels *t, size_t rows, size_t inputs, size_t outputs) {
    float *a = rows_of(rows * inputs, 1), *w = numbers(outputs * inputs, 1);
    is_rotated = 0;
    for (int signs = 0; signs < 4; signs++) {
        for (size_t i = 0; i < rows * inputs; i++) a[i] = signs & 1 ? -1 : 1;
        // What packing rotates into ones; inputs are whole blocks.
        const size_t step = group < FV_ROTATED_BLOCK ? FV_ROTATED_BLOCK / 2 : FV_ROTATED_BLOCK;
        for (size_t i = 0; i < outputs * inputs; i++) w[i] = i % step ? 0 : signs & 2 ? -(float)step : (float)step;
        struct fv_gemm g = {
            .a = a, .a_stride = inputs, .rows = rows, .inputs = inputs, .outputs = outputs, .y_stride = outputs,
            .epilogue = FV_STORE,
        };
        for (int type = INT8; type <= INT4; type++) {
            float *expected = guarded(rows * outputs, 0), *got = guarded(rows * outputs, 0);
            for (size_t i = 0; i < rows * outputs; i++) {
                // With scales of 1/limit, or 1/8 in 4 bits, all of them are exact.
                expected[i] = (signs == 1 || signs == 2 ? -1.0f : 1.0f) * (float)inputs;
            }
            g.y = got;
            run_gemm(t, g, w, 0, type);
            char what[128];
            snprintf(what, sizeof what, "largest integers %zux%zu->%zu signs %d type %d", rows, inputs, outputs, signs, type);
            compare(what, got, expected, rows, outputs, outputs, 1e-9, 0);
            free(expected - GUARD), free(got - GUARD);
        }
    }
    release(a), free(w);
}

static void check_ffn(const struct fv_kernels *t, size_t rows, size_t inputs, size_t hidden, size_t outputs) {
    float *a = rows_of(rows * inputs, 1), *w1 = numbers(hidden * inputs, 0.3f), *w2 = numbers(outputs * hidden, 0.3f);
    float *b1 = numbers(hidden, 1), *b2 = numbers(outputs, 1), *scale = numbers(outputs, 1);
    float *start = numbers(rows * outputs, 1);
    static const int types[] = {FV_FLOAT32, FV_BFLOAT16, INT8};
    group = (size_t)32 << below(4), is_rotated = (int)below(2);
    for (int index = 0; index < 3; index++) {
        const int type = types[index];
        float *results[2];
        const struct fv_kernels *tables[2] = {&fv_kernels_scalar, t};
        for (int i = 0; i < 2; i++) {
            const struct fv_kernels *table = tables[i];
            results[i] = guarded(rows * outputs, start);
            const int integers = type == INT8;
            const size_t step = integers ? table->ffn_q8_rows(inputs, hidden, outputs, group)
                                         : table->ffn_rows(inputs, hidden, outputs);
            struct fv_ffn f = {
                .a_stride = inputs, .inputs = inputs, .hidden = hidden, .outputs = outputs, .expand_bias = b1,
                .project_bias = b2, .scale = scale, .y_stride = outputs,
                .expand = packed(table, w1, 0, hidden, inputs, type),
                .project = packed(table, w2, 0, outputs, hidden, type),
                .scratch = block(
                    integers ? table->ffn_q8_scratch(inputs, hidden, outputs, group)
                             : table->ffn_scratch(inputs, hidden, outputs)),
                .group = group, .is_rotated = is_rotated, .limit = input_limit,
            };
            for (size_t row = 0; row < rows; row += step) {
                f.a = a + row * inputs;
                f.y = results[i] + row * outputs;
                f.rows = rows - row < step ? rows - row : step;
                (integers ? table->ffn_q8 : type == FV_FLOAT32 ? table->ffn_f32 : table->ffn_bf16)(&f);
            }
            release(f.expand), release(f.project), free(f.scratch);
        }
        char what[128];
        snprintf(what, sizeof what, "ffn %zux%zu->%zu->%zu type %d", rows, inputs, hidden, outputs, type);
        // Where sums of groups differ in the last bit, a hidden number on the edge may become the next integer.
        double limit = bound(t, type, rows * outputs);
        if (type == INT8 && limit < 1e-5) limit = 1e-5;
        compare(what, results[1], results[0], rows, outputs, outputs, limit, 0);
        free(results[0] - GUARD), free(results[1] - GUARD);
    }
    release(a), free(w1), free(w2), free(b1), free(b2), free(scale), free(start);
}

static void check_depthwise(
    const struct fv_kernels *t, size_t height, size_t width, size_t channels, size_t kernel, size_t stride,
    size_t multiplier, enum fv_activation activation) {
    const size_t plane = (channels + 15) / 16 * 16, outputs = channels * multiplier;
    struct fv_depthwise d = {
        .height = height, .width = width, .channels = channels, .out_height = (height + stride - 1) / stride,
        .out_width = (width + stride - 1) / stride, .plane = plane, .kernel = kernel, .stride = stride,
        .multiplier = multiplier, .activation = activation,
    };
    float *x = guarded(height * width * channels, 0); // reads beyond it would be NaN
    for (size_t i = 0; i < height * width * channels; i++) x[i] = uniform();
    float *w = numbers(kernel * kernel * multiplier * plane, 1), *b = numbers(multiplier * plane, 1);
    d.x = x, d.weights = w, d.bias = b;
    const size_t positions = d.out_height * d.out_width;
    float *expected = guarded(positions * outputs, 0), *got = guarded(positions * outputs, 0);
    d.row_count = d.out_height, d.channel_count = channels, d.y = expected;
    fv_kernels_scalar.depthwise(&d);
    d.y = got, d.scratch = edge((t->depthwise_scratch(kernel, stride) + 63) / 64 * 64);
    // In two bands, the second one in two ranges of channels.
    d.row_count = d.out_height / 2;
    t->depthwise(&d);
    d.first_row = d.row_count, d.row_count = d.out_height - d.first_row;
    d.channel_count = channels / 2 / 16 * 16;
    t->depthwise(&d);
    d.first_channel = d.channel_count, d.channel_count = channels - d.first_channel;
    t->depthwise(&d);
    char what[128];
    snprintf(
        what, sizeof what, "depthwise %zux%zux%zu k%zu s%zu m%zu", height, width, channels, kernel, stride,
        multiplier);
    compare(what, got, expected, positions, outputs, outputs, 1e-10, 0);
    free(x - GUARD), free(w), free(b), free(expected - GUARD), free(got - GUARD), release(d.scratch);
}

static void check_stem(const struct fv_kernels *t, size_t height, size_t width, size_t outputs) {
    const size_t channels = 3, inputs = 27, out_width = (width + 1) / 2, out_height = (height + 1) / 2;
    float *x = numbers(height * width * channels, 1), *w = numbers(outputs * inputs, 1), *b = numbers(outputs, 1);
    for (int type = 0; type < 2; type++) {
        float *results[2];
        const struct fv_kernels *tables[2] = {&fv_kernels_scalar, t};
        for (int i = 0; i < 2; i++) {
            results[i] = guarded(out_height * out_width * outputs, 0);
            struct fv_stem s = {
                .x = x, .height = height, .width = width, .channels = channels, .y = results[i],
                .out_width = out_width, .outputs = outputs, .bias = b, .kernel = 3, .stride = 2,
                .activation = FV_GELU, .row_count = out_height,
                .panels = packed(tables[i], w, 0, outputs, inputs, type),
                .scratch = block(tables[i]->stem_scratch(inputs, out_width)),
            };
            (type == FV_FLOAT32 ? tables[i]->stem_f32 : tables[i]->stem_bf16)(&s);
            release(s.panels), free(s.scratch);
        }
        compare("stem", results[1], results[0], out_height * out_width, outputs, outputs, bound(t, type, out_height * out_width), 0);
        free(results[0] - GUARD), free(results[1] - GUARD);
    }
    free(x), free(w), free(b);
}

// Numbers as bfloat16 and back, where the table multiplies such; else as they are.
static float *as_multiplied(const struct fv_kernels *t, const float *x, size_t count, int rounds) {
    float *y = rows_of(count, 0);
    for (size_t i = 0; i < count; i++) y[i] = rounds && rounds_inputs(t) ? fv_widen(fv_round_bf16(x[i])) : x[i];
    return y;
}

static void check_attention(
    const struct fv_kernels *t, size_t queries, size_t keys, size_t dimension, int causal, size_t visible, int kind) {
    const int is_bf16 = kind & 1, rounds = kind >> 1;
    const size_t stride = dimension + 3;
    float *asked = rows_of(queries * stride, 4), *as_rounded = as_multiplied(t, asked, queries * stride, rounds);
    const void *given[2] = {keys_of(keys * stride, is_bf16), keys_of(keys * stride, is_bf16)}, *copies[2] = {given[0], given[1]};
    for (int i = 0; i < 2 && !is_bf16; i++) copies[i] = as_multiplied(t, given[i], keys * stride, rounds);
    float *results[2];
    const struct fv_kernels *tables[2] = {&fv_kernels_scalar, t};
    for (int i = 0; i < 2; i++) {
        // The reference rounds nothing: it gets what is multiplied.
        const float *q = i == 0 ? as_rounded : asked;
        const void *k = i == 0 ? copies[0] : given[0], *v = i == 0 ? copies[1] : given[1];
        results[i] = guarded(queries * stride, 0);
        void *const scratch = block(tables[i]->attention_scratch(keys, dimension));
        for (size_t first = 0; first < queries; first += tables[i]->query_block) {
            const size_t left = queries - first;
            const struct fv_attention a = {
                .q = q + first * stride, .q_stride = stride, .k = contiguous(&k, stride), .v = contiguous(&v, stride),
                .is_bf16 = is_bf16, .rounds = rounds,
                .y = results[i] + first * stride, .y_stride = stride,
                .queries = left < tables[i]->query_block ? left : tables[i]->query_block, .keys = keys,
                .dimension = dimension, .scale = 0.7f, .causal = causal, .visible = visible + first,
                .scratch = scratch,
            };
            tables[i]->attention(&a);
        }
        free(scratch);
    }
    char what[128];
    snprintf(
        what, sizeof what, "attention %s%s %zux%zu d%zu causal %d+%zu", is_bf16 ? "bf16" : "f32", rounds ? " rounded" : "",
        queries, keys, dimension, causal, visible);
    // Weights have 8 bits where they are rounded.
    const double most = rounds && rounds_inputs(t) ? 2e-5 : 1e-9;
    compare(what, results[1], results[0], queries, dimension, stride, most, 0);
    for (int i = 0; i < 2; i++) {
        if (copies[i] != given[i]) release((void *)copies[i]);
        release((void *)given[i]), free(results[i] - GUARD);
    }
    release(asked), release(as_rounded);
}

static void check_rows(const struct fv_kernels *t, size_t rows, size_t columns) {
    const size_t stride = columns + below(4);
    float *x = numbers(rows * stride, 6), *y = numbers(rows * stride, 1);
    float *w = numbers(columns, 1), *b = numbers(columns, 1);
    for (int operation = 0; operation < 11; operation++) {
        float *results[2];
        const struct fv_kernels *tables[2] = {&fv_kernels_scalar, t};
        for (int i = 0; i < 2; i++) {
            results[i] = guarded(rows * stride, operation == 8 ? y : 0);
            const struct fv_rows m = {x, stride, results[i], stride, rows, columns};
            const struct fv_kernels *k = tables[i];
            switch (operation) {
            case 0: k->layer_norm(&m, w, b, 1e-5f); break;
            case 1: k->rms_norm(&m, w, 1e-6f); break;
            case 2: case 3: case 4: k->activate(&m, (enum fv_activation)(operation - 1)); break;
            case 5: k->sigmoid(&m); break;
            case 6: k->multiply_columns(&m, w, FV_GELU); break;
            case 7: if (columns % 2 == 0) k->rotate(&m, columns, x, y); break;
            case 8: k->add(&m); break;
            case 9: k->activate(&m, FV_QUICK_GELU); break;
            case 10: k->activate(&m, FV_TANH_GELU); break;
            }
        }
        char what[128];
        snprintf(what, sizeof what, "rows operation %d, %zux%zu", operation, rows, columns);
        if (operation != 7 || columns % 2 == 0) {
            compare(what, results[1], results[0], rows, columns, stride, 1e-10, operation == 8);
        }
        free(results[0] - GUARD), free(results[1] - GUARD);
    }
    float *means[2];
    for (int i = 0; i < 2; i++) {
        means[i] = guarded(columns, 0);
        const struct fv_rows m = {x, stride, means[i], 0, rows, columns};
        (i ? t : &fv_kernels_scalar)->column_means(&m);
    }
    compare("column means", means[1], means[0], 1, columns, columns, 1e-10, 0);
    free(means[0] - GUARD), free(means[1] - GUARD), free(x), free(y), free(w), free(b);
}

static void check(const char *name, const struct fv_kernels *t) {
    failures = checks = 0;
    weight_limit = t->weight_limit;
    input_limit = t->input_limit;
    const size_t sizes[] = {1, 2, 3, 5, 8, 13, 15, 16, 17, 31, 33, 48, 64, 65, 97, 130};
    for (size_t rows = 1; rows <= 27; rows++) check_gemm(t, rows, sizes[below(16)], sizes[below(16)]);
    check_gemm(t, 1, 900, 150), check_gemm(t, 1, 77, 64), check_gemm(t, 5, 1601, 70);
    check_gemm(t, 6, 94, 40), check_gemm(t, 100, 45, 600), check_gemm(t, 97, 1283, 34), check_gemm(t, 30, 2050, 20);
    for (group = 32; group <= 256; group *= 2) check_largest_integers(t, 13, 512, 40), check_largest_integers(t, 1, 64, 7);
    check_ffn(t, 1, 5, 20, 5), check_ffn(t, 50, 33, 131, 33), check_ffn(t, 110, 48, 700, 40);
    check_ffn(t, 29, 40, 1100, 96), check_ffn(t, 13, 200, 801, 17);
    for (size_t kernel = 3; kernel <= 7; kernel += 4) {
        for (size_t stride = 1; stride <= 2; stride++) {
            for (size_t multiplier = 1; multiplier <= 2; multiplier++) {
                check_depthwise(t, 1, 1, 1, kernel, stride, multiplier, FV_NONE);
                check_depthwise(t, 5, 9, 17, kernel, stride, multiplier, FV_GELU);
                check_depthwise(t, 9, 70, 48, kernel, stride, multiplier, FV_NONE);
                check_depthwise(t, 7, 33, 107, kernel, stride, multiplier, FV_RELU);
            }
        }
    }
    check_depthwise(t, 6, 40, 21, 5, 2, 1, FV_NONE), check_depthwise(t, 6, 40, 33, 9, 1, 2, FV_NONE);
    check_depthwise(t, 3, 20, 16, 1, 1, 1, FV_SILU), check_depthwise(t, 5, 21, 40, 1, 2, 1, FV_NONE);
    check_depthwise(t, 9, 75, 33, 5, 2, 2, FV_NONE), check_depthwise(t, 4, 10, 20, 4, 1, 1, FV_NONE);
    check_stem(t, 9, 13, 24), check_stem(t, 6, 211, 96);
    const size_t dimensions[] = {7, 32, 33, 64, 72, 80, 96, 128};
    for (size_t i = 0; i < 8; i++) {
        for (int kind = 0; kind < 4; kind++) {
            check_attention(t, 1, 301, dimensions[i], 0, 0, kind), check_attention(t, 3, 20, dimensions[i], 1, 17, kind);
            check_attention(t, 143, 143, dimensions[i], 1, 0, kind);
            check_attention(t, 17, 300, dimensions[i], 1, 283, kind);
            check_attention(t, 35, 131, dimensions[i], 0, 0, kind);
            check_attention(t, 200, 333, dimensions[i], 1, 130, kind);
        }
    }
    for (size_t i = 0; i < 16; i++) check_rows(t, 7, sizes[i]);
    check_rows(t, 3, 896);
    check_sampling(t);
    check_invariance(t), check_not_finite(t);
    printf("%s: %d passed, %d failed\n", name, checks - failures, failures);
}

int main(int count, char **words) {
    const uint64_t seed = count > 1 ? strtoull(words[1], 0, 10) : 1;
    int failed = 0;
    state = seed;
#if FV_SIMDE
    check("avxvnni (emulated)", &fv_kernels_avxvnni), failed |= failures;
    check("avx512 (emulated)", &fv_kernels_avx512), failed |= failures;
    check("avx512vnni (emulated)", &fv_kernels_avx512vnni), failed |= failures;
    check("avx512bf16 (emulated)", &fv_kernels_avx512bf16), failed |= failures;
    check("avx512amx (emulated)", &fv_kernels_avx512amx), failed |= failures;
#else
    static const char *const names[] = {
        "scalar",     "avx2",      "avxvnni", "avx512",  "avx512vnni",
        "avx512bf16", "avx512amx", "neon",    "neondot", "neonbf16"};
    const char *best = names[0];
    for (int isa = FV_ISA_AVX2; isa <= FV_ISA_NEONBF16; isa++) {
        const struct fv_kernels *t = fv_kernels_for((enum fv_isa)isa);
        if (!t) continue;
        best = names[isa];
        state = seed;
        check(best, t), failed |= failures;
    }
    if (count > 2 && strcmp(best, words[2]) != 0) {
        printf("FAIL the best table is %s, expected %s\n", best, words[2]);
        failed = 1;
    }
#endif
    return failed ? 1 : 0;
}
