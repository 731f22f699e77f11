// Colour profiles through Little CMS.
#include <stdlib.h>

#include <lcms2.h>
#include <lcms2_plugin.h>

#include "reader.h"

// No profile of a picture needs more at once; one that names absurd tables gets none.
enum { FVC_COLOURS_MOST_BYTES = 32 << 20 };

struct fvc_colours {
    cmsContext context;
    cmsHTRANSFORM transform;
    int channels;
    int is_grey;
    uint8_t greys[256][3];  // of a grey picture every pixel is one of these
};

static void *fv_colours_allocate(cmsContext context, cmsUInt32Number size)
{
    (void)context;
    return size <= FVC_COLOURS_MOST_BYTES ? malloc(size) : NULL;
}

static void fv_colours_free(cmsContext context, void *memory)
{
    (void)context;
    free(memory);
}

static void *fv_colours_reallocate(cmsContext context, void *memory, cmsUInt32Number size)
{
    (void)context;
    return size <= FVC_COLOURS_MOST_BYTES ? realloc(memory, size) : NULL;
}

static cmsPluginMemHandler fv_colours_memory = {
    {cmsPluginMagicNumber, 2060, cmsPluginMemHandlerSig, NULL},
    fv_colours_allocate, fv_colours_free, fv_colours_reallocate, NULL, NULL, NULL,
};

// 1 when no colour moves by more than a level: then the picture is left alone, to the bit.
static int fv_colours_change_nothing(const fvc_colours *colours)
{
    enum { STEPS = 9, PIXELS = STEPS * STEPS * STEPS + 256 };
    uint8_t before[PIXELS * 4];
    uint8_t after[PIXELS * 4];
    size_t channels = (size_t)colours->channels;
    for (int i = 0; i < PIXELS; i++) {
        uint8_t *pixel = before + (size_t)i * channels;
        int grey = i - STEPS * STEPS * STEPS;
        pixel[0] = (uint8_t)(grey >= 0 ? grey : i % STEPS * 255 / (STEPS - 1));
        pixel[1] = (uint8_t)(grey >= 0 ? grey : i / STEPS % STEPS * 255 / (STEPS - 1));
        pixel[2] = (uint8_t)(grey >= 0 ? grey : i / STEPS / STEPS * 255 / (STEPS - 1));
    }
    cmsDoTransform(colours->transform, before, after, PIXELS);
    for (size_t i = 0; i < PIXELS; i++) {
        for (size_t c = 0; c < 3; c++) {
            if (abs(before[i * channels + c] - after[i * channels + c]) > 1) {
                return 0;
            }
        }
    }
    return 1;
}

// One level of grey after the other through the profile; 1 when none moves by more than a level.
static int fv_colours_fill_greys(fvc_colours *colours, int is_rgb)
{
    uint8_t levels[256 * 3];
    for (int i = 0; i < 256; i++) {
        if (is_rgb) {
            memset(levels + 3 * i, i, 3);
        } else {
            levels[i] = (uint8_t)i;
        }
    }
    cmsDoTransform(colours->transform, levels, colours->greys, 256);
    int same = 1;
    for (int i = 0; i < 256 * 3; i++) {
        same = same && abs(colours->greys[i / 3][i % 3] - i / 3) <= 1;
    }
    return same;
}

// Fills the transform; returns why it cannot, or NULL.
static const char *fv_colours_connect(fvc_colours *colours, cmsHPROFILE from, cmsHPROFILE to, int *is_rgb)
{
    if (from == NULL || to == NULL) {
        return "the colour profile is damaged";
    }
    *is_rgb = cmsGetColorSpace(from) == cmsSigRgbData;
    if (!*is_rgb && !(colours->is_grey && cmsGetColorSpace(from) == cmsSigGrayData)) {
        return "the colour profile does not fit the picture";
    }
    // Of a picture with alpha the fourth byte is skipped, and stays.
    int skips = !colours->is_grey && colours->channels == 4;
    colours->transform = cmsCreateTransformTHR(
        colours->context, from, !*is_rgb ? TYPE_GRAY_8 : skips ? TYPE_RGBA_8 : TYPE_RGB_8, to,
        skips ? TYPE_RGBA_8 : TYPE_RGB_8, INTENT_PERCEPTUAL, 0);
    return colours->transform != NULL ? NULL : "the colour profile is damaged";
}

fvc_status fvc_colours_open(const uint8_t *profile, size_t count, int is_grey, int channels,
                            fvc_colours **opened, fvc_failure *failure)
{
    *opened = NULL;
    fvc_colours *colours = calloc(1, sizeof *colours);
    cmsContext context = colours != NULL ? cmsCreateContext(&fv_colours_memory, NULL) : NULL;
    if (context == NULL) {
        free(colours);
        return fvc_fail(failure, FVC_OUT_OF_MEMORY, 0, "no memory for the colour profile");
    }
    colours->context = context;
    colours->channels = channels;
    colours->is_grey = is_grey;
    cmsHPROFILE from = cmsOpenProfileFromMemTHR(context, profile, (cmsUInt32Number)count);
    cmsHPROFILE to = cmsCreate_sRGBProfileTHR(context);
    int is_rgb = 0;
    const char *problem = fv_colours_connect(colours, from, to, &is_rgb);
    if (from != NULL) {
        cmsCloseProfile(from);
    }
    if (to != NULL) {
        cmsCloseProfile(to);
    }
    int same = problem != NULL
        || (is_grey ? fv_colours_fill_greys(colours, is_rgb) : fv_colours_change_nothing(colours));
    if (same) {
        fvc_colours_close(colours);
    } else {
        *opened = colours;
    }
    return problem == NULL ? FVC_OK : fvc_fail(failure, FVC_CORRUPT, 0, problem);
}

void fvc_colours_apply(const fvc_colours *colours, uint8_t *pixels, size_t count)
{
    if (colours->is_grey) {
        for (size_t i = 0; i < count; i++, pixels += colours->channels) {
            memcpy(pixels, colours->greys[pixels[0]], 3);
        }
        return;
    }
    while (count > 0) {
        size_t part = count < 1 << 20 ? count : 1 << 20;
        cmsDoTransform(colours->transform, pixels, pixels, (cmsUInt32Number)part);
        pixels += part * (size_t)colours->channels;
        count -= part;
    }
}

void fvc_colours_close(fvc_colours *colours)
{
    if (colours == NULL) {
        return;
    }
    if (colours->transform != NULL) {
        cmsDeleteTransform(colours->transform);
    }
    if (colours->context != NULL) {
        cmsDeleteContext(colours->context);
    }
    free(colours);
}
