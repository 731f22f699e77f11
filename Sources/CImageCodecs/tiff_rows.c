// TIFF: strips, tiles and planes of samples to rows of RGB or RGBA.
#ifdef FVC_TIFF

#include <stdlib.h>

#include "tiff_reader.h"

static fvc_status fv_tiff_start(fv_tiff_reader *reader, fvc_failure *failure)
{
    size_t planes = reader->planes;
    reader->decoding = 1;
    reader->has_message = 0;
    reader->band = calloc(reader->row_bytes * planes, reader->band_rows);
    reader->values = malloc((size_t)reader->width * reader->samples);
    tmsize_t tile = reader->tile_width > 0 ? TIFFTileSize(reader->tiff) : 1;
    reader->tile = tile > 0 ? malloc((size_t)tile) : NULL;
    if (reader->band == NULL || reader->values == NULL || reader->tile == NULL) {
        return fvc_fail(failure, FVC_OUT_OF_MEMORY, 0, "no memory for the strips");
    }
    // Rows are wanted as they are stored; TIFFRGBAImage would mirror them.
    TIFFSetField(reader->tiff, TIFFTAG_ORIENTATION, (uint16_t)ORIENTATION_TOPLEFT);
    return FVC_OK;
}

static int fv_tiff_decode_tiles(fv_tiff_reader *reader, uint32_t y, uint16_t plane, uint8_t *band)
{
    size_t tile_row = (size_t)TIFFTileRowSize(reader->tiff);
    tmsize_t size = TIFFTileSize(reader->tiff);
    size_t at = 0;
    for (uint32_t x = 0; x < reader->width; x += reader->tile_width, at += tile_row) {
        if (at + tile_row > reader->row_bytes || (size_t)size < tile_row * reader->band_rows) {
            return 0;
        }
        uint32_t index = TIFFComputeTile(reader->tiff, x, y, 0, plane);
        if (TIFFReadEncodedTile(reader->tiff, index, reader->tile, size) != size) {
            return 0;
        }
        for (uint32_t row = 0; row < reader->band_rows; row++) {
            memcpy(band + row * reader->row_bytes + at, reader->tile + row * tile_row, tile_row);
        }
    }
    return 1;
}

// Fills the band whose first row is y.
static int fv_tiff_decode_band(fv_tiff_reader *reader, uint32_t y)
{
    uint32_t left = reader->height - y;
    uint32_t rows = reader->band_rows < left ? reader->band_rows : left;
    switch (reader->layout) {
    case FVC_TIFF_SCANLINES:
        return TIFFReadScanline(reader->tiff, reader->band, y, 0) == 1;
    case FVC_TIFF_YCBCR:
        return TIFFReadRGBAStripExt(reader->tiff, y, (uint32_t *)(void *)reader->band, 1);
    case FVC_TIFF_BANDS:
        break;
    }
    size_t plane_bytes = reader->row_bytes * reader->band_rows;
    for (uint16_t plane = 0; plane < reader->planes; plane++) {
        uint8_t *band = reader->band + plane * plane_bytes;
        if (reader->tile_width > 0) {
            if (!fv_tiff_decode_tiles(reader, y, plane, band)) {
                return 0;
            }
            continue;
        }
        tmsize_t wanted = (tmsize_t)(reader->row_bytes * rows);
        uint32_t strip = TIFFComputeStrip(reader->tiff, y, plane);
        if (TIFFReadEncodedStrip(reader->tiff, strip, band, wanted) != wanted) {
            return 0;
        }
    }
    return 1;
}

// `count` samples of one row of one plane to 8 bits each, `step` bytes apart. Of 16 bits the high byte is
// kept. Indices of a palette stay as they are.
static void fv_tiff_unpack(const fv_tiff_reader *reader, const uint8_t *row, size_t count, uint8_t *out,
                           size_t step)
{
    unsigned bits = reader->bits;
    unsigned scale = reader->photometric == PHOTOMETRIC_PALETTE ? 1 : 255 / ((1u << (bits < 8 ? bits : 8)) - 1);
    for (size_t i = 0; i < count; i++) {
        unsigned value;
        if (bits == 8) {
            value = row[i];
        } else if (bits == 16) {
            uint16_t wide;
            memcpy(&wide, row + 2 * i, sizeof wide);
            if (reader->options.reference_depth && reader->base.header.is_grey && reader->samples == 1) {
                value = wide > 255 ? 255 : wide;
            } else {
                value = wide >> 8;
            }
        } else {
            size_t bit = i * bits;
            value = (row[bit / 8] >> (8 - bits - bit % 8) & ((1u << bits) - 1)) * scale;
        }
        out[i * step] = (uint8_t)value;
    }
}

// CMYK to RGB with Pillow's arithmetic, as for JPEG.
static void fv_tiff_put_inks(const uint8_t *inks, uint8_t *pixel)
{
    int rest = 255 - inks[3];
    for (int c = 0; c < 3; c++) {
        int product = inks[c] * rest + 128;
        int value = rest - (((product >> 8) + product) >> 8);
        pixel[c] = (uint8_t)(value < 0 ? 0 : value);
    }
}

static void fv_tiff_put_colour(const fv_tiff_reader *reader, const uint8_t *value, uint8_t *pixel)
{
    switch (reader->photometric) {
    case PHOTOMETRIC_MINISWHITE:
        memset(pixel, 255 - value[0], 3);
        break;
    case PHOTOMETRIC_MINISBLACK:
        memset(pixel, value[0], 3);
        break;
    case PHOTOMETRIC_PALETTE:
        memcpy(pixel, reader->palette[value[0]], 3);
        break;
    case PHOTOMETRIC_SEPARATED:
        fv_tiff_put_inks(value, pixel);
        break;
    default:
        memcpy(pixel, value, 3);
        break;
    }
}

// One row of samples in `values` to pixels.
static void fv_tiff_put_row(const fv_tiff_reader *reader, uint8_t *out)
{
    int colours = fv_tiff_colours(reader);
    size_t channels = (size_t)reader->base.header.channels;
    for (uint32_t x = 0; x < reader->width; x++, out += channels) {
        const uint8_t *value = reader->values + (size_t)x * reader->samples;
        fv_tiff_put_colour(reader, value, out);
        if (channels == 3) {
            continue;
        }
        unsigned alpha = value[colours];
        out[3] = (uint8_t)alpha;
        for (int c = 0; c < 3 && reader->premultiplied; c++) {
            unsigned straight = alpha == 0 ? 0 : 255u * out[c] / alpha;
            out[c] = (uint8_t)(straight > 255 ? 255 : straight);
        }
    }
}

// Row y of the picture out of the band that holds it.
static void fv_tiff_copy_row(fv_tiff_reader *reader, uint32_t y, uint8_t *out)
{
    size_t plane_bytes = reader->row_bytes * reader->band_rows;
    uint32_t row = y % reader->band_rows;
    if (reader->layout == FVC_TIFF_YCBCR) {
        // The rows of a strip come bottom up.
        uint32_t left = reader->height - (y - row);
        uint32_t rows = reader->band_rows < left ? reader->band_rows : left;
        const uint32_t *raster = (const uint32_t *)(const void *)reader->band
            + (size_t)(rows - 1 - row) * reader->width;
        for (uint32_t x = 0; x < reader->width; x++, out += 3) {
            out[0] = (uint8_t)TIFFGetR(raster[x]);
            out[1] = (uint8_t)TIFFGetG(raster[x]);
            out[2] = (uint8_t)TIFFGetB(raster[x]);
        }
        return;
    }
    for (size_t plane = 0; plane < reader->planes; plane++) {
        const uint8_t *from = reader->band + plane * plane_bytes + row * reader->row_bytes;
        size_t samples = reader->planes > 1 ? 1 : reader->samples;
        fv_tiff_unpack(reader, from, (size_t)reader->width * samples, reader->values + plane,
                       reader->planes > 1 ? reader->samples : 1);
    }
    fv_tiff_put_row(reader, out);
}

// Decodes the band that begins with row y; where the caller accepts it, what cannot be decoded is missing.
static fvc_status fv_tiff_next_band(fv_tiff_reader *reader, uint32_t y, fvc_failure *failure)
{
    int whole = fv_tiff_decode_band(reader, y) && !reader->has_message;
    if (whole) {
        return FVC_OK;
    }
    fvc_status status = fv_tiff_failure(reader, "a strip or tile cannot be decoded", failure);
    if (status == FVC_OUT_OF_MEMORY || !reader->options.allow_truncated) {
        return status;
    }
    reader->rows_missing = 1;
    fvc_note_missing_rows(&reader->base, y, "the file ends or is damaged");
    return FVC_OK;
}

fvc_status fv_tiff_read_rows(fvc_reader *base, uint8_t *rows, int32_t count, fvc_failure *failure)
{
    fv_tiff_reader *reader = (fv_tiff_reader *)base;
    if (!reader->decoding) {
        fvc_status status = fv_tiff_start(reader, failure);
        if (status != FVC_OK) {
            return status;
        }
    }
    size_t stride = (size_t)reader->width * (size_t)base->header.channels;
    for (int32_t i = 0; i < count; i++) {
        uint32_t y = (uint32_t)(base->next_row + i);
        if (y % reader->band_rows == 0 && !reader->rows_missing) {
            fvc_status status = fv_tiff_next_band(reader, y, failure);
            if (status != FVC_OK) {
                return status;
            }
        }
        uint8_t *out = rows + (size_t)i * stride;
        if (reader->rows_missing) {
            fvc_fill_grey(out, reader->width, base->header.channels);
        } else {
            fv_tiff_copy_row(reader, y, out);
        }
    }
    return FVC_OK;
}

#endif
