// Compressed images in memory -> rows of 8-bit RGB or RGBA, pulled by the caller.
//
// Every codec has one function of its own, `fvc_<codec>_open`, which reads only the header. Between opening
// and the first `fvc_read_rows` the caller applies its limits: until then a codec allocates nothing of the
// picture's size, and `working_bytes` says what it will allocate. Rows come from top to bottom, as stored,
// so a picture can be resized while it is decoded and never exists as a whole. `fvc_finish` runs the checks
// that a codec makes after the last row.
//
// The file's bytes must outlive the reader. A reader is used by one thread at a time. The functions print
// nothing and never leave through longjmp: libjpeg's and libpng's jumps end inside each call.
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
    FVC_MISMATCH = 6,       // the caller asked for more rows than are left
    FVC_NO_LIBRARY = 7,     // a shared library is missing, or of another version
} fvc_status;

typedef struct {
    int reference_depth;  // 16-bit grey is clipped at 255 as Pillow's convert("RGB") does, not scaled
    int allow_truncated;  // what is missing or unreadable becomes grey and a remark instead of an error
    int32_t tile_width;   // HEIF: least size of every coded picture, so that the tiles of a grid cover it; or 0
    int32_t tile_height;
} fvc_options;

typedef struct {
    int32_t width;
    int32_t height;
    int32_t channels;        // bytes per pixel delivered: 3 RGB, or 4 RGBA with straight alpha
    int32_t is_grey;         // R = G = B: a profile, if any, is one of grey
    int32_t is_cmyk;         // was CMYK: its profile does not apply to the RGB delivered
    size_t working_bytes;    // what the codec will allocate of the picture's size (whole frame, coefficients)
    const uint8_t *profile;  // ICC, owned by the reader or part of the file; NULL if there is none
    size_t profile_bytes;    // at most FVC_PROFILE_BYTES
} fvc_header;

// A profile longer than this counts as absent, with a remark. Monitors' and printers' have up to 3 MB, but
// those of RGB pictures a few kilobytes.
#define FVC_PROFILE_BYTES ((size_t)4 << 20)

typedef struct {
    size_t offset;    // bytes of the file taken in when it happened; 0 where the codec cannot tell
    char text[200];   // the reason, zero-terminated, printable ASCII
} fvc_failure;

typedef struct fvc_reader fvc_reader;

// JPEG: baseline, extended and progressive, 8 bits; grey, YCbCr, RGB, CMYK and YCCK. CMYK is taken as
// inverted (Adobe's convention) whether or not the file says so, as Pillow does.
fvc_status fvc_jpeg_open(const uint8_t *bytes, size_t count, fvc_options options, fvc_reader **reader,
                         fvc_header *header, fvc_failure *failure);

// PNG: every colour type and depth, interlaced or not; of an APNG the default image. Of 16 bits the high
// byte is kept.
fvc_status fvc_png_open(const uint8_t *bytes, size_t count, fvc_options options, fvc_reader **reader,
                        fvc_header *header, fvc_failure *failure);

// WebP: lossy and lossless. Of an animation the first frame, on a transparent canvas.
fvc_status fvc_webp_open(const uint8_t *bytes, size_t count, fvc_options options, fvc_reader **reader,
                         fvc_header *header, fvc_failure *failure);

// GIF: the first picture, on a transparent canvas. Compiled with FVC_GIF.
fvc_status fvc_gif_open(const uint8_t *bytes, size_t count, fvc_options options, fvc_reader **reader,
                        fvc_header *header, fvc_failure *failure);

// TIFF and BigTIFF: the first page; strips, tiles and planes; 1, 2, 4, 8 and 16 bits; grey, palette, RGB, CMYK and
// YCbCr; uncompressed, CCITT, LZW, Deflate, PackBits and JPEG. Compiled with FVC_TIFF.
fvc_status fvc_tiff_open(const uint8_t *bytes, size_t count, fvc_options options, fvc_reader **reader,
                         fvc_header *header, fvc_failure *failure);

// HEIC and AVIF: the primary image, turned and cropped as its properties say; of more than 8 bits the high ones.
// What is missing is never made grey. Compiled with FVC_HEIF.
fvc_status fvc_heif_open(const uint8_t *bytes, size_t count, fvc_options options, fvc_reader **reader,
                         fvc_header *header, fvc_failure *failure);

// The next `count` rows, width * channels bytes each, without padding. After a failure nothing more can be
// read.
fvc_status fvc_read_rows(fvc_reader *reader, uint8_t *rows, int32_t count, fvc_failure *failure);

// After the last row: the codec's own checks of the end. FVC_OK with a text in `remark` when something about
// the file is worth telling; otherwise `remark` says what is wrong.
fvc_status fvc_finish(fvc_reader *reader, fvc_failure *remark);

// May be called at any time, with NULL too.
void fvc_close(fvc_reader *reader);

// zlib data to at most `capacity` bytes; returns how many there are, also of data that is damaged later on.
size_t fvc_inflate(const uint8_t *bytes, size_t count, uint8_t *to, size_t capacity);

// A colour profile's way to sRGB.
typedef struct fvc_colours fvc_colours;

// FVC_OK with *colours NULL when the profile is sRGB as far as 8 bits show. Perceptual intent, as Pillow's
// ImageCms.profileToProfile. `is_grey` and `channels` as in fvc_header.
fvc_status fvc_colours_open(const uint8_t *profile, size_t count, int is_grey, int channels,
                            fvc_colours **colours, fvc_failure *failure);

// Converts `count` pixels where they are; alpha stays.
void fvc_colours_apply(const fvc_colours *colours, uint8_t *pixels, size_t count);

void fvc_colours_close(fvc_colours *colours);

#ifdef __cplusplus
}
#endif

#endif
