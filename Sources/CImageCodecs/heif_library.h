// libheif, libde265 and dav1d, opened when the first HEIC or AVIF file is. Linked, they would bring their
// encoders and a dozen more libraries into every process, most of which never see such a file.
#ifndef FV_HEIF_LIBRARY_H
#define FV_HEIF_LIBRARY_H

#include <dav1d/dav1d.h>
#include <libde265/de265.h>
#include <libheif/heif.h>
#include <libheif/heif_plugin.h>

#define FVC_HEIF_FUNCTIONS(each) \
    each(heif_context_alloc) \
    each(heif_context_free) \
    each(heif_context_get_primary_image_handle) \
    each(heif_context_read_from_memory_without_copy) \
    each(heif_context_set_max_decoding_threads) \
    each(heif_context_set_maximum_image_size_limit) \
    each(heif_decode_image) \
    each(heif_decoding_options_alloc) \
    each(heif_decoding_options_free) \
    each(heif_image_add_plane) \
    each(heif_image_create) \
    each(heif_image_get_decoding_warnings) \
    each(heif_image_get_height) \
    each(heif_image_get_plane) \
    each(heif_image_get_plane_readonly) \
    each(heif_image_get_width) \
    each(heif_image_handle_get_height) \
    each(heif_image_handle_get_ispe_height) \
    each(heif_image_handle_get_ispe_width) \
    each(heif_image_handle_get_luma_bits_per_pixel) \
    each(heif_image_handle_get_nclx_color_profile) \
    each(heif_image_handle_get_raw_color_profile) \
    each(heif_image_handle_get_raw_color_profile_size) \
    each(heif_image_handle_get_width) \
    each(heif_image_handle_has_alpha_channel) \
    each(heif_image_handle_is_premultiplied_alpha) \
    each(heif_image_handle_release) \
    each(heif_image_release) \
    each(heif_image_set_nclx_color_profile) \
    each(heif_nclx_color_profile_alloc) \
    each(heif_nclx_color_profile_free) \
    each(heif_nclx_color_profile_set_color_primaries) \
    each(heif_nclx_color_profile_set_matrix_coefficients) \
    each(heif_nclx_color_profile_set_transfer_characteristics) \
    each(heif_register_decoder_plugin)

#define FVC_DE265_FUNCTIONS(each) \
    each(de265_decode) \
    each(de265_flush_data) \
    each(de265_free_decoder) \
    each(de265_get_bits_per_pixel) \
    each(de265_get_chroma_format) \
    each(de265_get_image_colour_primaries) \
    each(de265_get_image_full_range_flag) \
    each(de265_get_image_height) \
    each(de265_get_image_matrix_coefficients) \
    each(de265_get_image_plane) \
    each(de265_get_image_transfer_characteristics) \
    each(de265_get_image_width) \
    each(de265_get_next_picture) \
    each(de265_get_warning) \
    each(de265_isOK) \
    each(de265_new_decoder) \
    each(de265_push_NAL)

#define FVC_DAV1D_FUNCTIONS(each) \
    each(dav1d_close) \
    each(dav1d_data_create) \
    each(dav1d_data_unref) \
    each(dav1d_default_settings) \
    each(dav1d_get_picture) \
    each(dav1d_open) \
    each(dav1d_picture_unref) \
    each(dav1d_send_data)

namespace fastvlm {

// Inside this namespace the libraries' functions go by their own names, through these pointers.
#define FVC_DECLARE(name) extern decltype(&::name) name;
FVC_HEIF_FUNCTIONS(FVC_DECLARE)
FVC_DE265_FUNCTIONS(FVC_DECLARE)
FVC_DAV1D_FUNCTIONS(FVC_DECLARE)
#undef FVC_DECLARE

// Fills the pointers, once per process. False with a sentence in `reason` when a library is missing or of
// another version than the headers that this was built with; the next call tries again.
bool open_heif_library(char *reason, unsigned long capacity);

}  // namespace fastvlm

#endif
