// PNG through libpng. Only the chunks that hold pixels are looked at; text, profiles and times are
// skipped unread, so a compressed chunk that unfolds to gigabytes never unfolds.
#include <setjmp.h>
#include <stdlib.h>

#include <png.h>

#include "failure.h"

typedef struct {
    const uint8_t *bytes;
    size_t count;
    size_t offset;
    fvc_status status;
    fvc_failure *failure;
} fv_png_source;

static void fv_png_source_read(png_structp png, png_bytep destination, size_t wanted)
{
    fv_png_source *source = png_get_io_ptr(png);
    if (wanted > source->count - source->offset) {
        source->status = FVC_TRUNCATED;
        source->offset = source->count;
        png_error(png, "the file ends inside a chunk");
    }
    memcpy(destination, source->bytes + source->offset, wanted);
    source->offset += wanted;
}

static void fv_png_on_error(png_structp png, png_const_charp text)
{
    fv_png_source *source = png_get_error_ptr(png);
    if (source->status == FVC_OK) {
        source->status = strstr(text, "Out of memory") || strstr(text, "Insufficient memory")
            ? FVC_OUT_OF_MEMORY : FVC_CORRUPT;
    }
    fvc_fail(source->failure, source->status, source->offset, text);
    png_longjmp(png, 1);
}

static void fv_png_on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

// Reads up to the first IDAT. Called below a setjmp on png's jump buffer.
static void fv_png_open(png_structp png, png_infop info, fv_png_source *source)
{
    png_set_read_fn(png, source, fv_png_source_read);
    // The caller has its own limits on the sides and says so better; these two must not speak first.
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_chunk_malloc_max(png, 1 << 20);
    png_set_chunk_cache_max(png, 16);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_read_info(png, info);
}

// What a row holds while libpng writes it. Rows are written at the end of their place in the RGB buffer
// and spread out afterwards, front to back, so no second picture is needed even when interlaced.
typedef enum {
    PNG_ROW_RGB,      // 3 bytes a pixel: nothing left to do
    PNG_ROW_INDEX,    // 1 byte a pixel, to be looked up in the palette
    PNG_ROW_GREY_16,  // 2 bytes a pixel, big end first, to be clipped
} fv_png_row_kind;

static fv_png_row_kind fv_png_choose_rows(png_structp png, png_infop info)
{
    int colour = png_get_color_type(png, info);
    int depth = png_get_bit_depth(png, info);
    if (colour == PNG_COLOR_TYPE_PALETTE) {
        png_set_packing(png);
        return PNG_ROW_INDEX;
    }
    if (colour == PNG_COLOR_TYPE_GRAY && depth == 16) {
        return PNG_ROW_GREY_16;
    }
    if (depth == 16) {
        png_set_strip_16(png);
    }
    if (colour & PNG_COLOR_MASK_ALPHA) {
        png_set_strip_alpha(png);
    }
    if (!(colour & PNG_COLOR_MASK_COLOR)) {
        if (depth < 8) {
            png_set_expand_gray_1_2_4_to_8(png);
        }
        png_set_gray_to_rgb(png);
    }
    return PNG_ROW_RGB;
}

// Indices past the end of the palette are black, as in Pillow.
static void fv_png_fill_palette(png_structp png, png_infop info, uint8_t palette[256][3])
{
    png_colorp colours = NULL;
    int used = 0;
    png_get_PLTE(png, info, &colours, &used);
    for (int i = 0; i < 256; i++) {
        int known = colours != NULL && i < used;
        palette[i][0] = known ? colours[i].red : 0;
        palette[i][1] = known ? colours[i].green : 0;
        palette[i][2] = known ? colours[i].blue : 0;
    }
}

static void fv_png_spread_indices(uint8_t *row, size_t width, uint8_t palette[256][3])
{
    for (size_t x = 0; x < width; x++) {
        const uint8_t *colour = palette[row[2 * width + x]];
        row[3 * x] = colour[0];
        row[3 * x + 1] = colour[1];
        row[3 * x + 2] = colour[2];
    }
}

static void fv_png_spread_grey16(uint8_t *row, size_t width)
{
    for (size_t x = 0; x < width; x++) {
        uint8_t value = row[width + 2 * x] != 0 ? 255 : row[width + 2 * x + 1];
        row[3 * x] = row[3 * x + 1] = row[3 * x + 2] = value;
    }
}

static void fv_png_read_rows(png_structp png, png_infop info, size_t width, size_t height, uint8_t *rgb)
{
    uint8_t palette[256][3];
    fv_png_row_kind kind = fv_png_choose_rows(png, info);
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    size_t used = width * (kind == PNG_ROW_RGB ? 3 : kind == PNG_ROW_INDEX ? 1 : 2);
    if (png_get_rowbytes(png, info) != used) {
        png_error(png, "unexpected row length");
    }
    for (int pass = 0; pass < passes; pass++) {
        for (size_t y = 0; y < height; y++) {
            png_read_row(png, rgb + (y + 1) * width * 3 - used, NULL);
        }
    }
    if (kind == PNG_ROW_INDEX) {
        fv_png_fill_palette(png, info, palette);
    }
    for (size_t y = 0; y < height && kind != PNG_ROW_RGB; y++) {
        if (kind == PNG_ROW_INDEX) {
            fv_png_spread_indices(rgb + y * width * 3, width, palette);
        } else {
            fv_png_spread_grey16(rgb + y * width * 3, width);
        }
    }
}

// The common frame of both calls: rgb == NULL stops after the header.
static fvc_status fv_png_run(const uint8_t *bytes, size_t count, fvc_header *header, uint8_t *rgb,
                          size_t capacity, fvc_failure *failure)
{
    fv_png_source source = {.bytes = bytes, .count = count, .failure = failure};
    png_structp png
        = png_create_read_struct(PNG_LIBPNG_VER_STRING, &source, fv_png_on_error, fv_png_on_warning);
    png_infop info = png != NULL ? png_create_info_struct(png) : NULL;
    if (info == NULL) {
        png_destroy_read_struct(&png, NULL, NULL);
        return fvc_fail(failure, FVC_OUT_OF_MEMORY, 0, "no memory to open the file");
    }
    if (setjmp(png_jmpbuf(png))) {
        png_destroy_read_struct(&png, &info, NULL);
        return source.status;
    }
    fv_png_open(png, info, &source);
    uint32_t width = png_get_image_width(png, info);
    uint32_t height = png_get_image_height(png, info);
    if (rgb == NULL) {
        header->width = (int32_t)width;
        header->height = (int32_t)height;
    } else if ((int64_t)width != header->width || (int64_t)height != header->height
               || !fvc_fits(*header, capacity)) {
        source.status = fvc_fail(failure, FVC_MISMATCH, 0, "the buffer does not fit the picture");
    } else {
        fv_png_read_rows(png, info, width, height, rgb);
    }
    png_destroy_read_struct(&png, &info, NULL);
    return source.status;
}

fvc_status fvc_png_header(const uint8_t *bytes, size_t count, fvc_header *header, fvc_failure *failure)
{
    return fv_png_run(bytes, count, header, NULL, 0, failure);
}

fvc_status fvc_png_decode(const uint8_t *bytes, size_t count, fvc_header header, uint8_t *rgb,
                          size_t capacity, fvc_failure *failure)
{
    return fv_png_run(bytes, count, &header, rgb, capacity, failure);
}
