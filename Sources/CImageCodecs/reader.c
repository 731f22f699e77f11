#include "reader.h"

#include <stdlib.h>

void *fvc_make_reader(size_t size, const fvc_operations *operations, fvc_reader **opened, fvc_failure *failure)
{
    *opened = NULL;
    fvc_reader *reader = calloc(1, size);
    if (reader == NULL) {
        fvc_fail(failure, FVC_OUT_OF_MEMORY, 0, "no memory to open the file");
        return NULL;
    }
    reader->operations = operations;
    return reader;
}

fvc_status fvc_hand_over(fvc_reader *reader, fvc_status status, fvc_reader **opened, fvc_header *header)
{
    if (status != FVC_OK) {
        reader->operations->close(reader);
        return status;
    }
    *header = reader->header;
    *opened = reader;
    return FVC_OK;
}

fvc_status fvc_fail(fvc_failure *failure, fvc_status status, size_t offset, const char *text)
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

void fvc_note(fvc_reader *reader, const char *text)
{
    size_t used = strlen(reader->remark);
    const char *separator = used > 0 ? "; " : "";
    if (strstr(reader->remark, text) == NULL
        && used + strlen(separator) + strlen(text) < sizeof reader->remark) {
        snprintf(reader->remark + used, sizeof reader->remark - used, "%s%s", separator, text);
    }
}

void fvc_note_missing_rows(fvc_reader *reader, uint32_t row, const char *cause)
{
    char text[160];
    snprintf(text, sizeof text, "%s in row %u of %d, the rest is grey", cause, (unsigned)row,
             (int)reader->header.height);
    fvc_note(reader, text);
}

void fvc_fill_grey(uint8_t *pixels, size_t count, int32_t channels)
{
    memset(pixels, FVC_GREY, count * (size_t)channels);
    for (size_t i = 0; channels == 4 && i < count; i++) {
        pixels[4 * i + 3] = 255;
    }
}

fvc_status fvc_read_rows(fvc_reader *reader, uint8_t *rows, int32_t count, fvc_failure *failure)
{
    if (reader->failed || count < 0 || count > reader->header.height - reader->next_row) {
        return fvc_fail(failure, FVC_MISMATCH, 0, "no such rows are left");
    }
    fvc_status status = reader->operations->read_rows(reader, rows, count, failure);
    if (status == FVC_OK) {
        reader->next_row += count;
    } else {
        reader->failed = 1;
    }
    return status;
}

fvc_status fvc_finish(fvc_reader *reader, fvc_failure *remark)
{
    if (reader->failed || reader->next_row != reader->header.height) {
        return fvc_fail(remark, FVC_MISMATCH, 0, "rows are left");
    }
    fvc_status status = reader->operations->finish(reader, remark);
    if (status == FVC_OK) {
        fvc_fail(remark, FVC_OK, 0, reader->remark);
    }
    return status;
}

void fvc_close(fvc_reader *reader)
{
    if (reader != NULL) {
        reader->operations->close(reader);
    }
}
