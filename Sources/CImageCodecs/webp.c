// WebP through libwebp. libwebpdemux finds the frames; the first one is decoded straight into its place
// on the canvas, which is what Pillow's animation decoder shows for frame 0 (alpha dropped).
#include <webp/decode.h>
#include <webp/demux.h>

#include "failure.h"

static fvc_status fv_webp_open(const uint8_t *bytes, size_t count, WebPDemuxer **demuxer,
                               fvc_failure *failure)
{
    WebPData data = {.bytes = bytes, .size = count};
    WebPDemuxState state = WEBP_DEMUX_PARSE_ERROR;
    *demuxer = WebPDemuxPartial(&data, &state);
    if (state == WEBP_DEMUX_DONE && *demuxer != NULL) {
        return FVC_OK;
    }
    WebPDemuxDelete(*demuxer);
    *demuxer = NULL;
    if (state == WEBP_DEMUX_PARSING_HEADER || state == WEBP_DEMUX_PARSED_HEADER) {
        return fvc_fail(failure, FVC_TRUNCATED, count, "the file is shorter than its RIFF header says");
    }
    return fvc_fail(failure, FVC_CORRUPT, 0, "the RIFF chunks do not form a WebP file");
}

static fvc_header fv_webp_canvas(const WebPDemuxer *demuxer)
{
    uint32_t width = WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_WIDTH);
    uint32_t height = WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_HEIGHT);
    return (fvc_header){.width = (int32_t)width, .height = (int32_t)height};
}

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

static fvc_status fv_webp_decode_frame(const WebPIterator *frame, fvc_header canvas, uint8_t *rgb,
                                    fvc_failure *failure)
{
    if (frame->x_offset < 0 || frame->y_offset < 0 || frame->width <= 0 || frame->height <= 0
        || frame->width > canvas.width - frame->x_offset || frame->height > canvas.height - frame->y_offset) {
        return fvc_fail(failure, FVC_CORRUPT, 0, "the first frame lies outside the canvas");
    }
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config)) {
        return fvc_fail(failure, FVC_UNSUPPORTED, 0, "libwebp's headers and library disagree");
    }
    VP8StatusCode code = WebPGetFeatures(frame->fragment.bytes, frame->fragment.size, &config.input);
    if (code != VP8_STATUS_OK) {
        return fv_webp_status(code, failure);
    }
    if (config.input.width != frame->width || config.input.height != frame->height) {
        return fvc_fail(failure, FVC_CORRUPT, 0, "the first frame's size differs from its data's");
    }
    size_t stride = (size_t)canvas.width * 3;
    size_t start = (size_t)frame->y_offset * stride + (size_t)frame->x_offset * 3;
    if (frame->width != canvas.width || frame->height != canvas.height) {
        memset(rgb, 0, stride * (size_t)canvas.height);
    }
    if (stride > INT32_MAX) {
        return fvc_fail(failure, FVC_UNSUPPORTED, 0, "the canvas is too wide");
    }
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = rgb + start;
    config.output.u.RGBA.stride = (int)stride;
    config.output.u.RGBA.size = stride * (size_t)(frame->height - 1) + (size_t)frame->width * 3;
    code = WebPDecode(frame->fragment.bytes, frame->fragment.size, &config);
    WebPFreeDecBuffer(&config.output);
    return fv_webp_status(code, failure);
}

fvc_status fvc_webp_header(const uint8_t *bytes, size_t count, fvc_header *header, fvc_failure *failure)
{
    WebPDemuxer *demuxer = NULL;
    fvc_status status = fv_webp_open(bytes, count, &demuxer, failure);
    if (status == FVC_OK) {
        *header = fv_webp_canvas(demuxer);
        WebPDemuxDelete(demuxer);
    }
    return status;
}

fvc_status fvc_webp_decode(const uint8_t *bytes, size_t count, fvc_header header, uint8_t *rgb,
                           size_t capacity, fvc_failure *failure)
{
    WebPDemuxer *demuxer = NULL;
    fvc_status status = fv_webp_open(bytes, count, &demuxer, failure);
    if (status != FVC_OK) {
        return status;
    }
    fvc_header canvas = fv_webp_canvas(demuxer);
    WebPIterator frame = {0};
    if (canvas.width != header.width || canvas.height != header.height || !fvc_fits(header, capacity)) {
        status = fvc_fail(failure, FVC_MISMATCH, 0, "the buffer does not fit the picture");
    } else if (!WebPDemuxGetFrame(demuxer, 1, &frame)) {
        status = fvc_fail(failure, FVC_CORRUPT, 0, "the file holds no frame");
    } else {
        status = fv_webp_decode_frame(&frame, canvas, rgb, failure);
        WebPDemuxReleaseIterator(&frame);
    }
    WebPDemuxDelete(demuxer);
    return status;
}
