// Zip archives through libarchive, which is opened when the first archive is.
#ifndef FV_CARCHIVE_H
#define FV_CARCHIVE_H

#include <stddef.h>
#include <stdint.h>

enum carchive_kind { carchive_file, carchive_folder, carchive_other };

struct carchive_entry {
    // As the archive has it, UTF-8; NULL where it is no text. Until the next entry.
    const char *path;
    // Unpacked; below 0 where the archive does not say.
    int64_t size;
    enum carchive_kind kind;
    // Other than 0 where a password is wanted.
    int encrypted;
};

// Before anything else; from any thread, as often as wanted. NULL, or why libarchive cannot be used; that text stays.
const char *carchive_prepare(void);

// A zip archive in a file, for one thread at a time; NULL without memory. Whether it can be read, carchive_next says.
void *carchive_open(const char *path);

// 1: there is another entry; 0: there is none; -1: carchive_error says why.
int carchive_next(void *archive, struct carchive_entry *entry);

// Bytes of the entry, 0 at its end; below 0, also where its checksum is wrong: carchive_error says why.
ptrdiff_t carchive_read(void *archive, void *bytes, size_t count);

// Until the next call.
const char *carchive_error(void *archive);

void carchive_close(void *archive);

#endif
