// HEVC through libde265 and AV1 through dav1d, as plugins of libheif.
#ifdef FVC_HEIF

#include "heif_decoders.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "heif_library.h"

namespace fastvlm {

thread_local DecodingAllowance decoding_allowance;

namespace {

const heif_error success = {heif_error_Ok, heif_suberror_Unspecified, "Success"};
const heif_error too_large = {heif_error_Memory_allocation_error, heif_suberror_Security_limit_exceeded,
                              "the coded pictures are larger than the size in the header"};
const heif_error no_memory = {heif_error_Memory_allocation_error, heif_suberror_Unspecified,
                              "no memory to decode the picture"};
const heif_error damaged = {heif_error_Decoder_plugin_error, heif_suberror_Unspecified,
                            "the coded picture is damaged"};
const heif_error cut_off = {heif_error_Decoder_plugin_error, heif_suberror_End_of_data, "the data are cut off"};
const heif_error unknown_layout = {heif_error_Unsupported_feature, heif_suberror_Unsupported_color_conversion,
                                   "planes of different depths"};

// A picture costs something even if it has one pixel.
enum { FVC_PICTURE_COST = 4096 };

bool fits_allowance(uint64_t width, uint64_t height)
{
    const DecodingAllowance &allowance = decoding_allowance;
    if (!allowance.applies) {
        return true;
    }
    uint64_t most = std::min(allowance.largest, allowance.pixels);
    return width <= most && height <= most / (width > 0 ? width : 1);
}

heif_error refuse_size()
{
    decoding_allowance.exceeded = true;
    return too_large;
}

heif_error refuse_damage()
{
    decoding_allowance.damaged = true;
    return damaged;
}

void use_allowance(int width, int height)
{
    DecodingAllowance &allowance = decoding_allowance;
    uint64_t pixels = static_cast<uint64_t>(width) * static_cast<uint64_t>(height);
    allowance.least_width = std::min(allowance.least_width, static_cast<uint64_t>(width));
    allowance.least_height = std::min(allowance.least_height, static_cast<uint64_t>(height));
    uint64_t cost = pixels + FVC_PICTURE_COST;
    allowance.pixels -= cost < allowance.pixels ? cost : allowance.pixels;
    allowance.decoded += pixels;
}

struct Plane {
    const uint8_t *data;
    ptrdiff_t stride;
    int width;
    int height;
};

// Planes Y, Cb and Cr (or only Y) of `bits` bits to libheif's image.
heif_error make_image(const Plane planes[3], heif_chroma chroma, int bits, heif_image **image)
{
    static const heif_channel channels[3] = {heif_channel_Y, heif_channel_Cb, heif_channel_Cr};
    bool grey = chroma == heif_chroma_monochrome;
    heif_error error = heif_image_create(planes[0].width, planes[0].height,
                                         grey ? heif_colorspace_monochrome : heif_colorspace_YCbCr, chroma, image);
    size_t bytes = bits > 8 ? 2 : 1;
    for (int c = 0; c < (grey ? 1 : 3) && error.code == heif_error_Ok; c++) {
        const Plane &plane = planes[c];
        if (plane.data == nullptr || plane.width <= 0 || plane.height <= 0) {
            error = damaged;
            break;
        }
        error = heif_image_add_plane(*image, channels[c], plane.width, plane.height, bits);
        int stride = 0;
        uint8_t *to = error.code == heif_error_Ok ? heif_image_get_plane(*image, channels[c], &stride) : nullptr;
        if (to == nullptr) {
            error = error.code == heif_error_Ok ? no_memory : error;
            break;
        }
        for (int y = 0; y < plane.height; y++) {
            std::memcpy(to + static_cast<ptrdiff_t>(y) * stride, plane.data + y * plane.stride,
                        static_cast<size_t>(plane.width) * bytes);
        }
    }
    if (error.code != heif_error_Ok && *image != nullptr) {
        heif_image_release(*image);
        *image = nullptr;
    }
    return error;
}

// What the coded picture says about its colours; the container's word, if any, goes before it.
void set_colours(heif_image *image, int primaries, int transfer, int matrix, bool full_range)
{
    heif_color_profile_nclx *colours = heif_nclx_color_profile_alloc();
    if (colours == nullptr) {
        return;
    }
    bool known
        = heif_nclx_color_profile_set_color_primaries(colours, static_cast<uint16_t>(primaries)).code == heif_error_Ok
        && heif_nclx_color_profile_set_transfer_characteristics(colours, static_cast<uint16_t>(transfer)).code
            == heif_error_Ok
        && heif_nclx_color_profile_set_matrix_coefficients(colours, static_cast<uint16_t>(matrix)).code
            == heif_error_Ok;
    colours->full_range_flag = full_range ? 1 : 0;
    if (known) {
        heif_image_set_nclx_color_profile(image, colours);
    }
    heif_nclx_color_profile_free(colours);
}

// -- HEVC ------------------------------------------------------------------------------------------------------

// Bits of a NAL unit; past its end there are only zeros. A byte 3 after two zeros is no data.
class BitReader {
public:
    BitReader(const uint8_t *bytes, size_t count) : bytes_(bytes), count_(count) {}

    uint32_t bits(unsigned count)
    {
        uint32_t value = 0;
        for (; count > 0; count--) {
            value = value << 1 | bit();
        }
        return value;
    }

    void skip(unsigned count)
    {
        for (; count > 0; count--) {
            bit();
        }
    }

    // An Exp-Golomb number; damage gives the largest.
    uint64_t number()
    {
        unsigned zeros = 0;
        while (bit() == 0) {
            if (++zeros > 31) {
                return UINT32_MAX;
            }
        }
        return ((uint64_t)1 << zeros) - 1 + bits(zeros);
    }

private:
    uint32_t bit()
    {
        if (left_ == 0) {
            if (at_ < count_ && zeros_ >= 2 && bytes_[at_] == 3) {
                at_++;
                zeros_ = 0;
            }
            current_ = at_ < count_ ? bytes_[at_] : 0;
            zeros_ = current_ == 0 ? zeros_ + 1 : 0;
            at_++;
            left_ = 8;
        }
        left_--;
        return current_ >> left_ & 1u;
    }

    const uint8_t *bytes_;
    size_t count_;
    size_t at_ = 0;
    unsigned zeros_ = 0;
    unsigned left_ = 0;
    uint32_t current_ = 0;
};

// The size that a sequence parameter set names (ITU-T H.265, 7.3.2.2.1 and 7.3.3). libde265 builds tables of it
// as soon as it is given one.
bool sequence_fits_allowance(const uint8_t *unit, size_t count)
{
    BitReader reader(unit, count);
    reader.skip(16 + 4);
    unsigned more_layers = reader.bits(3);
    reader.skip(1 + 88 + 8);
    bool profiles[8] = {}, levels[8] = {};
    for (unsigned i = 0; i < more_layers; i++) {
        profiles[i] = reader.bits(1) != 0;
        levels[i] = reader.bits(1) != 0;
    }
    reader.skip(more_layers > 0 ? 2 * (8 - more_layers) : 0);
    for (unsigned i = 0; i < more_layers; i++) {
        reader.skip((profiles[i] ? 88u : 0u) + (levels[i] ? 8u : 0u));
    }
    reader.number();
    if (reader.number() == 3) {
        reader.skip(1);
    }
    uint64_t width = reader.number();
    uint64_t height = reader.number();
    return fits_allowance(width, height);
}

// The first slice of a coded picture begins with a set bit behind the two bytes that every unit has.
bool begins_picture(const uint8_t *unit, size_t count)
{
    enum { FVC_FIRST_OTHER_UNIT = 32 };
    return count > 2 && (unit[0] >> 1 & 63) < FVC_FIRST_OTHER_UNIT && (unit[2] & 0x80) != 0;
}

// Units of four bytes of length and their data, up to the end of the first picture: an item has one, and any
// number of further ones would be work for nothing.
heif_error hevc_push(void *decoder, const void *data, size_t size)
{
    int pictures = 0;
    const uint8_t *bytes = static_cast<const uint8_t *>(data);
    for (size_t at = 0; at < size;) {
        if (size - at < 4) {
            return cut_off;
        }
        size_t length = (size_t)bytes[at] << 24 | (size_t)bytes[at + 1] << 16 | (size_t)bytes[at + 2] << 8
            | bytes[at + 3];
        at += 4;
        if (length > size - at) {
            return cut_off;
        }
        pictures += begins_picture(bytes + at, length) ? 1 : 0;
        if (pictures > 1) {
            return success;
        }
        enum { FVC_SEQUENCE_PARAMETER_SET = 33 };
        if (length > 2 && (bytes[at] >> 1 & 63) == FVC_SEQUENCE_PARAMETER_SET
            && !sequence_fits_allowance(bytes + at, length)) {
            return refuse_size();
        }
        if (length > 0) {
            de265_error error = de265_push_NAL(static_cast<de265_decoder_context *>(decoder), bytes + at,
                                               static_cast<int>(length), 0, nullptr);
            if (!de265_isOK(error)) {
                return refuse_damage();
            }
        }
        at += length;
    }
    return success;
}

heif_error hevc_image(const de265_image *picture, heif_image **image)
{
    de265_chroma chroma = de265_get_chroma_format(picture);
    int bits = de265_get_bits_per_pixel(picture, 0);
    Plane planes[3] = {};
    for (int c = 0; c < (chroma == de265_chroma_mono ? 1 : 3); c++) {
        if (de265_get_bits_per_pixel(picture, c) != bits) {
            return unknown_layout;
        }
        int stride = 0;
        planes[c].data = de265_get_image_plane(picture, c, &stride);
        planes[c].stride = stride;
        planes[c].width = de265_get_image_width(picture, c);
        planes[c].height = de265_get_image_height(picture, c);
    }
    use_allowance(planes[0].width, planes[0].height);
    heif_error error = make_image(planes, static_cast<heif_chroma>(chroma), bits, image);
    if (error.code == heif_error_Ok) {
        set_colours(*image, de265_get_image_colour_primaries(picture),
                    de265_get_image_transfer_characteristics(picture),
                    de265_get_image_matrix_coefficients(picture), de265_get_image_full_range_flag(picture) != 0);
    }
    return error;
}

heif_error hevc_decode(void *decoder, heif_image **image)
{
    auto *context = static_cast<de265_decoder_context *>(decoder);
    *image = nullptr;
    de265_error error = de265_flush_data(context);
    int more = 1;
    while (more && de265_isOK(error)) {
        more = 0;
        error = de265_decode(context, &more);
        const de265_image *picture = de265_get_next_picture(context);
        if (picture == nullptr) {
            continue;
        }
        // libde265 conceals what it cannot decode and only warns.
        de265_error warning = de265_get_warning(context);
        if (!de265_isOK(error) || warning != DE265_OK) {
            return refuse_damage();
        }
        return hevc_image(picture, image);
    }
    return error == DE265_ERROR_OUT_OF_MEMORY ? no_memory : refuse_damage();
}

heif_error hevc_new(void **decoder)
{
    // Without worker threads: an exception on one of those would end the process.
    *decoder = de265_new_decoder();
    return *decoder != nullptr ? success : no_memory;
}

void hevc_free(void *decoder) { de265_free_decoder(static_cast<de265_decoder_context *>(decoder)); }

const char *hevc_name() { return "libde265 within limits"; }

int hevc_support(heif_compression_format format) { return format == heif_compression_HEVC ? 200 : 0; }

// -- AV1 -------------------------------------------------------------------------------------------------------

struct Av1Decoder {
    Dav1dContext *context;
    Dav1dData data;
};

void av1_free(void *decoder)
{
    auto *av1 = static_cast<Av1Decoder *>(decoder);
    dav1d_data_unref(&av1->data);
    if (av1->context != nullptr) {
        dav1d_close(&av1->context);
    }
    delete av1;
}

heif_error av1_new(void **decoder)
{
    auto *av1 = new Av1Decoder();
    Dav1dSettings settings;
    dav1d_default_settings(&settings);
    settings.n_threads = 1;
    settings.max_frame_delay = 1;
    settings.all_layers = 0;
    settings.logger.callback = nullptr;
    const DecodingAllowance &allowance = decoding_allowance;
    if (allowance.applies) {
        // 0 would mean any size.
        uint64_t most = std::min(allowance.largest, allowance.pixels);
        settings.frame_size_limit = static_cast<unsigned>(std::clamp<uint64_t>(most, 1, UINT32_MAX));
    }
    if (dav1d_open(&av1->context, &settings) != 0) {
        av1->context = nullptr;
        av1_free(av1);
        *decoder = nullptr;
        return no_memory;
    }
    *decoder = av1;
    return success;
}

heif_error av1_push(void *decoder, const void *data, size_t size)
{
    auto *av1 = static_cast<Av1Decoder *>(decoder);
    dav1d_data_unref(&av1->data);
    uint8_t *copy = size > 0 ? dav1d_data_create(&av1->data, size) : nullptr;
    if (copy == nullptr) {
        return size > 0 ? no_memory : cut_off;
    }
    std::memcpy(copy, data, size);
    return success;
}

heif_error av1_image(const Dav1dPicture &picture, heif_image **image)
{
    static const heif_chroma layouts[4]
        = {heif_chroma_monochrome, heif_chroma_420, heif_chroma_422, heif_chroma_444};
    int layout = picture.p.layout;
    if (layout < 0 || layout > 3) {
        return unknown_layout;
    }
    bool half_wide = layout == DAV1D_PIXEL_LAYOUT_I420 || layout == DAV1D_PIXEL_LAYOUT_I422;
    bool half_high = layout == DAV1D_PIXEL_LAYOUT_I420;
    Plane planes[3] = {};
    for (int c = 0; c < (layout == DAV1D_PIXEL_LAYOUT_I400 ? 1 : 3); c++) {
        planes[c].data = static_cast<const uint8_t *>(picture.data[c]);
        planes[c].stride = picture.stride[c > 0 ? 1 : 0];
        planes[c].width = c > 0 && half_wide ? (picture.p.w + 1) / 2 : picture.p.w;
        planes[c].height = c > 0 && half_high ? (picture.p.h + 1) / 2 : picture.p.h;
    }
    use_allowance(picture.p.w, picture.p.h);
    heif_error error = make_image(planes, layouts[layout], picture.p.bpc, image);
    if (error.code == heif_error_Ok && picture.seq_hdr != nullptr) {
        set_colours(*image, picture.seq_hdr->pri, picture.seq_hdr->trc, picture.seq_hdr->mtrx,
                    picture.seq_hdr->color_range != 0);
    }
    return error;
}

heif_error av1_decode(void *decoder, heif_image **image)
{
    auto *av1 = static_cast<Av1Decoder *>(decoder);
    *image = nullptr;
    Dav1dPicture picture = {};
    // dav1d asks to be emptied before it takes more; the first picture is the one wanted.
    for (int sent = 0, rounds = 0; rounds < 64; rounds++) {
        if (av1->data.sz > 0) {
            sent = dav1d_send_data(av1->context, &av1->data);
            if (sent == DAV1D_ERR(ERANGE)) {
                return refuse_size();
            }
            if (sent < 0 && sent != DAV1D_ERR(EAGAIN)) {
                return sent == DAV1D_ERR(ENOMEM) ? no_memory : refuse_damage();
            }
        }
        int got = dav1d_get_picture(av1->context, &picture);
        if (got == 0) {
            heif_error error = av1_image(picture, image);
            dav1d_picture_unref(&picture);
            return error;
        }
        if (got == DAV1D_ERR(ERANGE)) {
            return refuse_size();
        }
        if (got != DAV1D_ERR(EAGAIN)) {
            return got == DAV1D_ERR(ENOMEM) ? no_memory : refuse_damage();
        }
        if (av1->data.sz == 0 && rounds > 0) {
            break;
        }
    }
    return refuse_damage();
}

const char *av1_name() { return "dav1d within limits"; }

int av1_support(heif_compression_format format) { return format == heif_compression_AV1 ? 200 : 0; }

// The fields of the plugins' first version, which every libheif takes; the rest is zero.
heif_decoder_plugin plugin(const char *(*name)(), int (*support)(heif_compression_format),
                           heif_error (*make)(void **), void (*free)(void *),
                           heif_error (*push)(void *, const void *, size_t),
                           heif_error (*decode)(void *, heif_image **))
{
    heif_decoder_plugin made = {};
    made.plugin_api_version = 1;
    made.get_plugin_name = name;
    made.does_support_format = support;
    made.new_decoder = make;
    made.free_decoder = free;
    made.push_data = push;
    made.decode_image = decode;
    return made;
}

}  // namespace

bool register_heif_decoders()
{
    static const heif_decoder_plugin hevc
        = plugin(hevc_name, hevc_support, hevc_new, hevc_free, hevc_push, hevc_decode);
    static const heif_decoder_plugin av1 = plugin(av1_name, av1_support, av1_new, av1_free, av1_push, av1_decode);
    static const bool registered = heif_register_decoder_plugin(&hevc).code == heif_error_Ok
        && heif_register_decoder_plugin(&av1).code == heif_error_Ok;
    return registered;
}

}  // namespace fastvlm

#endif
