// WebP through libwebp. libwebpdemux finds the frames; the first one is decoded straight into its place
// on a transparent canvas, which is what Pillow's animation decoder shows for frame 0.
#include <stdlib.h>

#include <webp/decode.h>
#include <webp/demux.h>

#include "reader.h"

typedef struct {
    fvc_reader base;
    WebPDemuxer *demuxer;
    WebPIterator frame;
    int has_frame;
    WebPChunkIterator profile;
    int has_profile;
    fvc_options options;
    size_t count;
    uint8_t *canvas;
} fv_webp_reader;

static fvc_status fv_webp_status(VP8StatusCode code, fvc_failure *failure)
{
    switch (code) {
    case VP8_STATUS_OK:
        return FVC_OK;
    case VP8_STATUS_OUT_OF_MEMORY:
        return fvc_fail(failure, FVC_OUT_OF_MEMORY, 0, "no memory to decode the frame");
    case VP8_STATUS_UNSUPPORTED_FEATURE:
        return fvc_fail(failure, FVC_UNSUPPORTED, 0, "the frame uses a feature libwebp does not know");
    case VP8_STATUS_SUSPENDED:
    case VP8_STATUS_NOT_ENOUGH_DATA:
        return fvc_fail(failure, FVC_TRUNCATED, 0, "the first frame's data is cut off");
    default:
        return fvc_fail(failure, FVC_CORRUPT, 0, "the first frame's data is damaged");
    }
}

// Finds the first frame; a file that ends later than that is whole enough.
static fvc_status fv_webp_find_frame(fv_webp_reader *reader, const uint8_t *bytes, fvc_failure *failure)
{
    WebPData data = {.bytes = bytes, .size = reader->count};
    WebPDemuxState state = WEBP_DEMUX_PARSE_ERROR;
    reader->demuxer = WebPDemuxPartial(&data, &state);
    if (state == WEBP_DEMUX_PARSING_HEADER) {
        return fvc_fail(failure, FVC_TRUNCATED, reader->count, "the header is cut off");
    }
    if (reader->demuxer == NULL || state == WEBP_DEMUX_PARSE_ERROR) {
        return fvc_fail(failure, FVC_CORRUPT, 0, "the RIFF chunks do not form a WebP file");
    }
    reader->has_frame = WebPDemuxGetFrame(reader->demuxer, 1, &reader->frame);
    if (state == WEBP_DEMUX_DONE) {
        return reader->has_frame ? FVC_OK : fvc_fail(failure, FVC_CORRUPT, 0, "the file holds no frame");
    }
    if (!reader->has_frame || (!reader->frame.complete && !reader->options.allow_truncated)) {
        return fvc_fail(failure, FVC_TRUNCATED, reader->count,
                        "the file is shorter than its RIFF header says");
    }
    if (reader->frame.complete) {
        fvc_note(&reader->base, "the end of the file is missing, but no pixel is");
    }
    return FVC_OK;
}

static fvc_status fv_webp_fill_header(fv_webp_reader *reader, fvc_failure *failure)
{
    const WebPIterator *frame = &reader->frame;
    int32_t width = (int32_t)WebPDemuxGetI(reader->demuxer, WEBP_FF_CANVAS_WIDTH);
    int32_t height = (int32_t)WebPDemuxGetI(reader->demuxer, WEBP_FF_CANVAS_HEIGHT);
    if (frame->x_offset < 0 || frame->y_offset < 0 || frame->width <= 0 || frame->height <= 0
        || frame->width > width - frame->x_offset || frame->height > height - frame->y_offset) {
        return fvc_fail(failure, FVC_CORRUPT, 0, "the first frame lies outside the canvas");
    }
    WebPBitstreamFeatures features;
    VP8StatusCode code = WebPGetFeatures(frame->fragment.bytes, frame->fragment.size, &features);
    if (code != VP8_STATUS_OK) {
        return fv_webp_status(code, failure);
    }
    if (features.width != frame->width || features.height != frame->height) {
        return fvc_fail(failure, FVC_CORRUPT, 0, "the first frame's size differs from its data's");
    }
    int covers = frame->width == width && frame->height == height;
    int has_alpha = frame->has_alpha || features.has_alpha;
    size_t pixels = (size_t)width * (size_t)height;
    fvc_header *header = &reader->base.header;
    *header = (fvc_header){.width = width, .height = height, .channels = covers && !has_alpha ? 3 : 4};
    // The canvas, and inside libwebp the whole frame when it is lossless, the alpha plane when it is lossy.
    header->working_bytes = pixels * ((size_t)header->channels + (features.format == 1 ? 0 : 4))
        + (has_alpha ? 2 * pixels : 0);
    if ((uint64_t)width * (uint64_t)header->channels > INT32_MAX) {
        return fvc_fail(failure, FVC_UNSUPPORTED, 0, "the canvas is too wide");
    }
    return FVC_OK;
}

static void fv_webp_take_profile(fv_webp_reader *reader)
{
    if (!(WebPDemuxGetI(reader->demuxer, WEBP_FF_FORMAT_FLAGS) & ICCP_FLAG)
        || !WebPDemuxGetChunk(reader->demuxer, "ICCP", 1, &reader->profile)) {
        return;
    }
    reader->has_profile = 1;
    if (reader->profile.chunk.size > FVC_PROFILE_BYTES) {
        fvc_note(&reader->base, "the colour profile is too long and was left out");
        return;
    }
    reader->base.header.profile = reader->profile.chunk.bytes;
    reader->base.header.profile_bytes = reader->profile.chunk.size;
}

// Decodes what there is of a frame that is cut off or damaged; the rest of it becomes grey.
static fvc_status fv_webp_decode_part(fv_webp_reader *reader, WebPDecoderConfig *config,
                                      fvc_failure *failure)
{
    const WebPIterator *frame = &reader->frame;
    int32_t channels = reader->base.header.channels;
    WebPIDecoder *decoder = WebPIDecode(NULL, 0, config);
    if (decoder == NULL) {
        return fv_webp_status(VP8_STATUS_OUT_OF_MEMORY, failure);
    }
    VP8StatusCode code = WebPIUpdate(decoder, frame->fragment.bytes, frame->fragment.size);
    int rows = 0;
    if (code == VP8_STATUS_OK) {
        rows = frame->height;
    } else if (WebPIDecGetRGB(decoder, &rows, NULL, NULL, NULL) == NULL) {
        rows = 0;
    }
    WebPIDelete(decoder);
    for (int y = rows; y < frame->height; y++) {
        fvc_fill_grey(config->output.u.RGBA.rgba + (size_t)y * (size_t)config->output.u.RGBA.stride,
                      (size_t)frame->width, channels);
    }
    if (rows < frame->height) {
        fvc_note_missing_rows(&reader->base, (uint32_t)(rows + frame->y_offset), "the frame's data ends");
    } else {
        fvc_note(&reader->base, "the end of the file is missing, but no pixel is");
    }
    return FVC_OK;
}

static fvc_status fv_webp_decode(fv_webp_reader *reader, fvc_failure *failure)
{
    const WebPIterator *frame = &reader->frame;
    const fvc_header *header = &reader->base.header;
    size_t stride = (size_t)header->width * (size_t)header->channels;
    reader->canvas = calloc((size_t)header->height, stride);
    WebPDecoderConfig config;
    if (reader->canvas == NULL) {
        return fv_webp_status(VP8_STATUS_OUT_OF_MEMORY, failure);
    }
    if (!WebPInitDecoderConfig(&config)) {
        return fvc_fail(failure, FVC_UNSUPPORTED, 0, "libwebp's headers and library disagree");
    }
    size_t start = (size_t)frame->y_offset * stride + (size_t)frame->x_offset * (size_t)header->channels;
    config.output.colorspace = header->channels == 4 ? MODE_RGBA : MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = reader->canvas + start;
    config.output.u.RGBA.stride = (int)stride;
    config.output.u.RGBA.size
        = stride * (size_t)(frame->height - 1) + (size_t)frame->width * (size_t)header->channels;
    VP8StatusCode code = VP8_STATUS_NOT_ENOUGH_DATA;
    if (frame->complete) {
        code = WebPDecode(frame->fragment.bytes, frame->fragment.size, &config);
    }
    if (code != VP8_STATUS_OK && code != VP8_STATUS_OUT_OF_MEMORY && reader->options.allow_truncated) {
        return fv_webp_decode_part(reader, &config, failure);
    }
    return fv_webp_status(code, failure);
}

static fvc_status fv_webp_read_rows(fvc_reader *base, uint8_t *rows, int32_t count, fvc_failure *failure)
{
    fv_webp_reader *reader = (fv_webp_reader *)base;
    if (reader->canvas == NULL) {
        fvc_status status = fv_webp_decode(reader, failure);
        if (status != FVC_OK) {
            return status;
        }
    }
    size_t stride = (size_t)base->header.width * (size_t)base->header.channels;
    memcpy(rows, reader->canvas + (size_t)base->next_row * stride, (size_t)count * stride);
    return FVC_OK;
}

static fvc_status fv_webp_finish(fvc_reader *base, fvc_failure *failure)
{
    const fv_webp_reader *reader = (fv_webp_reader *)base;
    (void)failure;
    if (WebPDemuxGetI(reader->demuxer, WEBP_FF_FRAME_COUNT) > 1) {
        fvc_note(base, FVC_ANIMATION);
    }
    return FVC_OK;
}

static void fv_webp_close(fvc_reader *base)
{
    fv_webp_reader *reader = (fv_webp_reader *)base;
    if (reader->has_frame) {
        WebPDemuxReleaseIterator(&reader->frame);
    }
    if (reader->has_profile) {
        WebPDemuxReleaseChunkIterator(&reader->profile);
    }
    WebPDemuxDelete(reader->demuxer);
    free(reader->canvas);
    free(reader);
}

fvc_status fvc_webp_open(const uint8_t *bytes, size_t count, fvc_options options, fvc_reader **opened,
                         fvc_header *header, fvc_failure *failure)
{
    static const fvc_operations operations = {fv_webp_read_rows, fv_webp_finish, fv_webp_close};
    fv_webp_reader *reader = fvc_make_reader(sizeof *reader, &operations, opened, failure);
    if (reader == NULL) {
        return FVC_OUT_OF_MEMORY;
    }
    reader->count = count;
    reader->options = options;
    fvc_status status = fv_webp_find_frame(reader, bytes, failure);
    if (status == FVC_OK) {
        status = fv_webp_fill_header(reader, failure);
    }
    if (status == FVC_OK) {
        fv_webp_take_profile(reader);
    }
    return fvc_hand_over(&reader->base, status, opened, header);
}
