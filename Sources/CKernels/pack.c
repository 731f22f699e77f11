#include "fv_pack.h"

#include "numbers.h"

size_t fv_packed_panel_bytes(enum fv_type packed_type, size_t inputs, size_t nr) {
    return packed_type == FV_FLOAT32 ? inputs * nr * 4 : (inputs + 1) / 2 * nr * 4;
}

void fv_convert(
    const void *source, enum fv_type source_type, void *target, enum fv_type target_type, size_t count) {
    if (source_type == target_type) {
        memcpy(target, source, count * (source_type == FV_FLOAT32 ? 4 : 2));
        return;
    }
    if (source_type == FV_BFLOAT16) { // the common case, which the compiler vectorises
        for (size_t i = 0; i < count; i++) {
            const uint32_t wide = (uint32_t)fv_load16(source, i) << 16;
            memcpy((char *)target + 4 * i, &wide, 4);
        }
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const float value = fv_load_number(source, source_type, i);
        if (target_type == FV_FLOAT32) {
            memcpy((char *)target + 4 * i, &value, 4);
        } else {
            const uint16_t bits = fv_round_bf16(value);
            memcpy((char *)target + 2 * i, &bits, 2);
        }
    }
}

// Sizes from which on numbers are infinite or NaN.
static uint32_t infinity_bits(enum fv_type type) {
    return type == FV_FLOAT32 ? 0x7F800000 : type == FV_BFLOAT16 ? 0x7F80 : 0x7C00;
}

// One row, which the packing that follows finds in the cache then.
static void look_at_row(
    const struct fv_kernels *kernels, const void *base, enum fv_type type, size_t output, size_t inputs,
    struct fv_seen *seen) {
    const size_t width = type == FV_FLOAT32 ? 4 : 2;
    const uint32_t largest = kernels->largest_bits((const char *)base + output * inputs * width, inputs, width);
    if (largest >= infinity_bits(type)) seen->not_finite = 1;
    if (largest > 0 && seen->filled <= output) seen->filled = output + 1;
}

void fv_look_at(
    const struct fv_kernels *kernels, const void *numbers, enum fv_type type, size_t outputs, size_t inputs,
    struct fv_seen *seen) {
    for (size_t output = 0; output < outputs; output++) look_at_row(kernels, numbers, type, output, inputs, seen);
}

// One output row into column `column` of a panel: a stride-nr walk of 32-bit words.
static void pack_row_f32(const struct fv_pack *pack, const void *base, size_t first, float *column) {
    const size_t nr = pack->kernels->panel_width, inputs = pack->inputs;
    if (pack->source_type == FV_FLOAT32) {
        for (size_t k = 0; k < inputs; k++) column[k * nr] = fv_load_float(base, first + k);
        return;
    }
    for (size_t k = 0; k < inputs; k++) column[k * nr] = fv_load_number(base, pack->source_type, first + k);
}

static void pack_row_bf16(const struct fv_pack *pack, const void *base, size_t first, uint32_t *column) {
    const size_t nr = pack->kernels->panel_width, inputs = pack->inputs, pairs = inputs / 2;
    if (pack->source_type == FV_BFLOAT16) {
        const char *row = (const char *)base + 2 * first;
        // Little endian: k in the low half, k+1 in the high one.
        for (size_t k = 0; k < pairs; k++) memcpy(column + k * nr, row + 4 * k, 4);
    } else {
        for (size_t k = 0; k < pairs; k++) {
            const uint32_t low = fv_round_bf16(fv_load_number(base, pack->source_type, first + 2 * k));
            const uint32_t high = fv_round_bf16(fv_load_number(base, pack->source_type, first + 2 * k + 1));
            column[k * nr] = high << 16 | low;
        }
    }
    if (inputs % 2) column[pairs * nr] = fv_round_bf16(fv_load_number(base, pack->source_type, first + inputs - 1));
}

void fv_pack_panels(const struct fv_pack *pack, struct fv_seen *seen) {
    const size_t nr = pack->kernels->panel_width, half = pack->second ? nr / 2 : nr;
    const size_t bytes = fv_packed_panel_bytes(pack->packed_type, pack->inputs, nr);
    for (size_t panel = pack->first_panel; panel < pack->first_panel + pack->panel_count; panel++) {
        char *target = (char *)pack->packed + panel * bytes;
        for (size_t j = 0; j < nr; j++) {
            const void *base = j < half ? pack->source : pack->second;
            const size_t output = panel * half + j % half;
            if (output < pack->outputs) {
                look_at_row(pack->kernels, base, pack->source_type, output, pack->inputs, seen + (j >= half));
            }
            if (output >= pack->outputs) {
                for (size_t k = 0; k < bytes / (4 * nr); k++) memset(target + 4 * (k * nr + j), 0, 4);
            } else if (pack->packed_type == FV_FLOAT32) {
                pack_row_f32(pack, base, output * pack->inputs, (float *)target + j);
            } else {
                pack_row_bf16(pack, base, output * pack->inputs, (uint32_t *)target + j);
            }
        }
    }
}
