// PNG through libpng. Only the chunks that hold pixels and the colour profile are looked at; text and times
// are skipped unread, so a compressed chunk that unfolds to gigabytes never unfolds.
#include <setjmp.h>
#include <stdlib.h>

#include <png.h>

#include "reader.h"

// How libpng's rows become those delivered.
typedef enum {
    PNG_ROW_FINAL,    // nothing left to do
    PNG_ROW_INDEX,    // 1 byte a pixel, to be looked up in the palette
    PNG_ROW_GREY_16,  // 2 bytes a pixel, big end first
} fv_png_row_kind;

typedef struct {
    fvc_reader base;
    png_structp png;
    png_infop info;
    const uint8_t *bytes;
    size_t count;
    size_t offset;
    fvc_options options;
    fvc_status status;
    fvc_failure *failure;     // of the call in progress
    fv_png_row_kind kind;
    size_t row_bytes;         // of a row as libpng gives it
    int passes;
    int started;
    int lost;                 // an error ended the pixels; the rest is grey
    uint8_t palette[256][4];
    int has_key;              // one grey value of 16 bits is transparent
    unsigned key;
    uint8_t *row;             // one row, when it is not final
    uint8_t *frame;           // an interlaced picture
} fv_png_reader;

static void fv_png_source_read(png_structp png, png_bytep destination, size_t wanted)
{
    fv_png_reader *reader = png_get_io_ptr(png);
    if (wanted > reader->count - reader->offset) {
        reader->status = FVC_TRUNCATED;
        reader->offset = reader->count;
        png_error(png, "the file ends inside a chunk");
    }
    memcpy(destination, reader->bytes + reader->offset, wanted);
    reader->offset += wanted;
}

static void fv_png_on_error(png_structp png, png_const_charp text)
{
    fv_png_reader *reader = png_get_error_ptr(png);
    if (reader->status == FVC_OK) {
        reader->status = strstr(text, "Out of memory") || strstr(text, "Insufficient memory")
            ? FVC_OUT_OF_MEMORY : FVC_CORRUPT;
    }
    fvc_fail(reader->failure, reader->status, reader->offset, text);
    png_longjmp(png, 1);
}

// A damaged chunk that holds no pixels is left out. Only a profile's absence changes the picture.
static void fv_png_on_warning(png_structp png, png_const_charp text)
{
    fv_png_reader *reader = png_get_error_ptr(png);
    if (strncmp(text, "iCCP", 4) == 0 && strstr(text, "known incorrect sRGB") == NULL) {
        fvc_note(&reader->base, "the colour profile is damaged and was left out");
    }
}

static void fv_png_read_header(fv_png_reader *reader)
{
    png_structp png = reader->png;
    png_set_read_fn(png, reader, fv_png_source_read);
    // The caller has its own limits on the sides and says so better; these two must not speak first.
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_chunk_malloc_max(png, FVC_PROFILE_BYTES);
    png_set_chunk_cache_max(png, 16);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_AS_DEFAULT, (png_const_bytep) "iCCP", 1);
    // Some encoders declare a smaller zlib window than they use.
    png_set_option(png, PNG_MAXIMUM_INFLATE_WINDOW, PNG_OPTION_ON);
    png_read_info(png, reader->info);
}

// Indices past the end of the palette are black, as in Pillow.
static void fv_png_fill_palette(fv_png_reader *reader)
{
    png_colorp colours = NULL;
    int used = 0;
    png_get_PLTE(reader->png, reader->info, &colours, &used);
    png_bytep alpha = NULL;
    int transparent = 0;
    png_get_tRNS(reader->png, reader->info, &alpha, &transparent, NULL);
    for (int i = 0; i < 256; i++) {
        int known = colours != NULL && i < used;
        reader->palette[i][0] = known ? colours[i].red : 0;
        reader->palette[i][1] = known ? colours[i].green : 0;
        reader->palette[i][2] = known ? colours[i].blue : 0;
        reader->palette[i][3] = alpha != NULL && i < transparent ? alpha[i] : 255;
    }
}

static void fv_png_choose_rows(fv_png_reader *reader)
{
    png_structp png = reader->png;
    int colour = png_get_color_type(png, reader->info);
    int depth = png_get_bit_depth(png, reader->info);
    int has_key = png_get_valid(png, reader->info, PNG_INFO_tRNS) != 0;
    reader->base.header.channels = has_key || (colour & PNG_COLOR_MASK_ALPHA) ? 4 : 3;
    reader->base.header.is_grey = !(colour & PNG_COLOR_MASK_COLOR);
    if (colour == PNG_COLOR_TYPE_PALETTE) {
        reader->kind = PNG_ROW_INDEX;
        fv_png_fill_palette(reader);
        png_set_packing(png);
        return;
    }
    if (colour == PNG_COLOR_TYPE_GRAY && depth == 16) {
        png_color_16p key = NULL;
        reader->kind = PNG_ROW_GREY_16;
        reader->has_key = has_key && png_get_tRNS(png, reader->info, NULL, NULL, &key) && key != NULL;
        reader->key = reader->has_key ? key->gray : 0;
        return;
    }
    reader->kind = PNG_ROW_FINAL;
    if (has_key) {
        png_set_tRNS_to_alpha(png);
    }
    if (depth == 16) {
        png_set_strip_16(png);
    }
    if (!(colour & PNG_COLOR_MASK_COLOR)) {
        if (depth < 8) {
            png_set_expand_gray_1_2_4_to_8(png);
        }
        png_set_gray_to_rgb(png);
    }
}

static void fv_png_take_profile(fv_png_reader *reader)
{
    png_charp name = NULL;
    png_bytep profile = NULL;
    png_uint_32 length = 0;
    int method = 0;
    if (png_get_iCCP(reader->png, reader->info, &name, &method, &profile, &length)) {
        reader->base.header.profile = profile;
        reader->base.header.profile_bytes = length;
    }
}

// 1 when an animation control chunk before the pixels promises more than one frame. libpng does not know it.
static int fv_png_is_animation(const fv_png_reader *reader)
{
    size_t offset = 8;
    while (reader->count - offset >= 16) {
        const uint8_t *chunk = reader->bytes + offset;
        size_t length = png_get_uint_32(chunk);
        if (memcmp(chunk + 4, "IDAT", 4) == 0 || length > reader->count - offset - 12) {
            return 0;
        }
        if (memcmp(chunk + 4, "acTL", 4) == 0) {
            return length == 8 && png_get_uint_32(chunk + 8) > 1;
        }
        offset += 12 + length;
    }
    return 0;
}

// Everything before the first row; called below a setjmp.
static void fv_png_prepare(fv_png_reader *reader)
{
    fv_png_read_header(reader);
    reader->base.header.width = (int32_t)png_get_image_width(reader->png, reader->info);
    reader->base.header.height = (int32_t)png_get_image_height(reader->png, reader->info);
    fv_png_choose_rows(reader);
    fv_png_take_profile(reader);
    size_t width = (size_t)reader->base.header.width;
    size_t pixel = reader->kind == PNG_ROW_INDEX ? 1
        : reader->kind == PNG_ROW_GREY_16        ? 2
                                                 : (size_t)reader->base.header.channels;
    reader->row_bytes = width * pixel;
    if (png_get_interlace_type(reader->png, reader->info) != PNG_INTERLACE_NONE) {
        reader->base.header.working_bytes = reader->row_bytes * (size_t)reader->base.header.height;
    }
}

static void fv_png_spread(const fv_png_reader *reader, const uint8_t *row, uint8_t *to)
{
    size_t width = (size_t)reader->base.header.width;
    size_t channels = (size_t)reader->base.header.channels;
    if (reader->kind == PNG_ROW_FINAL) {
        memcpy(to, row, reader->row_bytes);
        return;
    }
    for (size_t x = 0; x < width; x++, to += channels) {
        if (reader->kind == PNG_ROW_INDEX) {
            memcpy(to, reader->palette[row[x]], channels);
            continue;
        }
        unsigned value = (unsigned)row[2 * x] << 8 | row[2 * x + 1];
        unsigned clipped = value > 255 ? 255 : value;
        to[0] = to[1] = to[2] = (uint8_t)(reader->options.reference_depth ? clipped : value >> 8);
        if (channels == 4) {
            to[3] = reader->has_key && value == reader->key ? 0 : 255;
        }
    }
}

// 1 when an error came only after the last pixel, while libpng looked for the end of the data.
static int fv_png_has_all_pixels(const fv_png_reader *reader)
{
    if (reader->frame != NULL) {
        return png_get_current_pass_number(reader->png) >= 7;
    }
    return png_get_current_row_number(reader->png) >= (png_uint_32)reader->base.header.height;
}

// Called where libpng's jump lands while pixels were read: FVC_OK when reading may go on.
static fvc_status fv_png_after_error(fv_png_reader *reader)
{
    if (reader->status == FVC_OUT_OF_MEMORY || !reader->started) {
        return reader->status;
    }
    if (reader->status == FVC_TRUNCATED && fv_png_has_all_pixels(reader)) {
        fvc_note(&reader->base, "the end of the file is missing, but no pixel is");
    } else if (reader->options.allow_truncated) {
        const char *cause = reader->status == FVC_TRUNCATED ? "the file ends" : "the data is damaged";
        unsigned row = reader->frame != NULL ? 0 : png_get_current_row_number(reader->png);
        if (reader->frame != NULL) {
            fvc_note(&reader->base, "the data of the interlaced picture ends early, so it is coarse");
        } else {
            fvc_note_missing_rows(&reader->base, row, cause);
        }
    } else {
        return reader->status;
    }
    reader->status = FVC_OK;
    reader->lost = 1;
    return FVC_OK;
}

// Allocates rows and frame. Called below a setjmp.
static void fv_png_start(fv_png_reader *reader)
{
    png_structp png = reader->png;
    reader->passes = png_set_interlace_handling(png);
    png_read_update_info(png, reader->info);
    if (png_get_rowbytes(png, reader->info) != reader->row_bytes) {
        png_error(png, "unexpected row length");
    }
    size_t height = (size_t)reader->base.header.height;
    int whole = reader->passes > 1;
    if (whole) {
        // The product was checked by the caller's limits, which know it as working_bytes.
        reader->frame = malloc(reader->row_bytes * height);
    } else if (reader->kind != PNG_ROW_FINAL) {
        reader->row = malloc(reader->row_bytes);
    }
    if ((whole && reader->frame == NULL)
        || (!whole && reader->kind != PNG_ROW_FINAL && reader->row == NULL)) {
        png_error(png, "Insufficient memory for the picture");
    }
    if (whole && reader->kind == PNG_ROW_FINAL) {
        fvc_fill_grey(reader->frame, (size_t)reader->base.header.width * height,
                      reader->base.header.channels);
    } else if (whole) {
        memset(reader->frame, reader->kind == PNG_ROW_INDEX ? 0 : FVC_GREY, reader->row_bytes * height);
    }
    reader->started = 1;
}

// libpng takes the data in blocks and loses the last one of a file that is cut off. Near the end of the file
// it gets single bytes, so every row comes out whose data is there. Deflate adds next to nothing to a row.
static void fv_png_watch_end(fv_png_reader *reader)
{
    size_t left = reader->count - reader->offset;
    if (left < (1 << 14) || left - (1 << 14) < reader->row_bytes) {
        png_set_compression_buffer_size(reader->png, 1);
    }
}

// All passes of an interlaced picture. Called below a setjmp.
static void fv_png_read_frame(fv_png_reader *reader)
{
    size_t height = (size_t)reader->base.header.height;
    for (int pass = 0; pass < reader->passes; pass++) {
        for (size_t y = 0; y < height; y++) {
            png_bytep row = reader->frame + y * reader->row_bytes;
            fv_png_watch_end(reader);
            // The second form repeats every pixel over the gaps that later passes fill.
            if (reader->options.allow_truncated) {
                png_read_row(reader->png, NULL, row);
            } else {
                png_read_row(reader->png, row, NULL);
            }
        }
    }
}

static fvc_status fv_png_start_reading(fv_png_reader *reader)
{
    if (setjmp(png_jmpbuf(reader->png))) {
        return fv_png_after_error(reader);
    }
    fv_png_start(reader);
    if (reader->frame != NULL) {
        fv_png_read_frame(reader);
    }
    return FVC_OK;
}

// One row of a picture that is not interlaced.
static fvc_status fv_png_read_row(fv_png_reader *reader, uint8_t *row)
{
    int32_t channels = reader->base.header.channels;
    if (!reader->lost) {
        if (setjmp(png_jmpbuf(reader->png))) {
            fvc_status status = fv_png_after_error(reader);
            // An error after the last pixel leaves the row whole.
            if (status != FVC_OK || fv_png_has_all_pixels(reader)) {
                return status;
            }
        } else {
            fv_png_watch_end(reader);
            png_read_row(reader->png, row, NULL);
            return FVC_OK;
        }
    }
    memset(row, FVC_GREY, reader->row_bytes);
    if (reader->kind == PNG_ROW_FINAL) {
        fvc_fill_grey(row, (size_t)reader->base.header.width, channels);
    }
    return FVC_OK;
}

static fvc_status fv_png_read_rows(fvc_reader *base, uint8_t *rows, int32_t count, fvc_failure *failure)
{
    fv_png_reader *reader = (fv_png_reader *)base;
    reader->failure = failure;
    if (!reader->started) {
        fvc_status status = fv_png_start_reading(reader);
        if (status != FVC_OK) {
            return status;
        }
    }
    size_t length = (size_t)base->header.width * (size_t)base->header.channels;
    for (int32_t y = 0; y < count; y++) {
        uint8_t *to = rows + (size_t)y * length;
        if (reader->frame != NULL) {
            size_t row = (size_t)(base->next_row + y);
            fv_png_spread(reader, reader->frame + row * reader->row_bytes, to);
            continue;
        }
        uint8_t *row = reader->row != NULL ? reader->row : to;
        fvc_status status = fv_png_read_row(reader, row);
        if (status != FVC_OK) {
            return status;
        }
        if (reader->lost && row != to && !fv_png_has_all_pixels(reader)) {
            fvc_fill_grey(to, (size_t)base->header.width, base->header.channels);
        } else if (row != to) {
            fv_png_spread(reader, row, to);
        }
    }
    return FVC_OK;
}

// Nothing after the pixels can change them, so what is wrong there is only remarked.
static fvc_status fv_png_finish(fvc_reader *base, fvc_failure *failure)
{
    fv_png_reader *reader = (fv_png_reader *)base;
    reader->failure = failure;
    if (fv_png_is_animation(reader)) {
        fvc_note(base, FVC_ANIMATION);
    }
    if (reader->lost) {
        return FVC_OK;
    }
    if (setjmp(png_jmpbuf(reader->png))) {
        fvc_note(base, reader->status == FVC_TRUNCATED
                           ? "the end of the file is missing, but no pixel is"
                           : "what follows the pixels is damaged");
        return reader->status == FVC_OUT_OF_MEMORY ? reader->status : FVC_OK;
    }
    png_read_end(reader->png, NULL);
    return FVC_OK;
}

static void fv_png_close(fvc_reader *base)
{
    fv_png_reader *reader = (fv_png_reader *)base;
    png_destroy_read_struct(&reader->png, &reader->info, NULL);
    free(reader->row);
    free(reader->frame);
    free(reader);
}

fvc_status fvc_png_open(const uint8_t *bytes, size_t count, fvc_options options, fvc_reader **opened,
                        fvc_header *header, fvc_failure *failure)
{
    static const fvc_operations operations = {fv_png_read_rows, fv_png_finish, fv_png_close};
    fv_png_reader *reader = fvc_make_reader(sizeof *reader, &operations, opened, failure);
    if (reader == NULL) {
        return FVC_OUT_OF_MEMORY;
    }
    reader->bytes = bytes;
    reader->count = count;
    reader->options = options;
    reader->failure = failure;
    reader->png
        = png_create_read_struct(PNG_LIBPNG_VER_STRING, reader, fv_png_on_error, fv_png_on_warning);
    reader->info = reader->png != NULL ? png_create_info_struct(reader->png) : NULL;
    if (reader->info == NULL) {
        fvc_status status = fvc_fail(failure, FVC_OUT_OF_MEMORY, 0, "no memory to open the file");
        return fvc_hand_over(&reader->base, status, opened, header);
    }
    if (setjmp(png_jmpbuf(reader->png))) {
        return fvc_hand_over(&reader->base, reader->status, opened, header);
    }
    fv_png_prepare(reader);
    return fvc_hand_over(&reader->base, FVC_OK, opened, header);
}
