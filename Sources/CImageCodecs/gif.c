// GIF through giflib, the first picture only. Rows are pulled one by one through its low-level calls:
// DGifSlurp would decode every picture of an animation and allocate whatever their headers promise.
#ifdef FVC_GIF

#include <gif_lib.h>
#include <stdlib.h>

#include "reader.h"

typedef struct {
    fvc_reader base;
    GifFileType *gif;
    const uint8_t *bytes;
    size_t count;
    size_t offset;
    int in_picture;         // the picture's data has begun
    int ended;              // the file's bytes are used up
    fvc_options options;
    uint8_t palette[256][3];
    int transparent;        // index of the transparent colour, -1 if there is none
    int32_t left, top, width, height;  // of the picture on its canvas
    GifPixelType *indices;  // one row, or the whole picture when it is interlaced
    int32_t rows_decoded;
    int rows_missing;
} fv_gif_reader;

static int fv_gif_source_read(GifFileType *gif, GifByteType *destination, int wanted)
{
    fv_gif_reader *reader = gif->UserData;
    size_t left = reader->count - reader->offset;
    size_t step = wanted < 0 ? 0 : (size_t)wanted < left ? (size_t)wanted : left;
    memcpy(destination, reader->bytes + reader->offset, step);
    reader->offset += step;
    if (step == (size_t)wanted) {
        return wanted;
    }
    reader->ended = 1;
    // An empty block says that the picture's data ends: what is missing behind the last pixel is no loss,
    // and giflib finds out by itself when pixels are missing.
    if (reader->in_picture && wanted == 1) {
        *destination = 0;
        return 1;
    }
    return (int)step;
}

static fvc_status fv_gif_failure(fv_gif_reader *reader, int code, const char *cut, fvc_failure *failure)
{
    if (code == D_GIF_ERR_NOT_ENOUGH_MEM) {
        return fvc_fail(failure, FVC_OUT_OF_MEMORY, reader->offset, "no memory to decode the picture");
    }
    if (reader->ended || code == D_GIF_ERR_READ_FAILED) {
        return fvc_fail(failure, FVC_TRUNCATED, reader->offset, cut);
    }
    const char *text = GifErrorString(code);
    return fvc_fail(failure, FVC_CORRUPT, reader->offset, text != NULL ? text : "the data break GIF's rules");
}

// A graphic control block before the picture may name a transparent colour.
static fvc_status fv_gif_read_extension(fv_gif_reader *reader, fvc_failure *failure)
{
    int kind = 0;
    GifByteType *block = NULL;
    int status = DGifGetExtension(reader->gif, &kind, &block);
    if (status == GIF_OK && block != NULL && kind == GRAPHICS_EXT_FUNC_CODE && block[0] >= 4) {
        reader->transparent = (block[1] & 1) != 0 ? block[4] : -1;
    }
    while (status == GIF_OK && block != NULL) {
        status = DGifGetExtensionNext(reader->gif, &block);
    }
    return status == GIF_OK ? FVC_OK
                            : fv_gif_failure(reader, reader->gif->Error, "the header is cut off", failure);
}

static fvc_status fv_gif_find_picture(fv_gif_reader *reader, fvc_failure *failure)
{
    for (;;) {
        GifRecordType kind = UNDEFINED_RECORD_TYPE;
        if (DGifGetRecordType(reader->gif, &kind) != GIF_OK) {
            return fv_gif_failure(reader, reader->gif->Error, "the file ends before its picture", failure);
        }
        if (kind == TERMINATE_RECORD_TYPE) {
            return fvc_fail(failure, FVC_CORRUPT, reader->offset, "the file holds no picture");
        }
        if (kind == IMAGE_DESC_RECORD_TYPE) {
            if (DGifGetImageDesc(reader->gif) != GIF_OK) {
                return fv_gif_failure(reader, reader->gif->Error, "the header is cut off", failure);
            }
            reader->in_picture = 1;
            return FVC_OK;
        }
        if (kind == EXTENSION_RECORD_TYPE) {
            fvc_status status = fv_gif_read_extension(reader, failure);
            if (status != FVC_OK) {
                return status;
            }
        }
    }
}

// The picture's own palette or the file's; without either the indices are shades of grey, and those beyond
// the palette are black, both as in Pillow.
static void fv_gif_fill_palette(fv_gif_reader *reader)
{
    const ColorMapObject *map
        = reader->gif->Image.ColorMap != NULL ? reader->gif->Image.ColorMap : reader->gif->SColorMap;
    for (int i = 0; i < 256; i++) {
        if (map == NULL) {
            memset(reader->palette[i], i, 3);
        } else if (i < map->ColorCount) {
            reader->palette[i][0] = map->Colors[i].Red;
            reader->palette[i][1] = map->Colors[i].Green;
            reader->palette[i][2] = map->Colors[i].Blue;
        }
    }
}

static fvc_status fv_gif_read_header(fv_gif_reader *reader, fvc_failure *failure)
{
    fvc_status status = fv_gif_find_picture(reader, failure);
    if (status != FVC_OK) {
        return status;
    }
    const GifFileType *gif = reader->gif;
    reader->left = gif->Image.Left;
    reader->top = gif->Image.Top;
    reader->width = gif->Image.Width;
    reader->height = gif->Image.Height;
    if (reader->width <= 0 || reader->height <= 0 || reader->left < 0 || reader->top < 0) {
        return fvc_fail(failure, FVC_CORRUPT, reader->offset, "the picture has no pixels");
    }
    fv_gif_fill_palette(reader);
    // Some files name no canvas or one that the picture does not fit in: it grows, as in Pillow.
    int32_t right = reader->left + reader->width;
    int32_t bottom = reader->top + reader->height;
    int32_t width = gif->SWidth > right ? gif->SWidth : right;
    int32_t height = gif->SHeight > bottom ? gif->SHeight : bottom;
    int covered = reader->width == width && reader->height == height;
    reader->base.header = (fvc_header){
        .width = width,
        .height = height,
        .channels = reader->transparent >= 0 || !covered ? 4 : 3,
        .working_bytes = gif->Image.Interlace ? ((size_t)reader->width + 1) * (size_t)reader->height : 0,
    };
    return FVC_OK;
}

// Decodes one row of the picture. 0 when it is missing and the caller accepts that.
static fvc_status fv_gif_decode_row(fv_gif_reader *reader, GifPixelType *row, fvc_failure *failure)
{
    if (DGifGetLine(reader->gif, row, reader->width) == GIF_OK) {
        reader->rows_decoded++;
        return FVC_OK;
    }
    int code = reader->gif->Error;
    // giflib says the same of a file that ends and of data that end.
    int truncated = reader->ended || code == D_GIF_ERR_EOF_TOO_SOON || code == D_GIF_ERR_READ_FAILED;
    if (truncated && reader->options.allow_truncated) {
        reader->rows_missing = 1;
        fvc_note_missing_rows(&reader->base, (uint32_t)(reader->top + reader->rows_decoded), "the file ends");
        return FVC_OK;
    }
    char text[96];
    snprintf(text, sizeof text, "the data end in row %d of %d", (int)reader->rows_decoded, (int)reader->height);
    if (truncated) {
        return fvc_fail(failure, FVC_TRUNCATED, reader->offset, text);
    }
    return fv_gif_failure(reader, code, text, failure);
}

enum { FVC_GIF_MISSING = 1, FVC_GIF_PASSES = 4 };

// Interlaced rows come in four passes, so the whole picture is needed before its first rows can be given.
// A mark per row tells which were decoded; it stands behind the indices.
static fvc_status fv_gif_decode_interlaced(fv_gif_reader *reader, fvc_failure *failure)
{
    static const int start[FVC_GIF_PASSES] = {0, 4, 2, 1};
    static const int step[FVC_GIF_PASSES] = {8, 8, 4, 2};
    size_t width = (size_t)reader->width;
    uint8_t *missing = reader->indices + width * (size_t)reader->height;
    memset(missing, FVC_GIF_MISSING, (size_t)reader->height);
    for (int pass = 0; pass < FVC_GIF_PASSES; pass++) {
        for (int32_t y = start[pass]; y < reader->height && !reader->rows_missing; y += step[pass]) {
            fvc_status status = fv_gif_decode_row(reader, reader->indices + (size_t)y * width, failure);
            if (status != FVC_OK) {
                return status;
            }
            missing[y] = reader->rows_missing ? FVC_GIF_MISSING : 0;
        }
    }
    return FVC_OK;
}

static void fv_gif_put_pixel(const fv_gif_reader *reader, int index, int opaque, uint8_t *pixel)
{
    memcpy(pixel, reader->palette[index], 3);
    if (reader->base.header.channels == 4) {
        pixel[3] = opaque ? 255 : 0;
    }
}

// The canvas around the picture is transparent.
static void fv_gif_clear(const fv_gif_reader *reader, uint8_t *pixels, size_t count)
{
    int index = reader->transparent >= 0 ? reader->transparent : 0;
    for (size_t x = 0; x < count; x++) {
        fv_gif_put_pixel(reader, index, 0, pixels + x * (size_t)reader->base.header.channels);
    }
}

static fvc_status fv_gif_start(fv_gif_reader *reader, fvc_failure *failure)
{
    size_t width = (size_t)reader->width;
    size_t height = (size_t)reader->height;
    int interlaced = reader->gif->Image.Interlace;
    reader->indices = calloc(interlaced ? (width + 1) * height : width, 1);
    if (reader->indices == NULL) {
        return fvc_fail(failure, FVC_OUT_OF_MEMORY, 0, "no memory for the indices");
    }
    return interlaced ? fv_gif_decode_interlaced(reader, failure) : FVC_OK;
}

static fvc_status fv_gif_read_row(fv_gif_reader *reader, int32_t y, uint8_t *out, fvc_failure *failure)
{
    size_t channels = (size_t)reader->base.header.channels;
    size_t width = (size_t)reader->width;
    size_t canvas = (size_t)reader->base.header.width;
    size_t left = (size_t)reader->left;
    if (y < reader->top || y >= reader->top + reader->height) {
        fv_gif_clear(reader, out, canvas);
        return FVC_OK;
    }
    const GifPixelType *row = reader->indices;
    int missing = reader->rows_missing;
    if (reader->gif->Image.Interlace) {
        size_t at = (size_t)(y - reader->top);
        row += at * width;
        missing = reader->indices[width * (size_t)reader->height + at] == FVC_GIF_MISSING;
    } else if (!missing) {
        fvc_status status = fv_gif_decode_row(reader, reader->indices, failure);
        if (status != FVC_OK) {
            return status;
        }
        missing = reader->rows_missing;
    }
    fv_gif_clear(reader, out, left);
    if (missing) {
        fvc_fill_grey(out + left * channels, width, reader->base.header.channels);
    }
    for (size_t x = 0; x < width && !missing; x++) {
        fv_gif_put_pixel(reader, row[x], row[x] != reader->transparent, out + (left + x) * channels);
    }
    fv_gif_clear(reader, out + (left + width) * channels, canvas - left - width);
    return FVC_OK;
}

static fvc_status fv_gif_read_rows(fvc_reader *base, uint8_t *rows, int32_t count, fvc_failure *failure)
{
    fv_gif_reader *reader = (fv_gif_reader *)base;
    fvc_status status = reader->indices == NULL ? fv_gif_start(reader, failure) : FVC_OK;
    size_t stride = (size_t)base->header.width * (size_t)base->header.channels;
    for (int32_t y = 0; y < count && status == FVC_OK; y++) {
        status = fv_gif_read_row(reader, base->next_row + y, rows + (size_t)y * stride, failure);
    }
    return status;
}

static fvc_status fv_gif_finish(fvc_reader *base, fvc_failure *failure)
{
    (void)failure;
    fv_gif_reader *reader = (fv_gif_reader *)base;
    reader->in_picture = 0;
    if (reader->ended || reader->rows_missing) {
        if (!reader->rows_missing) {
            fvc_note(base, "the end of the file is missing, but no pixel is");
        }
        return FVC_OK;
    }
    // Is there another picture? Whatever else follows is none of ours.
    GifRecordType kind = UNDEFINED_RECORD_TYPE;
    while (DGifGetRecordType(reader->gif, &kind) == GIF_OK && kind == EXTENSION_RECORD_TYPE) {
        fvc_failure ignored;
        if (fv_gif_read_extension(reader, &ignored) != FVC_OK) {
            return FVC_OK;
        }
    }
    if (kind == IMAGE_DESC_RECORD_TYPE) {
        fvc_note(base, FVC_ANIMATION);
    }
    return FVC_OK;
}

static void fv_gif_close(fvc_reader *base)
{
    fv_gif_reader *reader = (fv_gif_reader *)base;
    if (reader->gif != NULL) {
        int ignored = 0;
        DGifCloseFile(reader->gif, &ignored);
    }
    free(reader->indices);
    free(reader);
}

fvc_status fvc_gif_open(const uint8_t *bytes, size_t count, fvc_options options, fvc_reader **opened,
                        fvc_header *header, fvc_failure *failure)
{
    static const fvc_operations operations = {fv_gif_read_rows, fv_gif_finish, fv_gif_close};
    fv_gif_reader *reader = fvc_make_reader(sizeof *reader, &operations, opened, failure);
    if (reader == NULL) {
        return FVC_OUT_OF_MEMORY;
    }
    reader->bytes = bytes;
    reader->count = count;
    reader->options = options;
    reader->transparent = -1;
    int code = 0;
    reader->gif = DGifOpen(reader, fv_gif_source_read, &code);
    fvc_status status = reader->gif == NULL
        ? fv_gif_failure(reader, code, "the header is cut off", failure) : fv_gif_read_header(reader, failure);
    return fvc_hand_over(&reader->base, status, opened, header);
}

#endif
