// What a row's result may depend on: its own operands, and nothing else. Every operation is run whole and again for parts
// of its rows, from one row to all of them, and must give the same bits. Then numbers that are not finite: every number
// that depends on one must show it as the reference does, and no other may change by a bit.
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void expect(int holds, const char *what) {
    checks++;
    if (holds) return;
    failures++;
    printf("FAIL %s\n", what);
}

// Rows `first` … `first + rows` of two matrices.
static int same_rows(const float *a, const float *b, size_t stride, size_t first, size_t rows, size_t columns) {
    for (size_t row = first; row < first + rows; row++) {
        if (memcmp(a + row * stride, b + row * stride, columns * 4) != 0) return 0;
    }
    return 1;
}

// A product whose weights are packed already.
struct product {
    const struct fv_kernels *t;
    int type;
    struct fv_gemm g; // all rows
    char *converted;
};

static struct product product(
    const struct fv_kernels *t, int type, const float *a, size_t rows, size_t inputs, const float *w, const float *up,
    size_t outputs) {
    struct product p = {.t = t, .type = type};
    p.g = (struct fv_gemm){
        .a = a, .a_stride = inputs, .rows = rows, .inputs = inputs, .outputs = outputs, .y_stride = outputs,
        .epilogue = up ? FV_GATED : FV_STORE, .panels = packed(t, w, up, outputs, inputs, type),
        .scratch = edge((scratch_of(t, type, inputs) + 63) / 64 * 64), .group = group,
    };
    if (bits_of(type)) p.converted = edge(rows * pitch_of(t, type, inputs));
    return p;
}

static void end(struct product *p) { release(p->g.panels), release(p->g.scratch), release(p->converted); }

// `rows` rows from `first` on, `panels` panels a call.
static void multiply(struct product *p, size_t first, size_t rows, size_t panels) {
    const struct fv_kernels *t = p->t;
    const size_t per = p->g.epilogue == FV_GATED ? t->panel_width / 2 : t->panel_width;
    const size_t count = (p->g.outputs + per - 1) / per;
    struct fv_gemm part = p->g;
    part.a += first * part.a_stride;
    part.y += first * part.y_stride;
    part.rows = rows;
    convert_rows(t, p->type, &part, p->converted);
    // Rows that are rounded for all calls at once have the same bits as those that every call rounds.
    char *rounded = 0;
    if (p->type == FV_BFLOAT16 && t->round_rows && below(2)) {
        rounded = edge(t->row_block * t->rounded_pitch(part.inputs));
        t->round_rows(&(struct fv_quantise){
            .x = part.a, .x_stride = part.a_stride, .rows = rows, .inputs = part.inputs, .target = rounded});
        part.quantised = rounded;
    }
    for (size_t panel = 0; panel < count; panel += panels) {
        part.first_panel = panel;
        part.panel_count = count - panel < panels ? count - panel : panels;
        run_part(t, p->type, part, p->converted);
    }
    release(rounded);
}

static const int types[] = {FV_FLOAT32, FV_BFLOAT16, EXACT, INT8, INT4, WIDE8, WIDE4};
enum { TYPES = 7 };

static void check_product_rows(const struct fv_kernels *t, size_t rows, size_t inputs, size_t outputs) {
    float *a = rows_of(rows * inputs, 1), *w = numbers(outputs * inputs, 1), *up = numbers(outputs * inputs, 1);
    float *bias = numbers(outputs, 1), *scale = numbers(outputs, 1), *start = numbers(rows * outputs, 1);
    group = (size_t)32 << below(4), is_rotated = (int)below(2);
    for (int index = 0; index < TYPES; index++) {
        const int epilogue = (int)below(3);
        struct product p = product(t, types[index], a, rows, inputs, w, epilogue == FV_GATED ? up : 0, outputs);
        p.g.epilogue = (enum fv_epilogue)epilogue;
        if (epilogue != FV_GATED) p.g.bias = bias;
        if (epilogue == FV_ADD) p.g.scale = scale;
        if (epilogue == FV_STORE) p.g.activation = FV_GELU;
        float *whole = guarded(rows * outputs, start), *parts = guarded(rows * outputs, start);
        p.g.y = whole;
        multiply(&p, 0, rows, t->panel_block);
        p.g.y = parts;
        for (size_t count = 1; count < rows; count++) {
            const size_t firsts[] = {0, below(rows - count + 1), rows - count};
            for (size_t i = 0; i < 3; i++) {
                memcpy(parts, start, rows * outputs * 4);
                multiply(&p, firsts[i], count, 1 + below(t->panel_block));
                char what[128];
                snprintf(
                    what, sizeof what, "rows %zu+%zu of %zu alone, %zu->%zu type %d epilogue %d", firsts[i], count,
                    rows, inputs, outputs, types[index], epilogue);
                expect(same_rows(parts, whole, outputs, firsts[i], count, outputs), what);
            }
        }
        end(&p), free(whole - GUARD), free(parts - GUARD);
    }
    release(a), free(w), free(up), free(bias), free(scale), free(start);
}

// A feed-forward network: rows in parts, and the two products that it is.
static void check_ffn_rows(const struct fv_kernels *t, size_t inputs, size_t hidden, size_t outputs) {
    group = (size_t)32 << below(4), is_rotated = (int)below(2);
    for (int index = 0; index < TYPES; index++) {
        const int type = types[index];
        if (type == INT4 || type == EXACT || is_wide(type)) continue;
        const size_t most = type == INT8 ? t->ffn_q8_rows(inputs, hidden, outputs, group)
                                         : t->ffn_rows(inputs, hidden, outputs);
        const size_t rows = most < 70 ? most : 70;
        float *a = rows_of(rows * inputs, 1), *w1 = numbers(hidden * inputs, 0.3f), *w2 = numbers(outputs * hidden, 0.3f);
        float *b1 = numbers(hidden, 1), *b2 = numbers(outputs, 1), *start = numbers(rows * outputs, 1);
        float *whole = guarded(rows * outputs, start), *parts = guarded(rows * outputs, start);
        float *middle = rows_of(rows * hidden, 1);
        struct product expand = product(t, type, a, rows, inputs, w1, 0, hidden);
        expand.g.y = middle, expand.g.bias = b1, expand.g.activation = type == INT8 ? FV_COARSE_GELU : FV_GELU;
        multiply(&expand, 0, rows, t->panel_block);
        release(expand.g.scratch), release(expand.converted);
        struct product project = product(t, type, middle, rows, hidden, w2, 0, outputs);
        project.g.y = whole, project.g.bias = b2, project.g.epilogue = FV_ADD;
        multiply(&project, 0, rows, t->panel_block);
        release(project.g.scratch), release(project.converted), release(middle);
        struct fv_ffn f = {
            .a_stride = inputs, .inputs = inputs, .hidden = hidden, .outputs = outputs, .expand = expand.g.panels,
            .expand_bias = b1, .project = project.g.panels, .project_bias = b2, .y_stride = outputs, .group = group,
            .is_rotated = is_rotated, .limit = input_limit,
            .scratch = block(
                type == INT8 ? t->ffn_q8_scratch(inputs, hidden, outputs, group)
                             : t->ffn_scratch(inputs, hidden, outputs)),
        };
        for (size_t count = 1; count <= rows; count = count < 38 || count == rows ? count + 1 : rows) {
            const size_t first = below(rows - count + 1);
            memcpy(parts, start, rows * outputs * 4);
            f.a = a + first * inputs, f.y = parts + first * outputs, f.rows = count;
            (type == INT8 ? t->ffn_q8 : type == FV_FLOAT32 ? t->ffn_f32 : t->ffn_bf16)(&f);
            char what[128];
            snprintf(
                what, sizeof what, "feed-forward rows %zu+%zu of %zu, %zu->%zu->%zu type %d", first, count, rows,
                inputs, hidden, outputs, type);
            expect(same_rows(parts, whole, outputs, first, count, outputs), what);
        }
        release(f.expand), release(f.project), free(f.scratch), release(a);
        free(w1), free(w2), free(b1), free(b2), free(start), free(whole - GUARD), free(parts - GUARD);
    }
}

// Number `index` of an array.
static void put(void *base, size_t index, float value, int is_bf16) {
    const uint16_t half = fv_round_bf16(value);
    memcpy((char *)base + index * (is_bf16 ? 2 : 4), is_bf16 ? (const void *)&half : &value, is_bf16 ? 2 : 4);
}

// `count` queries from `first` on.
static void attend(const struct fv_kernels *t, struct fv_attention a, size_t first, size_t count) {
    a.q += first * a.q_stride, a.y += first * a.y_stride, a.visible += first, a.queries = count;
    a.scratch = edge((t->attention_scratch(a.keys, a.dimension) + 63) / 64 * 64);
    t->attention(&a);
    release(a.scratch);
}

static void check_attention_rows(const struct fv_kernels *t, size_t keys, size_t dimension, int causal, int kind) {
    const int is_bf16 = kind & 1, rounds = kind >> 1;
    const size_t queries = keys < 40 ? keys : 40, stride = dimension + 1;
    float *q = rows_of(queries * stride, 3);
    const void *k = keys_of(keys * stride, is_bf16), *v = keys_of(keys * stride, is_bf16);
    float *whole = guarded(queries * stride, 0), *parts = guarded(queries * stride, 0);
    struct fv_attention a = {
        .q = q, .q_stride = stride, .k = contiguous(&k, stride), .v = contiguous(&v, stride), .is_bf16 = is_bf16,
        .rounds = rounds, .y = whole, .y_stride = stride, .keys = keys, .dimension = dimension, .scale = 0.6f, .causal = causal,
        .visible = keys - queries,
    };
    attend(t, a, 0, queries);
    a.y = parts;
    for (size_t count = 1; count < queries; count++) {
        const size_t firsts[] = {0, below(queries - count + 1), queries - count};
        for (size_t i = 0; i < 3; i++) {
            attend(t, a, firsts[i], count);
            char what[128];
            snprintf(
                what, sizeof what, "queries %zu+%zu of %zu, %zu keys of %zu %s%s", firsts[i], count, queries, keys,
                dimension, is_bf16 ? "bf16" : "f32", causal ? " causal" : "");
            expect(same_rows(parts, whole, stride, firsts[i], count, dimension), what);
        }
    }
    release(q), release(k), release(v), free(whole - GUARD), free(parts - GUARD);
}

// Keys and values in blocks as a cache has them: keys and values of two heads one after the other in each block, the blocks
// in falling order, NaN wherever nothing of these keys stands.
static void check_attention_blocks(
    const struct fv_kernels *t, size_t queries, size_t keys, size_t dimension, int causal, int kind, unsigned shift) {
    const int is_bf16 = kind & 1, rounds = kind >> 1;
    const size_t width = 2 * dimension, bytes = is_bf16 ? 2 : 4, positions = (size_t)1 << shift;
    const size_t count = (keys + positions - 1) >> shift, half = positions * width * bytes;
    float *q = rows_of(queries * dimension, 3), *contiguous_y = guarded(queries * dimension, 0);
    void *const k = keys_of(keys * width, is_bf16), *const v = keys_of(keys * width, is_bf16);
    const void *const whole[] = {(char *)k + dimension * bytes, (char *)v + dimension * bytes};
    char *pool = edge(count * 2 * half);
    for (size_t i = 0; i < count * 2 * half / bytes; i++) put(pool, i, NAN, is_bf16);
    const void *bases[32];
    for (size_t i = 0; i < count; i++) bases[i] = pool + (count - 1 - i) * 2 * half;
    for (size_t j = 0; j < keys; j++) {
        char *row = (char *)bases[j >> shift] + ((j & (positions - 1)) * width + dimension) * bytes;
        memcpy(row, (char *)k + (j * width + dimension) * bytes, dimension * bytes);
        memcpy(row + half, (char *)v + (j * width + dimension) * bytes, dimension * bytes);
    }
    struct fv_attention a = {
        .q = q, .q_stride = dimension, .k = contiguous(whole, width), .v = contiguous(whole + 1, width),
        .is_bf16 = is_bf16, .rounds = rounds, .y = contiguous_y, .y_stride = dimension, .keys = keys, .dimension = dimension,
        .scale = 0.6f, .causal = causal, .visible = keys - queries,
    };
    attend(t, a, 0, queries);
    float *blocks_y = guarded(queries * dimension, 0);
    a.k = (struct fv_blocks){.bases = bases, .offset = dimension * bytes, .stride = width, .shift = shift};
    a.v = a.k, a.v.offset += half, a.y = blocks_y;
    attend(t, a, 0, queries);
    char what[128];
    snprintf(
        what, sizeof what, "%zu queries of %zu keys of %zu in blocks of %zu %s%s", queries, keys, dimension, positions,
        is_bf16 ? "bf16" : "f32", causal ? " causal" : "");
    expect(same_rows(blocks_y, contiguous_y, dimension, 0, queries, dimension), what);
    expect(!isnan(blocks_y[0]) && !isnan(blocks_y[queries * dimension - 1]), what);
    release(q), release(k), release(v), release(pool), free(contiguous_y - GUARD), free(blocks_y - GUARD);
}

static void check_maps(const struct fv_kernels *t) {
    const size_t height = 11, width = 37, channels = 40;
    for (size_t variant = 0; variant < 8; variant++) {
        const size_t kernel = variant & 1 ? 7 : 3, stride = variant & 2 ? 2 : 1, multiplier = variant & 4 ? 2 : 1;
        const size_t plane = 48, outputs = channels * multiplier;
        float *x = rows_of(height * width * channels, 1), *w = numbers(kernel * kernel * multiplier * plane, 1);
        float *b = numbers(multiplier * plane, 1);
        struct fv_depthwise d = {
            .x = x, .height = height, .width = width, .channels = channels, .weights = w, .bias = b, .plane = plane,
            .out_height = (height + stride - 1) / stride, .out_width = (width + stride - 1) / stride,
            .kernel = kernel, .stride = stride, .multiplier = multiplier, .activation = FV_GELU,
            .scratch = edge((t->depthwise_scratch(kernel, stride) + 63) / 64 * 64), .channel_count = channels,
        };
        const size_t positions = d.out_height * d.out_width;
        float *whole = guarded(positions * outputs, 0), *parts = guarded(positions * outputs, 0);
        d.row_count = d.out_height, d.y = whole;
        t->depthwise(&d);
        d.y = parts, d.row_count = 1;
        for (d.first_row = 0; d.first_row < d.out_height; d.first_row++) {
            for (d.first_channel = 0; d.first_channel < channels; d.first_channel += 16) {
                d.channel_count = channels - d.first_channel < 16 ? channels - d.first_channel : 16;
                t->depthwise(&d);
            }
        }
        expect(same_rows(parts, whole, outputs, 0, positions, outputs), "depthwise row by row");
        release(x), free(w), free(b), release(d.scratch), free(whole - GUARD), free(parts - GUARD);
    }
    for (int type = 0; type < 2; type++) {
        // The last call of a row has a single position.
        const size_t out_width = 97, outputs = 24;
        float *x = rows_of(9 * 193 * 3, 1), *w = numbers(outputs * 27, 1), *b = numbers(outputs, 1);
        struct fv_stem s = {
            .x = x, .height = 9, .width = 193, .channels = 3, .out_width = out_width, .outputs = outputs, .bias = b,
            .kernel = 3, .stride = 2, .activation = FV_GELU, .panels = packed(t, w, 0, outputs, 27, type),
            .scratch = block(t->stem_scratch(27, out_width)), .row_count = 5,
        };
        float *whole = guarded(5 * out_width * outputs, 0), *patches = rows_of(5 * out_width * 27, 0);
        s.y = whole;
        (type ? t->stem_bf16 : t->stem_f32)(&s);
        // The same patches as rows of a product, one by one.
        float *entry = patches;
        for (size_t position = 0; position < 5 * out_width; position++) {
            for (size_t tap = 0; tap < 9; tap++) {
                const ptrdiff_t row = (ptrdiff_t)(position / out_width * 2 + tap / 3) - 1;
                const ptrdiff_t column = (ptrdiff_t)(position % out_width * 2 + tap % 3) - 1;
                const int inside = row >= 0 && column >= 0 && row < 9 && column < 193;
                for (size_t c = 0; c < 3; c++) *entry++ = inside ? x[(row * 193 + column) * 3 + (ptrdiff_t)c] : 0;
            }
        }
        float *rows = guarded(5 * out_width * outputs, 0);
        struct product p = product(t, type, patches, 5 * out_width, 27, w, 0, outputs);
        p.g.y = rows, p.g.bias = b, p.g.activation = FV_GELU;
        for (size_t row = 0; row < 5 * out_width; row++) multiply(&p, row, 1, t->panel_block);
        expect(same_rows(rows, whole, outputs, 0, 5 * out_width, outputs), "stem as products of single rows");
        end(&p), free(rows - GUARD);
        release(x), free(w), free(b), release(s.panels), free(s.scratch), free(whole - GUARD), release(patches);
    }
}

void check_invariance(const struct fv_kernels *t) {
    check_product_rows(t, 37, 1, 5), check_product_rows(t, 70, 33, 70), check_product_rows(t, 37, 77, 150);
    check_product_rows(t, 40, 1283, 34), check_product_rows(t, 34, 2306, 40);
    check_ffn_rows(t, 40, 1100, 96), check_ffn_rows(t, 33, 131, 33);
    const size_t dimensions[] = {7, 32, 64, 80};
    for (size_t i = 0; i < 32; i++) {
        const int causal = i / 4 % 2, kind = (int)(i / 8);
        check_attention_rows(t, 9, dimensions[i % 4], causal, kind);
        check_attention_rows(t, 270, dimensions[i % 4], causal, kind);
        check_attention_rows(t, 531, dimensions[i % 4], causal, kind);
        const size_t counts[] = {1, 31, 32, 33, 250, 256, 257, 300, 531};
        for (size_t c = 0; c < 9; c++) {
            const size_t most = counts[c] < 30 ? counts[c] : 30, few = most < 3 ? most : 3;
            check_attention_blocks(t, 1, counts[c], dimensions[i % 4], causal, kind, 5);
            check_attention_blocks(t, few, counts[c], dimensions[i % 4], causal, kind, 5);
            check_attention_blocks(t, most, counts[c], dimensions[i % 4], causal, kind, 5 + (unsigned)c % 2);
        }
    }
    check_maps(t);
}

// 0 for numbers, else which kind of none: infinities have a sign, NaN has not.
static int kind(float x) { return isnan(x) ? 1 : isinf(x) ? (x > 0 ? 2 : 3) : 0; }

static int same_kinds(const float *a, const float *b, size_t count, float most) {
    for (size_t i = 0; i < count; i++) {
        if (kind(a[i]) != kind(b[i])) return 0;
        if (!kind(a[i]) && !(fabsf(a[i] - b[i]) <= most * fmaxf(1, fabsf(b[i])))) return 0;
    }
    return 1;
}

static const float hostile[] = {NAN, INFINITY, -INFINITY};

static void check_row_operations(const struct fv_kernels *t, size_t columns, size_t place) {
    float *x = rows_of(2 * columns, 3), *w = numbers(columns, 1), *b = numbers(columns, 1);
    for (int value = 0; value < 3; value++) {
        x[columns + place] = hostile[value];
        for (int operation = 0; operation < 9; operation++) {
            float *results[2];
            const struct fv_kernels *tables[2] = {&fv_kernels_scalar, t};
            for (int i = 0; i < 2; i++) {
                const struct fv_kernels *k = tables[i];
                results[i] = guarded(2 * columns, x);
                const struct fv_rows m = {x, columns, results[i], columns, 2, columns};
                switch (operation) {
                case 0: k->layer_norm(&m, w, b, 1e-5f); break;
                case 1: k->rms_norm(&m, w, 1e-6f); break;
                case 2: case 3: case 4: case 5: k->activate(&m, (enum fv_activation)(operation - 1)); break;
                case 6: k->sigmoid(&m); break;
                case 7: k->multiply_columns(&m, w, FV_GELU); break;
                case 8: k->add(&m); break;
                }
            }
            char what[128];
            snprintf(
                what, sizeof what, "row operation %d with %f at %zu of %zu", operation, (double)hostile[value], place,
                columns);
            expect(same_kinds(results[1], results[0], 2 * columns, 1e-4f), what);
            // The first row has nothing to do with it, and of NaN comes NaN.
            int right = 1;
            for (size_t c = 0; c < columns; c++) right &= !isnan(results[1][c]);
            if (value == 0) right &= isnan(results[1][columns + place]);
            expect(right, what);
            free(results[0] - GUARD), free(results[1] - GUARD);
        }
    }
    release(x), free(w), free(b);
}

static void check_products(const struct fv_kernels *t, size_t rows, size_t inputs, size_t outputs) {
    float *a = rows_of(rows * inputs, 1), *w = numbers(outputs * inputs, 1), *up = numbers(outputs * inputs, 1);
    float *clean = guarded(rows * outputs, 0), *dirty = guarded(rows * outputs, 0), *plain = guarded(rows * outputs, 0);
    group = (size_t)32 << below(4), is_rotated = (int)below(2);
    for (int index = 0; index < TYPES * 2; index++) {
        const int type = types[index / 2], gated = index % 2;
        struct product p = product(t, type, a, rows, inputs, w, gated ? up : 0, outputs);
        struct product scalar = product(&fv_kernels_scalar, type, a, rows, inputs, w, gated ? up : 0, outputs);
        p.g.y = clean, multiply(&p, 0, rows, t->panel_block);
        for (int turn = 0; turn < 6; turn++) {
            const size_t place = turn == 0 ? 0 : turn == 1 ? inputs - 1 : below(inputs), row = below(rows);
            const float before = a[row * inputs + place];
            a[row * inputs + place] = hostile[turn % 3];
            p.g.y = dirty, multiply(&p, 0, rows, t->panel_block);
            scalar.g.y = plain, multiply(&scalar, 0, rows, scalar.t->panel_block);
            a[row * inputs + place] = before;
            char what[128];
            snprintf(
                what, sizeof what, "product %zux%zu->%zu type %d%s with %f at %zu, %zu", rows, inputs, outputs, type,
                gated ? " gated" : "", (double)hostile[turn % 3], row, place);
            const float *line = dirty + row * outputs;
            int right = same_rows(dirty, clean, outputs, 0, row, outputs)
                && same_rows(dirty, clean, outputs, row + 1, rows - row - 1, outputs);
            for (size_t j = 0; j < outputs; j++) {
                if (turn % 3 == 0 || type == INT8 || type == INT4) right &= isnan(line[j]);
                right &= kind(line[j]) == kind(plain[row * outputs + j]);
            }
            expect(right, what);
        }
        end(&p), end(&scalar);
    }
    release(a), free(w), free(up), free(clean - GUARD), free(dirty - GUARD), free(plain - GUARD);
}

static void check_attention_values(const struct fv_kernels *t, size_t queries, size_t keys, size_t dimension, int kind) {
    const int is_bf16 = kind & 1, rounds = kind >> 1;
    float *q = rows_of(queries * dimension, 3);
    void *const k = keys_of(keys * dimension, is_bf16), *const v = keys_of(keys * dimension, is_bf16);
    const void *const bases[] = {k, v};
    for (size_t i = 0; i < queries * dimension; i++) q[i] = fabsf(q[i]) + 0.1f;
    const size_t count = queries * dimension;
    float *clean = guarded(count, 0), *dirty = guarded(count, 0), *plain = guarded(count, 0);
    struct fv_attention a = {
        .q = q, .q_stride = dimension, .k = contiguous(bases, dimension), .v = contiguous(bases + 1, dimension),
        .is_bf16 = is_bf16, .rounds = rounds, .y = clean, .y_stride = dimension, .keys = keys, .dimension = dimension, .scale = 0.6f,
        .causal = 1, .visible = keys - queries,
    };
    attend(t, a, 0, queries);
    char what[128];
    snprintf(what, sizeof what, "attention %zux%zu of %zu with numbers that are not finite", queries, keys, dimension);
    for (int turn = 0; turn < 9; turn++) {
        const int place = turn / 3;
        const float value = hostile[turn % 3];
        // From where on queries see key j.
        const size_t i = below(queries), j = keys - queries + i, d = below(dimension);
        void *const base = place == 0 ? (void *)q : place == 1 ? k : v;
        const size_t index = (place == 0 ? i : j) * dimension + d, bytes = is_bf16 && place ? 2 : 4;
        uint32_t before;
        memcpy(&before, (char *)base + index * bytes, bytes);
        put(base, index, value, is_bf16 && place);
        a.y = dirty, attend(t, a, 0, queries);
        a.y = plain, attend(&fv_kernels_scalar, a, 0, queries);
        memcpy((char *)base + index * bytes, &before, bytes);
        expect(same_kinds(dirty, plain, count, rounds && rounds_inputs(t) ? 0.05f : 1e-4f), what);
        // Queries before it do not see it, and with a value only its own column does.
        int right = same_rows(dirty, clean, dimension, 0, i, dimension);
        if (place == 0) right &= same_rows(dirty, clean, dimension, i + 1, queries - i - 1, dimension);
        for (size_t c = 0; place == 2 && c < count; c++) {
            if (c % dimension != d) right &= memcmp(dirty + c, clean + c, 4) == 0;
        }
        expect(right, what);
    }
    release(q), release(k), release(v), free(clean - GUARD), free(dirty - GUARD), free(plain - GUARD);
}

// All scores of the first block are minus infinity: weights of 0.
static void check_lost_block(const struct fv_kernels *t, size_t queries, int rounds) {
    const size_t keys = 300, dimension = 32;
    float *q = rows_of(queries * dimension, 1), *k = rows_of(keys * dimension, 1), *v = rows_of(keys * dimension, 1);
    for (size_t i = 0; i < queries * dimension; i++) q[i] = fabsf(q[i]) + 0.1f;
    for (size_t i = 0; i < 256 * dimension; i++) k[i] = -INFINITY;
    const void *const bases[] = {k, v};
    float *got = guarded(queries * dimension, 0), *expected = guarded(queries * dimension, 0);
    struct fv_attention a = {
        .q = q, .q_stride = dimension, .k = contiguous(bases, dimension), .v = contiguous(bases + 1, dimension),
        .rounds = rounds, .y = expected,
        .y_stride = dimension, .keys = keys, .dimension = dimension, .scale = 0.6f,
    };
    attend(&fv_kernels_scalar, a, 0, queries);
    a.y = got, attend(t, a, 0, queries);
    // Queries, keys, values and weights have 8 bits where they are rounded.
    const double most = rounds && rounds_inputs(t) ? 1e-3 : 1e-9;
    compare("a block of scores of minus infinity", got, expected, queries, dimension, dimension, most, 0);
    release(q), release(k), release(v), free(got - GUARD), free(expected - GUARD);
}

static void check_map_values(const struct fv_kernels *t) {
    const size_t height = 9, width = 21, channels = 19, plane = 32;
    float *x = rows_of(height * width * channels, 1), *w = numbers(49 * plane, 1), *b = numbers(plane, 1);
    const size_t count = height * width * channels;
    float *clean = guarded(count, 0), *dirty = guarded(count, 0), *plain = guarded(count, 0);
    struct fv_depthwise d = {
        .x = x, .height = height, .width = width, .channels = channels, .weights = w, .bias = b, .plane = plane,
        .out_height = height, .out_width = width, .kernel = 7, .stride = 1, .multiplier = 1, .activation = FV_GELU,
        .scratch = block(t->depthwise_scratch(7, 1)), .channel_count = channels, .row_count = height, .y = clean,
    };
    t->depthwise(&d);
    for (int turn = 0; turn < 12; turn++) {
        const size_t index = below(count);
        const float before = x[index];
        x[index] = hostile[turn % 3];
        d.y = dirty, t->depthwise(&d);
        d.y = plain, fv_kernels_scalar.depthwise(&d);
        x[index] = before;
        expect(same_kinds(dirty, plain, count, 1e-4f), "depthwise with numbers that are not finite");
        int right = 1;
        for (size_t i = 0; i < count; i++) {
            if (i % channels != index % channels) right &= memcmp(dirty + i, clean + i, 4) == 0;
        }
        expect(right, "depthwise: other channels are as they were");
    }
    release(x), free(w), free(b), free(d.scratch), free(clean - GUARD), free(dirty - GUARD), free(plain - GUARD);
}

void check_not_finite(const struct fv_kernels *t) {
    for (size_t columns = 1; columns <= 35; columns += 1 + columns / 17) {
        for (size_t place = 0; place < columns; place++) check_row_operations(t, columns, place);
    }
    check_products(t, 1, 77, 70), check_products(t, 7, 40, 33), check_products(t, 40, 300, 50);
    check_products(t, 5, 1283, 20);
    const size_t counts[] = {1, 3, 9, 50};
    for (size_t i = 0; i < 4; i++) {
        for (int kind = 0; kind < 4; kind++) {
            check_attention_values(t, counts[i], 60, 33, kind), check_attention_values(t, counts[i], 290, 64, kind);
        }
        check_lost_block(t, counts[i], 0), check_lost_block(t, counts[i], 1);
    }
    check_map_values(t);
}
