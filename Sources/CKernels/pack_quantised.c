#include "fv_quantised.h"

#include "numbers.h"

enum { STEP = FV_QUANTUM_STEP };

size_t fv_quantised_panel_bytes(size_t inputs, size_t group, int bits, int has_minima, size_t nr) {
    const size_t groups = (inputs + group - 1) / group;
    const size_t unit = bits == 8 ? STEP : 2 * STEP;
    // Groups are multiples of 32 inputs and so of every unit: only the last group of all can be a part.
    return groups * nr * (has_minima ? 8 : 4) + (inputs + unit - 1) / unit * nr * STEP;
}

// The integers of one output and group, `padded` of them, into its column of the steps.
static void place(const int8_t *q, size_t padded, int bits, int zero, size_t nr, unsigned char *column) {
    if (bits == 8) {
        for (size_t i = 0; i < padded; i += STEP, column += nr * STEP) {
            unsigned char step[STEP];
            for (size_t s = 0; s < STEP; s++) step[s] = (unsigned char)(q[i + s] + zero);
            memcpy(column, step, STEP);
        }
        return;
    }
    for (size_t i = 0; i < padded; i += 2 * STEP, column += nr * STEP) {
        unsigned char step[STEP];
        for (size_t s = 0; s < STEP; s++) {
            step[s] = (unsigned char)((q[i + s] + zero) | (q[i + STEP + s] + zero) << 4);
        }
        memcpy(column, step, STEP);
    }
}

// The `count` weights of an output in one group, for rotated activations: w·H/n.
static void rotate_weights(float *w, size_t count, size_t group) {
    for (size_t k = 0, block; k < count; k += block) {
        block = fv_rotated_block(count - k, group);
        fv_rotate(w + k, block);
        for (size_t i = k; i < k + block; i++) w[i] /= (float)block; // a power of two: exact
    }
}

// And back: H·H = n·1.
static void rotate_back(float *w, size_t count, size_t group) {
    for (size_t k = 0, block; k < count; k += block) fv_rotate(w + k, block = fv_rotated_block(count - k, group));
}

// A group of an output: its scale (and minimum) must be finite; filled: it has numbers other than 0.
static void see(struct fv_seen *seen, size_t output, float scale, float minimum, int filled) {
    // Of a number that is not finite this is NaN.
    if (scale * 0 + minimum * 0 != 0) seen->not_finite = 1;
    if (filled && seen->filled <= output) seen->filled = output + 1;
}

// The integers of a group with a scale, each rounding error divided among the weights after it in its block as the factors
// say. w: [count] from the group's first input on, with `after` more weights behind it in its last block.
static void quantise_with_feedback(
    float *w, size_t count, size_t after, size_t first, float scale, int low, int high, const float *factors,
    int8_t *q) {
    enum { BLOCK = FV_FEEDBACK_BLOCK };
    const float inverse = scale != 0 ? 1 / scale : 0;
    for (size_t k = 0; k < count; k++) {
        const size_t at = (first + k) % BLOCK, left = count + after - k, end = BLOCK - at < left ? BLOCK - at : left;
        const float *row = factors + ((first + k) / BLOCK * BLOCK + at) * BLOCK + at;
        float x = w[k] * inverse;
        x = x < (float)high ? x : (float)high;
        x = x > (float)low ? x : (float)low; // low for NaN
        q[k] = (int8_t)__builtin_rintf(x);
        const float error = (w[k] - scale * (float)q[k]) / row[0];
        for (size_t i = 1; i < end; i++) w[k + i] -= error * row[i];
    }
}

void fv_quantised_pack_panels(const struct fv_quantised_pack *p, struct fv_seen *seen) {
    const size_t nr = p->kernels->panel_width, half = p->second ? nr / 2 : nr;
    const int limit = p->kernels->weight_limit, zero = p->bits == 8 ? p->kernels->weight_zero : 8;
    const int low = p->bits == 8 ? -limit : -8, high = p->bits == 8 ? limit : 7;
    const size_t bytes = fv_quantised_panel_bytes(p->inputs, p->group, p->bits, 0, nr);
    const size_t width = p->source_type == FV_FLOAT32 ? 4 : 2, unit = p->bits == 8 ? STEP : 2 * STEP;
    // Whole groups and whole blocks.
    const size_t stretch = p->group < FV_FEEDBACK_BLOCK ? FV_FEEDBACK_BLOCK : p->group;
    float *w = p->scratch;
    int8_t *q = (int8_t *)(p->scratch + FV_LARGEST_GROUP);
    for (size_t panel = p->first_panel; panel < p->first_panel + p->panel_count; panel++) {
        char *start = (char *)p->packed + panel * bytes;
        for (size_t k = 0; k < p->inputs; k += stretch) {
            const size_t all = p->inputs - k < stretch ? p->inputs - k : stretch;
            for (size_t j = 0; j < nr; j++) {
                const size_t output = panel * half + j % half;
                const int is_there = output < p->outputs;
                if (is_there) {
                    const char *source = j < half ? p->source : p->second;
                    fv_convert(
                        source + (output * p->inputs + k) * width, p->source_type, w, FV_FLOAT32, all);
                    for (size_t g = 0; g < all; g += p->group) {
                        rotate_weights(w + g, all - g < p->group ? all - g : p->group, p->group);
                    }
                }
                for (size_t g = 0; g < all; g += p->group) {
                    const size_t count = all - g < p->group ? all - g : p->group;
                    const size_t padded = (count + unit - 1) / unit * unit;
                    char *base = start + fv_quantised_panel_bytes(k + g, p->group, p->bits, 0, nr);
                    float scale = 0;
                    memset(q, 0, padded);
                    if (is_there) {
                        scale = p->kernels->quantise_weights(w + g, count, p->bits, limit, q);
                        if (p->feedback) {
                            quantise_with_feedback(
                                w + g, count, all - g - count, k + g, scale, low, high, p->feedback, q);
                        }
                        see(seen + (j >= half), output, scale, 0, scale != 0);
                    }
                    memcpy(base + 4 * j, &scale, 4);
                    place(q, padded, p->bits, zero, nr, (unsigned char *)base + 4 * nr + j * STEP);
                }
            }
        }
    }
}

// The integers of one group out of whole words, less the middle of their range.
static void unpack_words(const unsigned char *bytes, size_t count, int bits, int middle, int8_t *q) {
    for (size_t k = 0; k < count; k++) {
        const int value = bits == 8 ? bytes[k] : k % 2 ? bytes[k / 2] >> 4 : bytes[k / 2] & 15;
        q[k] = (int8_t)(value - middle);
    }
}

static int any_set(const unsigned char *bytes, size_t count) {
    unsigned char all = 0;
    for (size_t i = 0; i < count; i++) all |= bytes[i];
    return all != 0;
}

void fv_integers_row(
    const struct fv_integers *integers, int bits, size_t group, size_t inputs, size_t output, float *y) {
// A product and a sum, rounded both, as everywhere else that reads such numbers.
#pragma clang fp contract(off)
    const size_t groups = inputs / group;
    const unsigned char *row = (const unsigned char *)integers->words + output * (inputs * (size_t)bits / 8);
    for (size_t g = 0; g < groups; g++) {
        const float scale = fv_load_number(integers->scales, integers->scale_type, output * groups + g);
        const float bias = fv_load_number(integers->biases, integers->bias_type, output * groups + g);
        for (size_t k = g * group; k < (g + 1) * group; k++) {
            const int q = bits == 8 ? row[k] : k % 2 ? row[k / 2] >> 4 : row[k / 2] & 15;
            y[k] = scale * (float)q + bias;
        }
    }
}

void fv_integers_pack_panels(const struct fv_integers_pack *p, struct fv_seen *seen) {
    const size_t nr = p->panel_width, half = p->is_gated ? nr / 2 : nr;
    const int middle = p->bits == 8 ? 128 : 8, zero = p->bits == 8 ? p->weight_zero : 8;
    const size_t groups = p->inputs / p->group, row_bytes = p->inputs * (size_t)p->bits / 8;
    const size_t group_bytes = fv_quantised_panel_bytes(p->group, p->group, p->bits, 1, nr);
    int8_t q[FV_LARGEST_GROUP];
    for (size_t panel = p->first_panel; panel < p->first_panel + p->panel_count; panel++) {
        for (size_t g = 0; g < groups; g++) {
            char *base = (char *)p->packed + (panel * groups + g) * group_bytes;
            for (size_t j = 0; j < nr; j++) {
                const size_t output = panel * half + j % half;
                const struct fv_integers *from = j < half ? &p->source : &p->second;
                float scale = 0, minimum = 0;
                memset(q, 0, sizeof q);
                if (output < p->outputs) {
                    const unsigned char *row = (const unsigned char *)from->words + output * row_bytes;
                    const size_t word_bytes = p->group * (size_t)p->bits / 8;
                    unpack_words(row + g * word_bytes, p->group, p->bits, middle, q);
                    scale = fv_load_number(from->scales, from->scale_type, output * groups + g);
                    minimum = fv_load_number(from->biases, from->bias_type, output * groups + g)
                        + scale * (float)middle;
                    see(seen + (j >= half), output, scale, minimum, any_set(row + g * word_bytes, word_bytes));
                }
                memcpy(base + 4 * j, &scale, 4);
                memcpy(base + 4 * (nr + j), &minimum, 4);
                place(q, p->group, p->bits, zero, nr, (unsigned char *)base + 8 * nr + j * STEP);
            }
        }
    }
}

void fv_quantised_unpack(const struct fv_quantised_unpack *u) {
    const size_t nr = u->panel_width, half = u->is_gated ? nr / 2 : nr;
    const size_t bytes = fv_quantised_panel_bytes(u->inputs, u->group, u->bits, u->has_minima, nr);
    const int zero = u->bits == 8 ? u->weight_zero : 8;
    for (size_t output = 0; output < u->outputs; output++) {
        const size_t j = output % half + (u->part ? half : 0);
        const char *panel = (const char *)u->packed + output / half * bytes;
        for (size_t first = 0; first < u->inputs; first += u->group) {
            const size_t end = u->inputs - first < u->group ? u->inputs : first + u->group;
            const char *base = panel + fv_quantised_panel_bytes(first, u->group, u->bits, u->has_minima, nr);
            const unsigned char *steps = (const unsigned char *)base + (u->has_minima ? 8 : 4) * nr;
            const float scale = fv_load_float(base, j), minimum = u->has_minima ? fv_load_float(base, nr + j) : 0;
            for (size_t k = first; k < end; k++) {
                const size_t i = k - first;
                const size_t step = u->bits == 8 ? i / STEP : i / (2 * STEP);
                const unsigned char byte = steps[(step * nr + j) * STEP + i % STEP];
                // Around 0 bytes are signed.
                const int whole = zero ? byte - zero : (int8_t)byte;
                const int q = u->bits == 8 ? whole : (i / STEP % 2 ? byte >> 4 : byte & 15) - zero;
                u->target[output * u->inputs + k] = scale * (float)q + minimum;
            }
            if (u->is_rotated) rotate_back(u->target + output * u->inputs + first, end - first, u->group);
        }
    }
}

void fv_quantised_look_at(
    const struct fv_quantised_unpack *u, size_t first_panel, size_t panel_count, struct fv_seen *seen) {
    const size_t nr = u->panel_width, half = u->is_gated ? nr / 2 : nr;
    const size_t bytes = fv_quantised_panel_bytes(u->inputs, u->group, u->bits, u->has_minima, nr);
    const size_t group_bytes = fv_quantised_panel_bytes(u->group, u->group, u->bits, u->has_minima, nr);
    for (size_t panel = first_panel; panel < first_panel + panel_count; panel++) {
        const char *base = (const char *)u->packed + panel * bytes;
        for (size_t k = 0; k < u->inputs; k += u->group, base += group_bytes) {
            for (size_t j = 0; j < nr; j++) {
                const size_t output = panel * half + j % half;
                if (output >= u->outputs) continue;
                const float scale = fv_load_float(base, j), minimum = u->has_minima ? fv_load_float(base, nr + j) : 0;
                see(seen + (j >= half), output, scale, minimum, scale != 0 || minimum != 0);
            }
        }
    }
}
