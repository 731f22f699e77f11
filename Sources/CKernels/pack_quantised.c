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

void fv_quantised_pack_panels(const struct fv_quantised_pack *p) {
    const size_t nr = p->kernels->panel_width, half = p->second ? nr / 2 : nr;
    const int limit = p->kernels->weight_limit, zero = p->bits == 8 ? p->kernels->weight_zero : 8;
    const size_t bytes = fv_quantised_panel_bytes(p->inputs, p->group, p->bits, 0, nr);
    const size_t width = p->source_type == FV_FLOAT32 ? 4 : 2, unit = p->bits == 8 ? STEP : 2 * STEP;
    float *w = p->scratch;
    int8_t *q = (int8_t *)(p->scratch + p->group);
    for (size_t panel = p->first_panel; panel < p->first_panel + p->panel_count; panel++) {
        char *base = (char *)p->packed + panel * bytes;
        for (size_t k = 0; k < p->inputs; k += p->group) {
            const size_t count = p->inputs - k < p->group ? p->inputs - k : p->group;
            const size_t padded = (count + unit - 1) / unit * unit;
            for (size_t j = 0; j < nr; j++) {
                const size_t output = panel * half + j % half;
                float scale = 0;
                memset(q, 0, padded);
                if (output < p->outputs) {
                    const char *source = j < half ? p->source : p->second;
                    fv_convert(
                        source + (output * p->inputs + k) * width, p->source_type, w, FV_FLOAT32, count);
                    scale = p->kernels->quantise_weights(w, count, p->bits, limit, q);
                }
                memcpy(base + 4 * j, &scale, 4);
                place(q, padded, p->bits, zero, nr, (unsigned char *)base + 4 * nr + j * STEP);
            }
            base += 4 * nr + padded * nr * STEP / unit;
        }
    }
}
