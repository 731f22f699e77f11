#include "allocation_counter.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#if defined(__GLIBC__) && !defined(SANITIZED)
#define COUNTS 1
#endif

enum { COUNTERS = 1024 };

static atomic_long counters[COUNTERS];
// One more than the counter, so that threads begin without one.
static _Thread_local int attached;

bool allocation_counter_works(void) {
#ifdef COUNTS
    return true;
#else
    return false;
#endif
}

void allocation_counter_attach(int counter) {
    attached = counter >= 0 && counter < COUNTERS ? counter + 1 : 0;
}

long allocation_counter_value(int counter) {
    return counter >= 0 && counter < COUNTERS ? atomic_load(&counters[counter]) : 0;
}

#ifdef COUNTS

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static void count(void) {
    if (attached) atomic_fetch_add_explicit(&counters[attached - 1], 1, memory_order_relaxed);
}

void *malloc(size_t size) {
    count();
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
    count();
    return __libc_calloc(number, size);
}

void *realloc(void *old, size_t size) {
    count();
    return __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size) {
    count();
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    count();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **result, size_t alignment, size_t size) {
    if (alignment % sizeof(void *) != 0 || alignment == 0 || (alignment & (alignment - 1)) != 0) return EINVAL;
    count();
    // The caller's errno stays as it was, as POSIX wants it.
    int before = errno;
    void *memory = __libc_memalign(alignment, size);
    errno = before;
    if (!memory) return ENOMEM;
    *result = memory;
    return 0;
}

#endif
