// Compressed images in memory -> 8-bit RGB, in a buffer that the caller owns.
//
// Every codec has the same two calls. The first reads only the header and reports the dimensions, so the
// caller can apply its limits before anything the size of the picture is allocated. The second decodes
// into `rgb`, width * height * 3 bytes, rows from top to bottom without padding, and refuses to work when
// the file disagrees with the dimensions it is given.
//
// The functions keep no state between calls, print nothing, and never leave through longjmp: libjpeg's
// and libpng's jumps end inside. What they cannot decode they say in `failure`.
#ifndef FV_CIMAGECODECS_H
#define FV_CIMAGECODECS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    FVC_OK = 0,
    FVC_TRUNCATED = 1,      // the file ends before the picture does
    FVC_CORRUPT = 2,        // the bytes break the rules of the format
    FVC_UNSUPPORTED = 3,    // a legal variant that this decoder does not know
    FVC_OVER_LIMIT = 4,     // legal, but built to be expensive
    FVC_OUT_OF_MEMORY = 5,  // the codec's own working memory could not be had
    FVC_MISMATCH = 6,       // width, height or capacity passed do not fit the file
} fvc_status;

typedef struct {
    int32_t width;
    int32_t height;
} fvc_header;

typedef struct {
    size_t offset;    // bytes of the file taken in when it happened; 0 where the codec cannot tell
    char text[200];   // the reason, zero-terminated, ASCII
} fvc_failure;

// JPEG: baseline, extended and progressive, 8 bits; grey, YCbCr, RGB, CMYK and YCCK. CMYK is taken as
// inverted (Adobe's convention) whether or not the file says so, as Pillow does.
fvc_status fvc_jpeg_header(const uint8_t *bytes, size_t count, fvc_header *header, fvc_failure *failure);
fvc_status fvc_jpeg_decode(const uint8_t *bytes, size_t count, fvc_header header, uint8_t *rgb,
                           size_t capacity, fvc_failure *failure);

// PNG: every colour type and depth, interlaced or not. Alpha and tRNS are dropped, not blended; 16-bit
// colour keeps the high byte; 16-bit grey is clipped to 0...255, which is what Pillow's convert does.
fvc_status fvc_png_header(const uint8_t *bytes, size_t count, fvc_header *header, fvc_failure *failure);
fvc_status fvc_png_decode(const uint8_t *bytes, size_t count, fvc_header header, uint8_t *rgb,
                          size_t capacity, fvc_failure *failure);

// WebP: lossy and lossless, alpha dropped. Of an animation the first frame, on a black canvas.
fvc_status fvc_webp_header(const uint8_t *bytes, size_t count, fvc_header *header, fvc_failure *failure);
fvc_status fvc_webp_decode(const uint8_t *bytes, size_t count, fvc_header header, uint8_t *rgb,
                           size_t capacity, fvc_failure *failure);

#ifdef __cplusplus
}
#endif

#endif
