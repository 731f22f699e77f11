// JPEG through libjpeg-turbo, with the settings Pillow uses: the accurate integer DCT and smooth chroma
// upsampling, both libjpeg's defaults.
#include <setjmp.h>
#include <stdio.h>

#include <jpeglib.h>
#include <jerror.h>

#include "failure.h"

// A progressive file may name any number of scans, each a pass over the whole picture at the price of a
// few bytes. Encoders write about ten.
enum { FVC_JPEG_MAX_SCANS = 100 };

typedef struct {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    jmp_buf jump;
    const uint8_t *bytes;
    size_t count;
    fvc_status status;
    fvc_failure *failure;
} fv_jpeg_reader;

static size_t fv_jpeg_offset(const fv_jpeg_reader *reader)
{
    return reader->count - reader->source.bytes_in_buffer;
}

static fvc_status fv_jpeg_status(int code)
{
    switch (code) {
    case JERR_OUT_OF_MEMORY:
        return FVC_OUT_OF_MEMORY;
    case JERR_ARITH_NOTIMPL:
    case JERR_BAD_PRECISION:
    case JERR_COMPONENT_COUNT:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL:
    case JERR_CCIR601_NOTIMPL:
    case JERR_NOTIMPL:
    case JERR_NOT_COMPILED:
    case JERR_SOF_UNSUPPORTED:
        return FVC_UNSUPPORTED;
    default:
        return FVC_CORRUPT;
    }
}

static void fv_jpeg_error_exit(j_common_ptr info)
{
    fv_jpeg_reader *reader = info->client_data;
    char text[JMSG_LENGTH_MAX];
    info->err->format_message(info, text);
    fvc_status status = fv_jpeg_status(info->err->msg_code);
    reader->status = fvc_fail(reader->failure, status, fv_jpeg_offset(reader), text);
    longjmp(reader->jump, 1);
}

// Warnings (stray bytes between segments and the like) do not stop Pillow, so they do not stop us.
static void fv_jpeg_ignore_message(j_common_ptr info, int level)
{
    (void)info;
    (void)level;
}

static void fv_jpeg_ignore_output(j_common_ptr info)
{
    (void)info;
}

static void fv_jpeg_source_stub(j_decompress_ptr info)
{
    (void)info;
}

// The whole file is in the buffer from the start: when more is asked for, the file is truncated. Returning
// FALSE suspends the decoder instead of letting libjpeg invent an end marker and paint the rest grey.
static boolean fv_jpeg_source_fill(j_decompress_ptr info)
{
    (void)info;
    return FALSE;
}

static void fv_jpeg_source_skip(j_decompress_ptr info, long wanted)
{
    struct jpeg_source_mgr *source = info->src;
    if (wanted <= 0) {
        return;
    }
    size_t step = (size_t)wanted < source->bytes_in_buffer ? (size_t)wanted : source->bytes_in_buffer;
    source->next_input_byte += step;
    source->bytes_in_buffer -= step;
}

static void fv_jpeg_watch_scans(j_common_ptr common)
{
    fv_jpeg_reader *reader = common->client_data;
    if (reader->info.input_scan_number > FVC_JPEG_MAX_SCANS) {
        char text[96];
        snprintf(text, sizeof text, "more than %d progressive scans", FVC_JPEG_MAX_SCANS);
        reader->status = fvc_fail(reader->failure, FVC_OVER_LIMIT, fv_jpeg_offset(reader), text);
        longjmp(reader->jump, 1);
    }
}

// Everything up to the first scan. Called below a setjmp on reader->jump.
static fvc_status fv_jpeg_open(fv_jpeg_reader *reader)
{
    reader->info.err = jpeg_std_error(&reader->errors);
    reader->errors.error_exit = fv_jpeg_error_exit;
    reader->errors.emit_message = fv_jpeg_ignore_message;
    reader->errors.output_message = fv_jpeg_ignore_output;
    reader->info.client_data = reader;
    jpeg_create_decompress(&reader->info);
    reader->source = (struct jpeg_source_mgr){
        .next_input_byte = reader->bytes,
        .bytes_in_buffer = reader->count,
        .init_source = fv_jpeg_source_stub,
        .fill_input_buffer = fv_jpeg_source_fill,
        .skip_input_data = fv_jpeg_source_skip,
        .resync_to_restart = jpeg_resync_to_restart,
        .term_source = fv_jpeg_source_stub,
    };
    reader->info.src = &reader->source;
    reader->progress.progress_monitor = fv_jpeg_watch_scans;
    reader->info.progress = &reader->progress;
    if (jpeg_read_header(&reader->info, TRUE) != JPEG_HEADER_OK) {
        return fvc_fail(reader->failure, FVC_TRUNCATED, fv_jpeg_offset(reader), "the header is cut off");
    }
    int components = reader->info.num_components;
    if (components != 1 && components != 3 && components != 4) {
        char text[64];
        snprintf(text, sizeof text, "%d colour components", components);
        return fvc_fail(reader->failure, FVC_UNSUPPORTED, fv_jpeg_offset(reader), text);
    }
    return FVC_OK;
}

// One row of inverted CMYK to RGB with Pillow's arithmetic: (255 - k) - (c * (255 - k)) / 255, the
// division rounded, for c, m, y, k after the inversion.
static void fv_jpeg_cmyk_row(const uint8_t *cmyk, uint8_t *rgb, size_t width)
{
    for (size_t x = 0; x < width; x++, cmyk += 4, rgb += 3) {
        int rest = cmyk[3];
        for (int c = 0; c < 3; c++) {
            int product = (255 - cmyk[c]) * rest + 128;
            int value = rest - (((product >> 8) + product) >> 8);
            rgb[c] = (uint8_t)(value < 0 ? 0 : value);
        }
    }
}

static fvc_status fv_jpeg_read_rows(fv_jpeg_reader *reader, uint8_t *rgb)
{
    struct jpeg_decompress_struct *info = &reader->info;
    int inks = info->num_components == 4;
    info->out_color_space = inks ? JCS_CMYK : JCS_RGB;
    if (!jpeg_start_decompress(info)) {
        return fvc_fail(reader->failure, FVC_TRUNCATED, fv_jpeg_offset(reader),
                        "the file ends before its last scan");
    }
    size_t width = info->output_width;
    JSAMPARRAY scratch = NULL;
    if (inks) {
        scratch = info->mem->alloc_sarray((j_common_ptr)info, JPOOL_IMAGE, (JDIMENSION)(width * 4), 1);
    }
    while (info->output_scanline < info->output_height) {
        JSAMPROW row = rgb + (size_t)info->output_scanline * width * 3;
        if (jpeg_read_scanlines(info, inks ? scratch : &row, 1) != 1) {
            char text[96];
            snprintf(text, sizeof text, "the file ends in row %u of %u", (unsigned)info->output_scanline,
                     (unsigned)info->output_height);
            return fvc_fail(reader->failure, FVC_TRUNCATED, fv_jpeg_offset(reader), text);
        }
        if (inks) {
            fv_jpeg_cmyk_row(scratch[0], row, width);
        }
    }
    return FVC_OK;
}

fvc_status fvc_jpeg_header(const uint8_t *bytes, size_t count, fvc_header *header, fvc_failure *failure)
{
    fv_jpeg_reader reader = {.bytes = bytes, .count = count, .failure = failure};
    if (setjmp(reader.jump)) {
        jpeg_destroy_decompress(&reader.info);
        return reader.status;
    }
    fvc_status status = fv_jpeg_open(&reader);
    if (status == FVC_OK) {
        header->width = (int32_t)reader.info.image_width;
        header->height = (int32_t)reader.info.image_height;
    }
    jpeg_destroy_decompress(&reader.info);
    return status;
}

fvc_status fvc_jpeg_decode(const uint8_t *bytes, size_t count, fvc_header header, uint8_t *rgb,
                           size_t capacity, fvc_failure *failure)
{
    fv_jpeg_reader reader = {.bytes = bytes, .count = count, .failure = failure};
    if (setjmp(reader.jump)) {
        jpeg_destroy_decompress(&reader.info);
        return reader.status;
    }
    fvc_status status = fv_jpeg_open(&reader);
    if (status == FVC_OK) {
        if ((int64_t)reader.info.image_width != header.width
            || (int64_t)reader.info.image_height != header.height || !fvc_fits(header, capacity)) {
            status = fvc_fail(failure, FVC_MISMATCH, 0, "the buffer does not fit the picture");
        } else {
            status = fv_jpeg_read_rows(&reader, rgb);
        }
    }
    jpeg_destroy_decompress(&reader.info);
    return status;
}
