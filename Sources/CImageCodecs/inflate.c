#include <limits.h>

#include <zlib.h>

#include "cimagecodecs.h"

size_t fvc_inflate(const uint8_t *bytes, size_t count, uint8_t *to, size_t capacity)
{
    z_stream stream = {0};
    if (inflateInit(&stream) != Z_OK) {
        return 0;
    }
    stream.next_in = (Bytef *)bytes;
    stream.avail_in = count < UINT_MAX ? (uInt)count : UINT_MAX;
    stream.next_out = to;
    stream.avail_out = capacity < UINT_MAX ? (uInt)capacity : UINT_MAX;
    while (inflate(&stream, Z_NO_FLUSH) == Z_OK && stream.avail_out > 0 && stream.avail_in > 0) {
    }
    size_t made = (size_t)(stream.next_out - to);
    inflateEnd(&stream);
    return made;
}
