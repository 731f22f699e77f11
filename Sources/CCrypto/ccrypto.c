// libcrypto, opened when the first hash is made, as libcurl is (ccurl.c): most processes make none.
#include "ccrypto.h"

#ifdef __APPLE__

#include <CommonCrypto/CommonDigest.h>
#include <stdlib.h>

struct hash {
    enum ccrypto_kind kind;
    CC_SHA1_CTX sha1;
    CC_SHA256_CTX sha256;
};

const char *ccrypto_prepare(void) { return NULL; }

void *ccrypto_begin(enum ccrypto_kind kind) {
    struct hash *hash = calloc(1, sizeof *hash);
    if (!hash) return NULL;
    hash->kind = kind;
    if (kind == ccrypto_sha1) CC_SHA1_Init(&hash->sha1);
    else CC_SHA256_Init(&hash->sha256);
    return hash;
}

int ccrypto_add(void *opaque, const void *bytes, size_t count) {
    struct hash *hash = opaque;
    const char *rest = bytes;
    while (count > 0) {
        CC_LONG part = count > (1u << 30) ? 1u << 30 : (CC_LONG)count;
        if (hash->kind == ccrypto_sha1) CC_SHA1_Update(&hash->sha1, rest, part);
        else CC_SHA256_Update(&hash->sha256, rest, part);
        rest += part;
        count -= part;
    }
    return 1;
}

size_t ccrypto_finish(void *opaque, unsigned char result[32]) {
    struct hash *hash = opaque;
    if (hash->kind == ccrypto_sha1) CC_SHA1_Final(result, &hash->sha1);
    else CC_SHA256_Final(result, &hash->sha256);
    return hash->kind == ccrypto_sha1 ? CC_SHA1_DIGEST_LENGTH : CC_SHA256_DIGEST_LENGTH;
}

void ccrypto_end(void *hash) { free(hash); }

#else

#include <dlfcn.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define CCRYPTO_FUNCTIONS(each) \
    each(EVP_MD_CTX_new) \
    each(EVP_MD_CTX_free) \
    each(EVP_sha1) \
    each(EVP_sha256) \
    each(EVP_DigestInit_ex) \
    each(EVP_DigestUpdate) \
    each(EVP_DigestFinal_ex)

// The functions have the types of the headers, so the name carries the headers' version of the binary interface.
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
#define CCRYPTO_LIBRARY "libcrypto.so.3"
#else
#define CCRYPTO_LIBRARY "libcrypto.so.1.1"
#endif

#define CCRYPTO_MEMBER(name) __typeof__(&name) name;
static struct { CCRYPTO_FUNCTIONS(CCRYPTO_MEMBER) } library;
static const char *obstacle;

static void ccrypto_open(void) {
    static char reason[300];
    void *handle = dlopen(CCRYPTO_LIBRARY, RTLD_NOW | RTLD_LOCAL);
#define CCRYPTO_FIND(name) \
    if (handle) { \
        void *address = dlsym(handle, #name); \
        memcpy(&library.name, &address, sizeof address); \
        if (!address) handle = NULL; \
    }
    CCRYPTO_FUNCTIONS(CCRYPTO_FIND)
    if (handle) return;
    const char *error = dlerror();
    snprintf(reason, sizeof reason, "it needs libcrypto: %s", error ? error : CCRYPTO_LIBRARY " cannot be opened");
    obstacle = reason;
}

const char *ccrypto_prepare(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, ccrypto_open);
    return obstacle;
}

void *ccrypto_begin(enum ccrypto_kind kind) {
    EVP_MD_CTX *hash = library.EVP_MD_CTX_new();
    if (!hash) return NULL;
    const EVP_MD *digest = kind == ccrypto_sha1 ? library.EVP_sha1() : library.EVP_sha256();
    if (library.EVP_DigestInit_ex(hash, digest, NULL)) return hash;
    library.EVP_MD_CTX_free(hash);
    return NULL;
}

int ccrypto_add(void *hash, const void *bytes, size_t count) { return library.EVP_DigestUpdate(hash, bytes, count); }

size_t ccrypto_finish(void *hash, unsigned char result[32]) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    if (!library.EVP_DigestFinal_ex(hash, digest, &length) || length > 32) return 0;
    memcpy(result, digest, length);
    return length;
}

void ccrypto_end(void *hash) { library.EVP_MD_CTX_free(hash); }

#endif
