// SHA-1 and SHA-256 of the system's libcrypto (on macOS CommonCrypto), a part at a time.
#ifndef FV_CCRYPTO_H
#define FV_CCRYPTO_H

#include <stddef.h>

enum ccrypto_kind { ccrypto_sha1, ccrypto_sha256 };

// Before anything else; from any thread, as often as wanted. NULL, or why the library cannot be used; that text stays.
const char *ccrypto_prepare(void);

// NULL without memory.
void *ccrypto_begin(enum ccrypto_kind kind);
// 0 where the library fails, which it does not with what it was given here.
int ccrypto_add(void *hash, const void *bytes, size_t count);
// The length of the result in bytes, 20 or 32, or 0. The hash takes no more afterwards.
size_t ccrypto_finish(void *hash, unsigned char result[32]);
void ccrypto_end(void *hash);

#endif
