// HEIC and AVIF through libheif: the primary image, turned, mirrored and cropped as its own properties say
// (an EXIF orientation beside them must not be applied again). libheif is C++ behind a C interface, and what
// it throws when memory runs out comes through that interface; this file is C++ to catch it.
#ifdef FVC_HEIF

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>

#include "heif_decoders.h"
#include "heif_library.h"

extern "C" {
#include "reader.h"
}

#if LIBHEIF_NUMERIC_VERSION < 0x010d0000
#error "HEIC and AVIF need libheif 1.13 or later, which takes decoders; build without the trait HEIF"
#endif

namespace fastvlm {

namespace {

struct Reader {
    fvc_reader base;  // first, as the callers of the C functions expect
    heif_context *context;
    heif_image_handle *handle;
    heif_image *image;
    const uint8_t *pixels;
    int stride;
    int premultiplied;
    uint8_t *profile;
    int longest_side;
    uint64_t coded_pixels;
    size_t count;
    fvc_options options;
};

// Coded pictures of a tile are rounded up, and small ones need no limit.
constexpr uint64_t smallest_allowance = 4 << 20;

// While it lives, decoders on this thread stay within what the reader's header promised: no coded picture is
// larger than the whole one with its padding, and all together are that, padded, and once more for alpha.
class Allowance {
public:
    explicit Allowance(const Reader *reader)
    {
        decoding_allowance = {};
        decoding_allowance.applies = true;
        decoding_allowance.largest = reader->coded_pixels + reader->coded_pixels / 4 + smallest_allowance;
        decoding_allowance.pixels = 3 * reader->coded_pixels + smallest_allowance;
    }
    ~Allowance() { decoding_allowance = {}; }
    Allowance(const Allowance &) = delete;
    Allowance &operator=(const Allowance &) = delete;
};

Reader *reader_of(fvc_reader *base) { return reinterpret_cast<Reader *>(base); }

fvc_status failed(const heif_error &error, size_t count, fvc_failure *failure)
{
    const char *text = error.message != nullptr ? error.message : "libheif gives no reason";
    if (error.subcode == heif_suberror_Security_limit_exceeded) {
        return fvc_fail(failure, FVC_OVER_LIMIT, 0, text);
    }
    if (error.subcode == heif_suberror_End_of_data) {
        return fvc_fail(failure, FVC_TRUNCATED, count, "the file ends before the picture does");
    }
    switch (error.code) {
    case heif_error_Unsupported_filetype:
    case heif_error_Unsupported_feature:
    case heif_error_Plugin_loading_error:
        return fvc_fail(failure, FVC_UNSUPPORTED, 0, text);
    case heif_error_Memory_allocation_error:
        return fvc_fail(failure, FVC_OUT_OF_MEMORY, 0, text);
    default:
        return fvc_fail(failure, FVC_CORRUPT, 0, text);
    }
}

// Runs `body`, which may throw because libheif does.
template <typename Body> fvc_status guarded(fvc_failure *failure, Body body)
{
    try {
        return body();
    } catch (const std::bad_alloc &) {
        return fvc_fail(failure, FVC_OUT_OF_MEMORY, 0, "no memory to decode the picture");
    } catch (const std::exception &error) {
        return fvc_fail(failure, FVC_CORRUPT, 0, error.what());
    } catch (...) {
        return fvc_fail(failure, FVC_CORRUPT, 0, "libheif gave up");
    }
}

void take_profile(Reader *reader)
{
    size_t length = heif_image_handle_get_raw_color_profile_size(reader->handle);
    if (length == 0) {
        return;
    }
    if (length > FVC_PROFILE_BYTES) {
        fvc_note(&reader->base, "the colour profile is too long and was left out");
        return;
    }
    reader->profile = static_cast<uint8_t *>(std::malloc(length));
    if (reader->profile == nullptr
        || heif_image_handle_get_raw_color_profile(reader->handle, reader->profile).code != heif_error_Ok) {
        return;
    }
    reader->base.header.profile = reader->profile;
    reader->base.header.profile_bytes = length;
}

// Brightness beyond the screen's cannot be had from the numbers alone.
void note_range(Reader *reader)
{
    heif_color_profile_nclx *colours = nullptr;
    heif_error error = heif_image_handle_get_nclx_color_profile(reader->handle, &colours);
    if (colours == nullptr) {
        return;
    }
    bool known = error.code == heif_error_Ok;
    if (known
        && (colours->transfer_characteristics == heif_transfer_characteristic_ITU_R_BT_2100_0_PQ
            || colours->transfer_characteristics == heif_transfer_characteristic_ITU_R_BT_2100_0_HLG)) {
        fvc_note(&reader->base, "the picture has a high dynamic range, which is not tone-mapped");
    }
    heif_nclx_color_profile_free(colours);
}

fvc_status read_header(Reader *reader, const uint8_t *bytes, fvc_failure *failure)
{
    char reason[sizeof failure->text];
    if (!open_heif_library(reason, sizeof reason)) {
        return fvc_fail(failure, FVC_NO_LIBRARY, 0, reason);
    }
    if (!register_heif_decoders()) {
        return fvc_fail(failure, FVC_UNSUPPORTED, 0, "this version of libheif does not take decoders");
    }
    reader->context = heif_context_alloc();
    if (reader->context == nullptr) {
        return fvc_fail(failure, FVC_OUT_OF_MEMORY, 0, "no memory to open the file");
    }
    heif_context_set_max_decoding_threads(reader->context, 0);
    heif_error error
        = heif_context_read_from_memory_without_copy(reader->context, bytes, reader->count, nullptr);
    if (error.code == heif_error_Ok) {
        error = heif_context_get_primary_image_handle(reader->context, &reader->handle);
    }
    if (error.code != heif_error_Ok) {
        return failed(error, reader->count, failure);
    }
    int width = heif_image_handle_get_width(reader->handle);
    int height = heif_image_handle_get_height(reader->handle);
    if (width <= 0 || height <= 0) {
        return fvc_fail(failure, FVC_CORRUPT, 0, "the primary image has no pixels");
    }
    int alpha = heif_image_handle_has_alpha_channel(reader->handle);
    int wide = heif_image_handle_get_luma_bits_per_pixel(reader->handle) > 8;
    reader->premultiplied = alpha && heif_image_handle_is_premultiplied_alpha(reader->handle);
    // What is decoded may be larger than what is shown of it.
    int coded_width = heif_image_handle_get_ispe_width(reader->handle);
    int coded_height = heif_image_handle_get_ispe_height(reader->handle);
    reader->longest_side = std::max(std::max(width, height), std::max(coded_width, coded_height));
    uint64_t shown = static_cast<uint64_t>(width) * static_cast<uint64_t>(height);
    uint64_t coded = coded_width > 0 && coded_height > 0
        ? static_cast<uint64_t>(coded_width) * static_cast<uint64_t>(coded_height) : 0;
    reader->coded_pixels = std::max(shown, coded);
    // Planes of the picture and of the tile being added to it, and the interleaved result, in samples.
    size_t samples = static_cast<size_t>(alpha ? 10 : 8);
    fvc_header &header = reader->base.header;
    header.width = width;
    header.height = height;
    header.channels = alpha ? 4 : 3;
    header.working_bytes = static_cast<size_t>(reader->coded_pixels) * samples * (wide ? 2 : 1);
    take_profile(reader);
    note_range(reader);
    return FVC_OK;
}

fvc_status decode(Reader *reader, fvc_failure *failure)
{
    heif_decoding_options *options = heif_decoding_options_alloc();
    if (options == nullptr) {
        return fvc_fail(failure, FVC_OUT_OF_MEMORY, 0, "no memory to decode the picture");
    }
    options->convert_hdr_to_8bit = 1;
    // A grid may name a larger canvas than its properties do. From 32,768 a side on, libheif's own sizes overflow.
    heif_context_set_maximum_image_size_limit(reader->context, std::min(reader->longest_side + 1, 32768));
    Allowance allowance(reader);
    const fvc_header &header = reader->base.header;
    heif_chroma layout = header.channels == 4 ? heif_chroma_interleaved_RGBA : heif_chroma_interleaved_RGB;
    heif_error error
        = heif_decode_image(reader->handle, &reader->image, heif_colorspace_RGB, layout, options);
    heif_decoding_options_free(options);
    if (decoding_allowance.exceeded) {
        return fvc_fail(failure, FVC_OVER_LIMIT, 0, "the coded pictures are larger than the size in the header");
    }
    if (error.code != heif_error_Ok) {
        return failed(error, reader->count, failure);
    }
    if (decoding_allowance.damaged) {
        return fvc_fail(failure, FVC_CORRUPT, 0, "a coded picture is damaged");
    }
    // Some versions report success without an image; and the size in the header is a promise only.
    if (reader->image == nullptr
        || heif_image_get_width(reader->image, heif_channel_interleaved) != header.width
        || heif_image_get_height(reader->image, heif_channel_interleaved) != header.height) {
        return fvc_fail(failure, FVC_CORRUPT, 0, "the decoded picture is not of the size in the header");
    }
    reader->pixels = heif_image_get_plane_readonly(reader->image, heif_channel_interleaved, &reader->stride);
    if (reader->pixels == nullptr || reader->stride < header.width * header.channels) {
        return fvc_fail(failure, FVC_CORRUPT, 0, "the picture has no pixels");
    }
    // Where tiles do not cover the canvas, libheif leaves what was in memory.
    if (decoding_allowance.decoded < reader->coded_pixels
        || decoding_allowance.least_width < static_cast<uint64_t>(reader->options.tile_width)
        || decoding_allowance.least_height < static_cast<uint64_t>(reader->options.tile_height)) {
        reader->pixels = nullptr;
        return fvc_fail(failure, FVC_CORRUPT, 0, "the coded pictures do not cover the image");
    }
    heif_error warning;
    if (heif_image_get_decoding_warnings(reader->image, 0, &warning, 1) > 0) {
        reader->pixels = nullptr;
        return failed(warning, reader->count, failure);
    }
    return FVC_OK;
}

void make_straight(uint8_t *row, int32_t width)
{
    for (int32_t x = 0; x < width; x++, row += 4) {
        unsigned alpha = row[3];
        for (int c = 0; c < 3; c++) {
            unsigned straight = alpha == 0 ? 0 : 255u * row[c] / alpha;
            row[c] = static_cast<uint8_t>(straight > 255 ? 255 : straight);
        }
    }
}

fvc_status read_rows(fvc_reader *base, uint8_t *rows, int32_t count, fvc_failure *failure)
{
    Reader *reader = reader_of(base);
    if (reader->pixels == nullptr) {
        fvc_status status = guarded(failure, [&] { return decode(reader, failure); });
        if (status != FVC_OK) {
            return status;
        }
    }
    size_t length = static_cast<size_t>(base->header.width) * static_cast<size_t>(base->header.channels);
    for (int32_t y = 0; y < count; y++) {
        size_t from = static_cast<size_t>(base->next_row + y) * static_cast<size_t>(reader->stride);
        uint8_t *row = rows + static_cast<size_t>(y) * length;
        std::memcpy(row, reader->pixels + from, length);
        if (reader->premultiplied) {
            make_straight(row, base->header.width);
        }
    }
    return FVC_OK;
}

fvc_status finish(fvc_reader *, fvc_failure *) { return FVC_OK; }

void close_reader(fvc_reader *base)
{
    Reader *reader = reader_of(base);
    // Without a context nothing was made, perhaps because there is no libheif.
    if (reader->context != nullptr) {
        heif_image_release(reader->image);
        heif_image_handle_release(reader->handle);
        heif_context_free(reader->context);
    }
    std::free(reader->profile);
    std::free(reader);
}

}  // namespace

extern "C" fvc_status fvc_heif_open(const uint8_t *bytes, size_t count, fvc_options options,
                                    fvc_reader **opened, fvc_header *header, fvc_failure *failure)
{
    static const fvc_operations operations = {read_rows, finish, close_reader};
    Reader *reader = static_cast<Reader *>(fvc_make_reader(sizeof(Reader), &operations, opened, failure));
    if (reader == nullptr) {
        return FVC_OUT_OF_MEMORY;
    }
    reader->count = count;
    reader->options = options;
    fvc_status status = guarded(failure, [&] { return read_header(reader, bytes, failure); });
    return fvc_hand_over(&reader->base, status, opened, header);
}

}  // namespace fastvlm

#endif
