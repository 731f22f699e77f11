// libarchive, opened when the first archive is, as libcurl is (ccurl.c): most processes unpack nothing.
#include "carchive.h"

// macOS has the library without its headers.
#if __has_include(<archive.h>) && __has_include(<archive_entry.h>)

#include <archive.h>
#include <archive_entry.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CARCHIVE_FUNCTIONS(each) \
    each(archive_read_new) \
    each(archive_read_support_format_zip_seekable) \
    each(archive_read_open_filename) \
    each(archive_read_next_header) \
    each(archive_read_data) \
    each(archive_read_free) \
    each(archive_error_string) \
    each(archive_entry_pathname_utf8) \
    each(archive_entry_pathname) \
    each(archive_entry_size) \
    each(archive_entry_size_is_set) \
    each(archive_entry_filetype) \
    each(archive_entry_hardlink) \
    each(archive_entry_is_encrypted)

#define CARCHIVE_MEMBER(name) __typeof__(&name) name;
static struct { CARCHIVE_FUNCTIONS(CARCHIVE_MEMBER) } library;
static const char *obstacle;

static void carchive_prepare_once(void) {
    static char reason[300];
    // The name carries the version of the binary interface, the headers' since 2013.
#ifdef __APPLE__
    void *handle = dlopen("libarchive.2.dylib", RTLD_NOW | RTLD_LOCAL);
#else
    void *handle = dlopen("libarchive.so.13", RTLD_NOW | RTLD_LOCAL);
#endif
#define CARCHIVE_FIND(name) \
    if (handle) { \
        void *address = dlsym(handle, #name); \
        memcpy(&library.name, &address, sizeof address); \
        if (!address) handle = NULL; \
    }
    CARCHIVE_FUNCTIONS(CARCHIVE_FIND)
    if (handle) return;
    const char *error = dlerror();
    snprintf(reason, sizeof reason, "it needs libarchive: %s", error ? error : "it cannot be opened");
    obstacle = reason;
}

const char *carchive_prepare(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, carchive_prepare_once);
    return obstacle;
}

struct reader {
    struct archive *archive;
    // Of opening, which the first entry says.
    int status;
};

void *carchive_open(const char *path) {
    struct reader *reader = calloc(1, sizeof *reader);
    if (!reader) return NULL;
    reader->archive = library.archive_read_new();
    if (!reader->archive) {
        free(reader);
        return NULL;
    }
    // This format alone, and no filters: all else is refused.
    reader->status = library.archive_read_support_format_zip_seekable(reader->archive);
    if (reader->status >= ARCHIVE_WARN) {
        reader->status = library.archive_read_open_filename(reader->archive, path, 1 << 18);
    }
    return reader;
}

int carchive_next(void *opaque, struct carchive_entry *entry) {
    struct reader *reader = opaque;
    if (reader->status < ARCHIVE_WARN) return -1;
    struct archive_entry *found = NULL;
    int status = library.archive_read_next_header(reader->archive, &found);
    if (status == ARCHIVE_EOF) return 0;
    if (status < ARCHIVE_WARN) return -1;
    const char *path = library.archive_entry_pathname_utf8(found);
    // Where the process has no locale of UTF-8, only ASCII becomes text; these are the archive's own bytes.
    entry->path = path ? path : library.archive_entry_pathname(found);
    entry->size = library.archive_entry_size_is_set(found) ? library.archive_entry_size(found) : -1;
    entry->kind = carchive_other;
    if (!library.archive_entry_hardlink(found)) {
        if (library.archive_entry_filetype(found) == AE_IFREG) entry->kind = carchive_file;
        if (library.archive_entry_filetype(found) == AE_IFDIR) entry->kind = carchive_folder;
    }
    entry->encrypted = library.archive_entry_is_encrypted(found);
    return 1;
}

ptrdiff_t carchive_read(void *opaque, void *bytes, size_t count) {
    struct reader *reader = opaque;
    return library.archive_read_data(reader->archive, bytes, count);
}

const char *carchive_error(void *opaque) {
    struct reader *reader = opaque;
    const char *reason = library.archive_error_string(reader->archive);
    return reason ? reason : "it cannot be read";
}

void carchive_close(void *opaque) {
    struct reader *reader = opaque;
    library.archive_read_free(reader->archive);
    free(reader);
}

#else

const char *carchive_prepare(void) { return "this build has no libarchive; unpack the archive by hand"; }
void *carchive_open(const char *path) {
    (void)path;
    return NULL;
}

int carchive_next(void *archive, struct carchive_entry *entry) {
    (void)archive, (void)entry;
    return -1;
}

ptrdiff_t carchive_read(void *archive, void *bytes, size_t count) {
    (void)archive, (void)bytes, (void)count;
    return -1;
}

const char *carchive_error(void *archive) {
    (void)archive;
    return "it cannot be read";
}

void carchive_close(void *archive) { (void)archive; }

#endif
