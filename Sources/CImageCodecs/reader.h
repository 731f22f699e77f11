// What the codecs share: the head of every reader, and how failures and remarks are written down.
#ifndef FV_READER_H
#define FV_READER_H

#include <stdio.h>
#include <string.h>

#include "cimagecodecs.h"

// A codec's functions. Each is called with as many rows as are left or fewer, and never again after it failed.
typedef struct {
    fvc_status (*read_rows)(fvc_reader *reader, uint8_t *rows, int32_t count, fvc_failure *failure);
    fvc_status (*finish)(fvc_reader *reader, fvc_failure *failure);
    void (*close)(fvc_reader *reader);  // frees the reader too
} fvc_operations;

// The first member of every codec's own reader.
struct fvc_reader {
    const fvc_operations *operations;
    fvc_header header;
    int32_t next_row;
    int failed;
    char remark[200];
};

fvc_status fvc_fail(fvc_failure *failure, fvc_status status, size_t offset, const char *text);

// Zeroed memory of `size` bytes that begins with an fvc_reader of these operations; *opened is NULL until the
// header is read. Returns NULL, with the failure filled in, when there is no memory.
void *fvc_make_reader(size_t size, const fvc_operations *operations, fvc_reader **opened, fvc_failure *failure);

// How every open function ends: hands the reader over with its header, or closes it when `status` is a failure.
fvc_status fvc_hand_over(fvc_reader *reader, fvc_status status, fvc_reader **opened, fvc_header *header);

// Adds a sentence to what fvc_finish will report; what does not fit is left out.
void fvc_note(fvc_reader *reader, const char *text);

#define FVC_ANIMATION "the file is an animation, of which the first picture is used"

// Notes that the rows from `row` on could not be decoded.
void fvc_note_missing_rows(fvc_reader *reader, uint32_t row, const char *cause);

// The colour of pixels that are missing.
enum { FVC_GREY = 128 };

// Fills `count` pixels with opaque grey.
void fvc_fill_grey(uint8_t *pixels, size_t count, int32_t channels);

#endif
