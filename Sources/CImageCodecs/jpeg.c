// JPEG through libjpeg-turbo, with the settings Pillow uses: the accurate integer DCT and smooth chroma
// upsampling, both libjpeg's defaults.
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>
#include <jerror.h>

#include "reader.h"

// A progressive file may name any number of scans, each a pass over the whole picture at the price of a
// few bytes. Encoders write about ten.
enum { FVC_JPEG_MAX_SCANS = 100 };

typedef struct {
    fvc_reader base;
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    jmp_buf jump;
    const uint8_t *bytes;
    size_t count;
    fvc_options options;
    fvc_status status;
    fvc_failure *failure;     // of the call in progress
    int started;
    int ended;                // the file's bytes are used up, an end marker was put in
    unsigned components;      // bit per component that some scan held
    uint8_t *profile;
    JSAMPARRAY inks;          // one row of CMYK
} fv_jpeg_reader;

static size_t fv_jpeg_offset(const fv_jpeg_reader *reader)
{
    return reader->ended ? reader->count : reader->count - reader->source.bytes_in_buffer;
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

static void fv_jpeg_stop(fv_jpeg_reader *reader, fvc_status status, const char *text)
{
    reader->status = fvc_fail(reader->failure, status, fv_jpeg_offset(reader), text);
    longjmp(reader->jump, 1);
}

static void fv_jpeg_error_exit(j_common_ptr info)
{
    fv_jpeg_reader *reader = info->client_data;
    char text[JMSG_LENGTH_MAX];
    info->err->format_message(info, text);
    fvc_status status = fv_jpeg_status(info->err->msg_code);
    // Whatever libjpeg makes of the end marker that was put in: the cause is that the file ends.
    if (reader->ended && status == FVC_CORRUPT) {
        fv_jpeg_stop(reader, FVC_TRUNCATED,
                     reader->started ? "the file ends between two scans" : "the header is cut off");
    }
    fv_jpeg_stop(reader, status, text);
}

// Row of the picture that the entropy decoder is at; of a file in several scans only the last one's matter.
static unsigned fv_jpeg_row(const fv_jpeg_reader *reader)
{
    unsigned row = reader->info.input_iMCU_row * (unsigned)(reader->info.max_v_samp_factor * DCTSIZE);
    return row < reader->info.image_height ? row : reader->info.image_height;
}

// Pixels cannot be decoded from here: an error, or grey and a remark where the caller wants that.
static void fv_jpeg_lose_pixels(fv_jpeg_reader *reader, fvc_status status, const char *cause)
{
    if (reader->options.allow_truncated) {
        fvc_note_missing_rows(&reader->base, fv_jpeg_row(reader), cause);
        return;
    }
    char text[160];
    snprintf(text, sizeof text, "%s in row %u of %u", cause, fv_jpeg_row(reader),
             (unsigned)reader->info.image_height);
    fv_jpeg_stop(reader, status, text);
}

// libjpeg goes on after a warning and makes pixels up. Those that mean that pixels of the picture are lost
// count as errors; stray bytes between segments, odd Adobe markers and the like do not.
static void fv_jpeg_warning(j_common_ptr info, int level)
{
    fv_jpeg_reader *reader = info->client_data;
    if (level >= 0 || !reader->started) {
        return;
    }
    switch (info->err->msg_code) {
    case JWRN_HIT_MARKER:
        if (reader->ended) {
            fv_jpeg_lose_pixels(reader, FVC_TRUNCATED, "the file ends");
        } else if (reader->info.unread_marker == JPEG_EOI) {
            fv_jpeg_lose_pixels(reader, FVC_TRUNCATED, "an end marker comes too early,");
        } else {
            fv_jpeg_lose_pixels(reader, FVC_CORRUPT, "a stray marker");
        }
        break;
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
        fv_jpeg_lose_pixels(reader, FVC_CORRUPT, "an impossible code");
        break;
    case JWRN_MUST_RESYNC:
        fv_jpeg_lose_pixels(reader, FVC_CORRUPT, "a restart marker out of order");
        break;
    case JWRN_EXTRANEOUS_DATA: {
        int marker = info->err->msg_parm.i[1];
        if (marker >= JPEG_RST0 && marker <= JPEG_RST0 + 7) {
            fv_jpeg_lose_pixels(reader, FVC_CORRUPT, "bytes that belong to no pixel");
        } else {
            fvc_note(&reader->base, "bytes that belong to no pixel follow a scan");
        }
        break;
    }
    default:
        break;
    }
}

static void fv_jpeg_ignore_output(j_common_ptr info)
{
    (void)info;
}

static void fv_jpeg_source_stub(j_decompress_ptr info)
{
    (void)info;
}

// The whole file is in the buffer from the start: when more is asked for, the file has ended. libjpeg asks
// early, when it has bits left for the last pixels, so an end marker lets it use them up; its warning tells
// when it would have needed more. Not so of arithmetic coding, whose data may end in zeros that are left out.
static boolean fv_jpeg_source_fill(j_decompress_ptr info)
{
    static const uint8_t end_marker[2] = {0xFF, JPEG_EOI};
    fv_jpeg_reader *reader = info->client_data;
    if (info->arith_code && reader->started && !reader->ended
        && info->output_scanline < info->output_height) {
        reader->ended = 1;
        fv_jpeg_lose_pixels(reader, FVC_TRUNCATED, "the file ends");
    }
    reader->ended = 1;
    info->src->next_input_byte = end_marker;
    info->src->bytes_in_buffer = sizeof end_marker;
    return TRUE;
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
    struct jpeg_decompress_struct *info = &reader->info;
    if (info->input_scan_number > FVC_JPEG_MAX_SCANS) {
        char text[96];
        snprintf(text, sizeof text, "more than %d progressive scans", FVC_JPEG_MAX_SCANS);
        fv_jpeg_stop(reader, FVC_OVER_LIMIT, text);
    }
    for (int i = 0; i < info->comps_in_scan; i++) {
        reader->components |= 1u << info->cur_comp_info[i]->component_index;
    }
}

// Coefficients of the whole picture, which libjpeg keeps when the file has several scans.
static size_t fv_jpeg_working_bytes(struct jpeg_decompress_struct *info)
{
    uint64_t blocks = 0;
    for (int i = 0; jpeg_has_multiple_scans(info) && i < info->num_components; i++) {
        const jpeg_component_info *component = &info->comp_info[i];
        uint64_t across = component->width_in_blocks + (uint64_t)component->h_samp_factor;
        uint64_t down = component->height_in_blocks + (uint64_t)component->v_samp_factor;
        blocks += across * down;
    }
    return (size_t)(blocks * DCTSIZE2 * sizeof(JCOEF));
}

static void fv_jpeg_take_profile(fv_jpeg_reader *reader)
{
    JOCTET *profile = NULL;
    unsigned length = 0;
    if (!jpeg_read_icc_profile(&reader->info, &profile, &length)) {
        return;
    }
    reader->profile = profile;
    if (length > FVC_PROFILE_BYTES) {
        fvc_note(&reader->base, "the colour profile is too long and was left out");
        return;
    }
    reader->base.header.profile = profile;
    reader->base.header.profile_bytes = length;
}

static fvc_status fv_jpeg_read_header(fv_jpeg_reader *reader)
{
    struct jpeg_decompress_struct *info = &reader->info;
    jpeg_create_decompress(info);
    info->src = &reader->source;
    info->progress = &reader->progress;
    jpeg_save_markers(info, JPEG_APP0 + 2, 0xFFFF);
    if (jpeg_read_header(info, TRUE) != JPEG_HEADER_OK || reader->ended) {
        fv_jpeg_stop(reader, FVC_TRUNCATED, "the header is cut off");
    }
    int components = info->num_components;
    if (components != 1 && components != 3 && components != 4) {
        char text[64];
        snprintf(text, sizeof text, "%d colour components", components);
        fv_jpeg_stop(reader, FVC_UNSUPPORTED, text);
    }
    reader->base.header = (fvc_header){
        .width = (int32_t)info->image_width,
        .height = (int32_t)info->image_height,
        .channels = 3,
        .is_grey = components == 1,
        .is_cmyk = components == 4,
        .working_bytes = fv_jpeg_working_bytes(info),
    };
    fv_jpeg_take_profile(reader);
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

// 1 when every scan that the picture needs was read: no component and no bit of a coefficient is missing.
static int fv_jpeg_has_all_scans(const fv_jpeg_reader *reader)
{
    const struct jpeg_decompress_struct *info = &reader->info;
    if (reader->components != (1u << info->num_components) - 1) {
        return 0;
    }
    for (int i = 0; info->coef_bits != NULL && i < info->num_components; i++) {
        for (int k = 0; k < DCTSIZE2; k++) {
            if (info->coef_bits[i][k] != 0) {
                return 0;
            }
        }
    }
    return 1;
}

// Decodes every scan of a file that has several; of others nothing yet.
static void fv_jpeg_start(fv_jpeg_reader *reader)
{
    struct jpeg_decompress_struct *info = &reader->info;
    reader->started = 1;
    info->out_color_space = reader->base.header.is_cmyk ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(info);
    if (reader->base.header.is_cmyk) {
        reader->inks
            = info->mem->alloc_sarray((j_common_ptr)info, JPOOL_IMAGE, info->output_width * 4, 1);
    }
    if (info->buffered_image || !jpeg_has_multiple_scans(info) || !reader->ended
        || fv_jpeg_has_all_scans(reader)) {
        return;
    }
    if (!reader->options.allow_truncated) {
        fv_jpeg_stop(reader, FVC_TRUNCATED, "the file ends before its last scan");
    }
    fvc_note(&reader->base, "the file ends before its last scan, so the picture is coarse");
}

static fvc_status fv_jpeg_read_rows(fvc_reader *base, uint8_t *rows, int32_t count, fvc_failure *failure)
{
    fv_jpeg_reader *reader = (fv_jpeg_reader *)base;
    reader->failure = failure;
    if (setjmp(reader->jump)) {
        return reader->status;
    }
    if (!reader->started) {
        fv_jpeg_start(reader);
    }
    size_t width = (size_t)base->header.width;
    for (int32_t y = 0; y < count; y++) {
        JSAMPROW row = rows + (size_t)y * width * 3;
        if (jpeg_read_scanlines(&reader->info, reader->inks != NULL ? reader->inks : &row, 1) != 1) {
            fv_jpeg_stop(reader, FVC_CORRUPT, "no more rows can be decoded");
        }
        if (reader->inks != NULL) {
            fv_jpeg_cmyk_row(reader->inks[0], row, width);
        }
    }
    return FVC_OK;
}

static fvc_status fv_jpeg_finish(fvc_reader *base, fvc_failure *failure)
{
    fv_jpeg_reader *reader = (fv_jpeg_reader *)base;
    reader->failure = failure;
    if (setjmp(reader->jump)) {
        // What follows the last row is damaged. Who accepts missing rows accepts that too.
        if (reader->options.allow_truncated) {
            fvc_note(base, failure->text);
            return FVC_OK;
        }
        return reader->status;
    }
    jpeg_finish_decompress(&reader->info);
    if (reader->ended && base->remark[0] == 0) {
        fvc_note(base, "the end marker is missing, but no pixel is");
    }
    return FVC_OK;
}

static void fv_jpeg_close(fvc_reader *base)
{
    fv_jpeg_reader *reader = (fv_jpeg_reader *)base;
    jpeg_destroy_decompress(&reader->info);
    free(reader->profile);
    free(reader);
}

fvc_status fvc_jpeg_open(const uint8_t *bytes, size_t count, fvc_options options, fvc_reader **opened,
                         fvc_header *header, fvc_failure *failure)
{
    static const fvc_operations operations = {fv_jpeg_read_rows, fv_jpeg_finish, fv_jpeg_close};
    fv_jpeg_reader *reader = fvc_make_reader(sizeof *reader, &operations, opened, failure);
    if (reader == NULL) {
        return FVC_OUT_OF_MEMORY;
    }
    reader->bytes = bytes;
    reader->count = count;
    reader->options = options;
    reader->failure = failure;
    reader->info.err = jpeg_std_error(&reader->errors);
    reader->errors.error_exit = fv_jpeg_error_exit;
    reader->errors.emit_message = fv_jpeg_warning;
    reader->errors.output_message = fv_jpeg_ignore_output;
    reader->info.client_data = reader;
    reader->source = (struct jpeg_source_mgr){
        .next_input_byte = bytes,
        .bytes_in_buffer = count,
        .init_source = fv_jpeg_source_stub,
        .fill_input_buffer = fv_jpeg_source_fill,
        .skip_input_data = fv_jpeg_source_skip,
        .resync_to_restart = jpeg_resync_to_restart,
        .term_source = fv_jpeg_source_stub,
    };
    reader->progress.progress_monitor = fv_jpeg_watch_scans;
    if (setjmp(reader->jump)) {
        return fvc_hand_over(&reader->base, reader->status, opened, header);
    }
    return fvc_hand_over(&reader->base, fv_jpeg_read_header(reader), opened, header);
}
