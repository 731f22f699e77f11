// TIFF through libtiff, the first page only: the header. Samples are read as they are and brought to RGB in
// tiff_rows.c, because libtiff's own conversion (TIFFRGBAImage) rounds 16-bit samples, blends alpha and turns
// the picture; only YCbCr that is not JPEG goes through it.
#ifdef FVC_TIFF

#include <stdlib.h>

#include "tiff_reader.h"

#if TIFFLIB_VERSION < 20221213
#error "TIFF needs libtiff 4.5 or later, which bounds its allocations per file; build without the trait TIFF"
#endif

enum {
    // No allocation of libtiff may be larger: tables of strips, or one strip of YCbCr.
    FVC_TIFF_LARGEST_ALLOCATION = 256 << 20,
    FVC_TIFF_MAX_SAMPLES = 8,
    // Encoders write tiles of 256 or 512; a tile larger than this is padding that costs memory.
    FVC_TIFF_MAX_TILE_SIDE = 16384,
};

// -- the file in memory ------------------------------------------------------------------------------------

static tmsize_t fv_tiff_source_read(thandle_t handle, void *destination, tmsize_t wanted)
{
    fv_tiff_reader *reader = handle;
    uint64_t left = reader->offset < reader->count ? reader->count - reader->offset : 0;
    size_t step = wanted < 0 ? 0 : (uint64_t)wanted < left ? (size_t)wanted : (size_t)left;
    if (step > 0) {
        memcpy(destination, reader->bytes + reader->offset, step);
    }
    reader->offset += step;
    return (tmsize_t)step;
}

static tmsize_t fv_tiff_source_write(thandle_t handle, void *source, tmsize_t count)
{
    (void)handle;
    (void)source;
    (void)count;
    return 0;
}

static toff_t fv_tiff_source_seek(thandle_t handle, toff_t offset, int whence)
{
    fv_tiff_reader *reader = handle;
    uint64_t start = whence == SEEK_CUR ? reader->offset : whence == SEEK_END ? reader->count : 0;
    reader->offset = start + offset;
    return reader->offset;
}

static int fv_tiff_source_close(thandle_t handle)
{
    (void)handle;
    return 0;
}

static toff_t fv_tiff_source_size(thandle_t handle)
{
    return ((fv_tiff_reader *)handle)->count;
}

// Strips are decoded from where they are; libtiff never writes into what it is given here.
static int fv_tiff_source_map(thandle_t handle, void **base, toff_t *size)
{
    fv_tiff_reader *reader = handle;
    *base = (void *)(uintptr_t)reader->bytes;
    *size = reader->count;
    return 1;
}

static void fv_tiff_source_unmap(thandle_t handle, void *base, toff_t size)
{
    (void)handle;
    (void)base;
    (void)size;
}

// -- messages ----------------------------------------------------------------------------------------------

// libtiff calls many errors warnings and goes on: a fax that ends early, JPEG data that break off. While the
// header is read its warnings are about tags that nobody asked for.
static void fv_tiff_keep(fv_tiff_reader *reader, int is_error, const char *format, va_list arguments)
{
    char text[160];
    vsnprintf(text, sizeof text, format, arguments);
    if (!is_error && !reader->decoding) {
        return;
    }
    if (!is_error && reader->compression >= COMPRESSION_CCITTRLE && reader->compression <= COMPRESSION_CCITTFAX4
        && strstr(text, "Premature EOF") == NULL) {
        // A line that is too long or too short: scanners write such, and only that line suffers.
        fvc_note(&reader->base, "some lines of the fax are not as long as the others");
        return;
    }
    if (!reader->has_message) {
        reader->has_message = 1;
        fvc_fail(&reader->message, FVC_CORRUPT, 0, text);
    }
}

static int fv_tiff_on_error(TIFF *tiff, void *user, const char *module, const char *format, va_list arguments)
{
    (void)tiff;
    (void)module;
    fv_tiff_keep(user, 1, format, arguments);
    return 1;
}

static int fv_tiff_on_warning(TIFF *tiff, void *user, const char *module, const char *format,
                              va_list arguments)
{
    (void)tiff;
    (void)module;
    fv_tiff_keep(user, 0, format, arguments);
    return 1;
}

fvc_status fv_tiff_failure(fv_tiff_reader *reader, const char *otherwise, fvc_failure *failure)
{
    const char *text = reader->has_message ? reader->message.text : otherwise;
    static const char *const memory[] = {"emory", "exceeds maximum single", "cumulated"};
    static const char *const ends[] = {"Premature EOF", "premature end", "Read error", "not enough data",
                                       "Not enough data", "end of file", "shorter than expected",
                                       "Seek error", "Can not read TIFF directory", "Cannot read TIFF header"};
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++) {
        if (strstr(text, memory[i]) != NULL) {
            return fvc_fail(failure, FVC_OUT_OF_MEMORY, 0, text);
        }
    }
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        if (strstr(text, ends[i]) != NULL) {
            return fvc_fail(failure, FVC_TRUNCATED, 0, text);
        }
    }
    return fvc_fail(failure, FVC_CORRUPT, 0, text);
}

// -- the header --------------------------------------------------------------------------------------------

static fvc_status fv_tiff_unsupported(fvc_failure *failure, const char *format, int value)
{
    char text[96];
    snprintf(text, sizeof text, format, value);
    return fvc_fail(failure, FVC_UNSUPPORTED, 0, text);
}

// LZMA is left out because its header may ask for gigabytes, old-style JPEG because its files contradict
// themselves; WebP and Zstandard because no camera or scanner writes them.
static int fv_tiff_knows_compression(uint16_t compression)
{
    switch (compression) {
    case COMPRESSION_NONE:
    case COMPRESSION_CCITTRLE:
    case COMPRESSION_CCITTRLEW:
    case COMPRESSION_CCITTFAX3:
    case COMPRESSION_CCITTFAX4:
    case COMPRESSION_LZW:
    case COMPRESSION_JPEG:
    case COMPRESSION_ADOBE_DEFLATE:
    case COMPRESSION_DEFLATE:
    case COMPRESSION_PACKBITS:
        return TIFFIsCODECConfigured(compression);
    default:
        return 0;
    }
}

int fv_tiff_colours(const fv_tiff_reader *reader)
{
    switch (reader->photometric) {
    case PHOTOMETRIC_MINISWHITE:
    case PHOTOMETRIC_MINISBLACK:
    case PHOTOMETRIC_PALETTE:
        return 1;
    case PHOTOMETRIC_RGB:
    case PHOTOMETRIC_YCBCR:
        return 3;
    case PHOTOMETRIC_SEPARATED:
        return 4;
    default:
        return 0;
    }
}

static fvc_status fv_tiff_read_kind(fv_tiff_reader *reader, fvc_failure *failure)
{
    TIFF *tiff = reader->tiff;
    uint16_t format = SAMPLEFORMAT_UINT, inks = INKSET_CMYK;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &reader->compression);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &reader->bits);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &reader->samples);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &format);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_INKSET, &inks);
    if (!TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &reader->photometric)) {
        reader->photometric = reader->samples >= 3 ? PHOTOMETRIC_RGB : PHOTOMETRIC_MINISBLACK;
    }
    if (!fv_tiff_knows_compression(reader->compression)) {
        return fv_tiff_unsupported(failure, "compression %d", reader->compression);
    }
    int colours = fv_tiff_colours(reader);
    if (colours == 0 || (reader->photometric == PHOTOMETRIC_SEPARATED && inks != INKSET_CMYK)) {
        return fv_tiff_unsupported(failure, "photometric interpretation %d", reader->photometric);
    }
    if (format != SAMPLEFORMAT_UINT && format != SAMPLEFORMAT_VOID) {
        return fvc_fail(failure, FVC_UNSUPPORTED, 0, "samples that are signed or not integers");
    }
    int bits = reader->bits;
    int shallow = bits == 1 || bits == 2 || bits == 4;
    int known = bits == 8 || (colours == 1 && shallow)
        || (bits == 16 && reader->photometric != PHOTOMETRIC_PALETTE && reader->photometric != PHOTOMETRIC_YCBCR);
    if (!known) {
        return fv_tiff_unsupported(failure, "%d bits per sample of this kind", bits);
    }
    if (reader->samples < colours || reader->samples > FVC_TIFF_MAX_SAMPLES) {
        return fv_tiff_unsupported(failure, "%d samples per pixel", reader->samples);
    }
    return FVC_OK;
}

// What is behind the colours counts as alpha only if the file says that it is.
static int fv_tiff_has_alpha(fv_tiff_reader *reader, int colours)
{
    uint16_t count = 0;
    uint16_t *kinds = NULL;
    if (reader->samples <= colours || !TIFFGetField(reader->tiff, TIFFTAG_EXTRASAMPLES, &count, &kinds)
        || count == 0 || kinds == NULL || reader->photometric == PHOTOMETRIC_SEPARATED) {
        return 0;
    }
    reader->premultiplied = kinds[0] == EXTRASAMPLE_ASSOCALPHA;
    return kinds[0] == EXTRASAMPLE_ASSOCALPHA || kinds[0] == EXTRASAMPLE_UNASSALPHA;
}

static void fv_tiff_fill_palette(fv_tiff_reader *reader)
{
    uint16_t *colours[3] = {NULL, NULL, NULL};
    if (!TIFFGetField(reader->tiff, TIFFTAG_COLORMAP, &colours[0], &colours[1], &colours[2])) {
        return;
    }
    int entries = 1 << reader->bits;
    int wide = 0;
    for (int i = 0; i < entries * 3; i++) {
        wide |= colours[i % 3][i / 3] > 255;
    }
    // Some writers fill the table with 8-bit values.
    for (int i = 0; i < entries * 3; i++) {
        uint16_t value = colours[i % 3][i / 3];
        reader->palette[i / 3][i % 3] = (uint8_t)(wide ? value >> 8 : value);
    }
}

static fvc_status fv_tiff_read_tiles(fv_tiff_reader *reader, fvc_failure *failure)
{
    uint32_t width = 0, length = 0;
    TIFFGetField(reader->tiff, TIFFTAG_TILEWIDTH, &width);
    TIFFGetField(reader->tiff, TIFFTAG_TILELENGTH, &length);
    if (width == 0 || length == 0) {
        return fvc_fail(failure, FVC_CORRUPT, 0, "tiles without pixels");
    }
    if (width > FVC_TIFF_MAX_TILE_SIDE || length > FVC_TIFF_MAX_TILE_SIDE) {
        return fvc_fail(failure, FVC_OVER_LIMIT, 0, "tiles of more than 16384 pixels a side");
    }
    uint64_t bits = (uint64_t)width * reader->bits * (reader->planes > 1 ? 1u : reader->samples);
    if (bits % 8 != 0) {
        return fvc_fail(failure, FVC_UNSUPPORTED, 0, "tiles whose rows do not end at a byte");
    }
    uint64_t across = ((uint64_t)reader->width + width - 1) / width;
    reader->tile_width = width;
    reader->band_rows = length;
    reader->row_bytes = (size_t)(across * (bits / 8));
    reader->layout = FVC_TIFF_BANDS;
    return FVC_OK;
}

static fvc_status fv_tiff_read_layout(fv_tiff_reader *reader, fvc_failure *failure)
{
    TIFF *tiff = reader->tiff;
    uint16_t planar = PLANARCONFIG_CONTIG;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &planar);
    reader->planes = planar == PLANARCONFIG_SEPARATE ? reader->samples : 1;
    int tiled = TIFFIsTiled(tiff);
    if (reader->photometric == PHOTOMETRIC_YCBCR) {
        reader->inks_as_rgb = reader->compression == COMPRESSION_JPEG && reader->planes == 1;
        if (reader->inks_as_rgb) {
            TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
        } else if (tiled || reader->samples != 3) {
            return fvc_fail(failure, FVC_UNSUPPORTED, 0, "YCbCr in tiles without JPEG");
        }
    }
    if (tiled) {
        return fv_tiff_read_tiles(reader, failure);
    }
    uint32_t rows = 0;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_ROWSPERSTRIP, &rows);
    reader->band_rows = rows == 0 || rows > reader->height ? reader->height : rows;
    uint64_t per_pixel = reader->planes > 1 ? 1 : reader->samples;
    reader->row_bytes = (size_t)(((uint64_t)reader->width * reader->bits * per_pixel + 7) / 8);
    // Some writers let runs of PackBits cross rows, which only decoding a strip at once can follow.
    int whole_strips = reader->planes > 1 || reader->compression == COMPRESSION_PACKBITS;
    reader->layout = whole_strips ? FVC_TIFF_BANDS : FVC_TIFF_SCANLINES;
    if (reader->photometric == PHOTOMETRIC_YCBCR && !reader->inks_as_rgb) {
        char text[1024];
        if (!TIFFRGBAImageOK(tiff, text)) {
            text[sizeof text - 1] = 0;
            return fvc_fail(failure, FVC_UNSUPPORTED, 0, text);
        }
        reader->layout = FVC_TIFF_YCBCR;
        reader->row_bytes = (size_t)reader->width * 4;
    }
    if (reader->layout == FVC_TIFF_SCANLINES) {
        reader->band_rows = 1;
        if ((uint64_t)TIFFScanlineSize64(tiff) != reader->row_bytes) {
            return fvc_fail(failure, FVC_UNSUPPORTED, 0, "rows whose length does not fit the samples");
        }
    }
    return FVC_OK;
}

static void fv_tiff_take_profile(fv_tiff_reader *reader)
{
    uint32_t length = 0;
    void *profile = NULL;
    if (!TIFFGetField(reader->tiff, TIFFTAG_ICCPROFILE, &length, &profile) || length == 0) {
        return;
    }
    if (length > FVC_PROFILE_BYTES) {
        fvc_note(&reader->base, "the colour profile is too long and was left out");
        return;
    }
    reader->base.header.profile = profile;
    reader->base.header.profile_bytes = length;
}

static fvc_status fv_tiff_read_header(fv_tiff_reader *reader, fvc_failure *failure)
{
    TIFF *tiff = reader->tiff;
    if (!TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &reader->width)
        || !TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &reader->height) || reader->width == 0
        || reader->height == 0 || reader->width > INT32_MAX || reader->height > INT32_MAX) {
        return fvc_fail(failure, FVC_CORRUPT, 0, "the header names no usable width and height");
    }
    fvc_status status = fv_tiff_read_kind(reader, failure);
    if (status == FVC_OK) {
        status = fv_tiff_read_layout(reader, failure);
    }
    if (status != FVC_OK) {
        return status;
    }
    int colours = fv_tiff_colours(reader);
    if (reader->photometric == PHOTOMETRIC_PALETTE) {
        fv_tiff_fill_palette(reader);
    }
    // One scan line is what every codec needs; a band of tiles or of planes is the picture's affair.
    uint64_t band = (uint64_t)reader->row_bytes * reader->band_rows * reader->planes;
    uint64_t tile = reader->tile_width > 0 ? (uint64_t)TIFFTileSize64(tiff) : 0;
    uint64_t strip = reader->layout == FVC_TIFF_YCBCR ? (uint64_t)TIFFStripSize64(tiff) : 0;
    if (band > SIZE_MAX / 4 || tile > SIZE_MAX / 4 || strip > SIZE_MAX / 4) {
        return fvc_fail(failure, FVC_OVER_LIMIT, 0, "strips or tiles larger than the address space");
    }
    reader->base.header = (fvc_header){
        .width = (int32_t)reader->width,
        .height = (int32_t)reader->height,
        .channels = fv_tiff_has_alpha(reader, colours) ? 4 : 3,
        .is_grey = colours == 1 && reader->photometric != PHOTOMETRIC_PALETTE,
        .is_cmyk = reader->photometric == PHOTOMETRIC_SEPARATED,
        .working_bytes = (size_t)(band + tile + strip),
    };
    fv_tiff_take_profile(reader);
    return FVC_OK;
}

static fvc_status fv_tiff_finish(fvc_reader *base, fvc_failure *failure)
{
    (void)failure;
    fv_tiff_reader *reader = (fv_tiff_reader *)base;
    if (!TIFFLastDirectory(reader->tiff)) {
        fvc_note(base, "the file has more pages, of which the first is used");
    }
    return FVC_OK;
}

static void fv_tiff_close(fvc_reader *base)
{
    fv_tiff_reader *reader = (fv_tiff_reader *)base;
    if (reader->tiff != NULL) {
        TIFFClose(reader->tiff);
    }
    free(reader->band);
    free(reader->tile);
    free(reader->values);
    free(reader);
}

static TIFF *fv_tiff_open_source(fv_tiff_reader *reader)
{
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (options == NULL) {
        return NULL;
    }
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, FVC_TIFF_LARGEST_ALLOCATION);
    TIFFOpenOptionsSetErrorHandlerExtR(options, fv_tiff_on_error, reader);
    TIFFOpenOptionsSetWarningHandlerExtR(options, fv_tiff_on_warning, reader);
    TIFF *tiff = TIFFClientOpenExt("image", "r", reader, fv_tiff_source_read, fv_tiff_source_write,
                                   fv_tiff_source_seek, fv_tiff_source_close, fv_tiff_source_size, fv_tiff_source_map,
                                   fv_tiff_source_unmap, options);
    TIFFOpenOptionsFree(options);
    return tiff;
}

fvc_status fvc_tiff_open(const uint8_t *bytes, size_t count, fvc_options options, fvc_reader **opened,
                         fvc_header *header, fvc_failure *failure)
{
    static const fvc_operations operations = {fv_tiff_read_rows, fv_tiff_finish, fv_tiff_close};
    fv_tiff_reader *reader = fvc_make_reader(sizeof *reader, &operations, opened, failure);
    if (reader == NULL) {
        return FVC_OUT_OF_MEMORY;
    }
    reader->bytes = bytes;
    reader->count = count;
    reader->options = options;
    reader->tiff = fv_tiff_open_source(reader);
    fvc_status status = reader->tiff == NULL
        ? fv_tiff_failure(reader, "the header cannot be read", failure) : fv_tiff_read_header(reader, failure);
    return fvc_hand_over(&reader->base, status, opened, header);
}

#endif
