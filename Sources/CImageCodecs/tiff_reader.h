// What the two halves of the TIFF decoder share: tiff.c reads the header, tiff_rows.c the pixels.
#ifndef FV_TIFF_READER_H
#define FV_TIFF_READER_H

#include <tiffio.h>

#include "reader.h"

// How rows come out of libtiff.
typedef enum {
    FVC_TIFF_SCANLINES,  // one by one, from strips that hold all samples of a pixel
    FVC_TIFF_BANDS,      // a row of tiles, or a strip (of each plane), at a time
    FVC_TIFF_YCBCR,      // a strip at a time, through TIFFRGBAImage
} fv_tiff_layout;

typedef struct {
    fvc_reader base;
    TIFF *tiff;
    const uint8_t *bytes;
    size_t count;
    uint64_t offset;
    fvc_options options;
    int decoding;             // the header has been read: from now on messages are about pixels
    fvc_failure message;      // the first error that libtiff reported
    int has_message;
    fv_tiff_layout layout;
    uint32_t width, height;
    uint16_t bits, samples, photometric, compression, planes;
    int inks_as_rgb;          // photometric YCbCr that the JPEG codec turns into RGB
    int premultiplied;
    uint32_t band_rows;       // rows of a band: of a tile or a strip
    uint32_t tile_width;      // 0 without tiles
    size_t row_bytes;         // one row of a band, of one plane
    uint8_t *band;            // what libtiff decodes into: [planes][band_rows][row_bytes]
    uint8_t *tile;            // one tile
    uint8_t *values;          // one row of samples in 8 bits, [width][samples]
    uint8_t palette[256][3];
    int rows_missing;
} fv_tiff_reader;

// Samples of a pixel that are colours; 0 for colour spaces that are not read.
int fv_tiff_colours(const fv_tiff_reader *reader);

// The reason that libtiff gave, or `otherwise`, as a status.
fvc_status fv_tiff_failure(fv_tiff_reader *reader, const char *otherwise, fvc_failure *failure);

fvc_status fv_tiff_read_rows(fvc_reader *base, uint8_t *rows, int32_t count, fvc_failure *failure);

#endif
