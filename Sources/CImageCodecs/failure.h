// Shared by the three codecs: filling fvc_failure, and the check that a buffer can hold the picture.
#ifndef FV_FAILURE_H
#define FV_FAILURE_H

#include <stdio.h>
#include <string.h>

#include "cimagecodecs.h"

static inline fvc_status fvc_fail(fvc_failure *failure, fvc_status status, size_t offset, const char *text)
{
    failure->offset = offset;
    size_t n = 0;
    // The text may quote bytes of the file (libpng names chunks): keep it printable.
    for (; text[n] != 0 && n + 1 < sizeof failure->text; n++) {
        failure->text[n] = text[n] >= 32 && text[n] < 127 ? text[n] : '?';
    }
    failure->text[n] = 0;
    return status;
}

// 1 when width * height * 3 fits in capacity, without overflow.
static inline int fvc_fits(fvc_header header, size_t capacity)
{
    if (header.width <= 0 || header.height <= 0) {
        return 0;
    }
    uint64_t row = (uint64_t)header.width * 3;
    return row <= (uint64_t)capacity / (uint64_t)header.height;
}

#endif
