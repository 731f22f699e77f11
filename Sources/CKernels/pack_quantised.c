#include "fv_quantised.h"

#include "numbers.h"

size_t fv_quantised_panel_bytes(
    size_t inputs, size_t group, int bits, int has_minima, size_t nr, size_t step) {
    const size_t groups = (inputs + group - 1) / group;
    const size_t unit = bits == 8 ? step : 2 * step;
    // Groups are multiples of 32 inputs and so of every unit: only the last group of all can be a part.
    return groups * nr * (has_minima ? 8 : 4) + (inputs + unit - 1) / unit * nr * step;
}

// The nearest of the integers low … high to x; low for NaN.
static inline int nearest(float x, float low, float high) {
    x = x >= low ? x <= high ? x : high : low;
    return (int)(x + (x < 0 ? -0.5f : 0.5f));
}

// Scale for 8 bits: the largest weight becomes ±127.
static float scale8(const float *w, size_t count) {
    float top = 0;
    for (size_t k = 0; k < count; k++) {
        const float size = __builtin_fabsf(w[k]);
        top = size > top ? size : top;
    }
    return top / 127;
}

// Scale for 4 bits, perhaps negative: the weight furthest from zero becomes about −8 of −8 … 7. A little clipping
// often costs less than coarser steps for all, so a few scales are tried; for the best one's integers the scale is
// then fitted by least squares.
static float scale4(const float *w, size_t count, float *q) {
    static const float tops[] = {-8.4f, -8.0f, -7.6f, -7.2f, -6.8f};
    float top = 0;
    for (size_t k = 0; k < count; k++) {
        if (__builtin_fabsf(w[k]) > __builtin_fabsf(top)) top = w[k];
    }
    if (top == 0) return 0;
    float best = top / -8, smallest = __builtin_inff();
    for (size_t t = 0; t < sizeof tops / sizeof tops[0]; t++) {
        const float scale = top / tops[t], factor = tops[t] / top;
        float error = 0, products = 0, squares = 0;
        for (size_t k = 0; k < count; k++) q[k] = (float)nearest(w[k] * factor, -8, 7);
        for (size_t k = 0; k < count; k++) {
            error += (w[k] - scale * q[k]) * (w[k] - scale * q[k]);
            products += w[k] * q[k];
            squares += q[k] * q[k];
        }
        if (error < smallest) {
            smallest = error;
            best = squares > 0 ? products / squares : scale;
        }
    }
    return best;
}

void fv_quantised_pack_panels(const struct fv_quantised_pack *p) {
    const size_t nr = p->nr, half = p->second ? nr / 2 : nr, step = p->step;
    const size_t bytes = fv_quantised_panel_bytes(p->inputs, p->group, p->bits, 0, nr, step);
    const size_t width = p->source_type == FV_FLOAT32 ? 4 : 2;
    const size_t unit = p->bits == 8 ? step : 2 * step;
    const float low = p->bits == 8 ? -127 : -8, high = p->bits == 8 ? 127 : 7;
    const int zero = 1 << (p->bits - 1);
    float *w = p->scratch, *q = p->scratch + p->group;
    for (size_t panel = p->first_panel; panel < p->first_panel + p->panel_count; panel++) {
        char *base = (char *)p->packed + panel * bytes;
        for (size_t k = 0; k < p->inputs; k += p->group) {
            const size_t count = p->inputs - k < p->group ? p->inputs - k : p->group;
            const size_t padded = (count + unit - 1) / unit * unit;
            unsigned char *steps = (unsigned char *)base + 4 * nr;
            for (size_t j = 0; j < nr; j++) {
                const size_t output = panel * half + j % half;
                float scale = 0;
                if (output < p->outputs) {
                    const char *source = j < half ? p->source : p->second;
                    fv_convert(
                        source + (output * p->inputs + k) * width, p->source_type, w, FV_FLOAT32, count);
                    scale = p->bits == 8 ? scale8(w, count) : scale4(w, count, q);
                }
                memcpy(base + 4 * j, &scale, 4);
                const float factor = scale != 0 ? 1 / scale : 0;
                for (size_t i = 0; i < padded; i++) {
                    const int value = scale != 0 && i < count ? nearest(w[i] * factor, low, high) : 0;
                    const unsigned stored = (unsigned)(value + zero);
                    unsigned char *byte = steps + (i / unit * nr + j) * step + i % step;
                    if (p->bits == 8 || i % unit < step) {
                        *byte = (unsigned char)stored;
                    } else {
                        *byte = (unsigned char)(*byte | stored << 4);
                    }
                }
            }
            base += 4 * nr + padded * nr * step / unit;
        }
    }
}
