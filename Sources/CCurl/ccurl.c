// libcurl, opened when the first address is fetched: linked, it would bring some thirty libraries into every
// process, most of which fetch nothing.
#include "ccurl.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define CCURL_FUNCTIONS(each) \
    each(global_init) \
    each(easy_init) \
    each(easy_setopt) \
    each(easy_perform) \
    each(easy_getinfo) \
    each(easy_strerror) \
    each(easy_cleanup) \
    each(easy_reset) \
    each(slist_append) \
    each(slist_free_all)

// The functions by their names without "curl_": with it, some are macros too.
#define CCURL_MEMBER(name) __typeof__(&curl_##name) name;
static struct { CCURL_FUNCTIONS(CCURL_MEMBER) } library;

#ifdef __linux__

#include <dlfcn.h>

static const char *ccurl_open(void) {
    static char reason[300];
    // The name carries the version of the binary interface, the headers' since 2006.
    void *handle = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
#define CCURL_FIND(name) \
    if (handle) { \
        void *address = dlsym(handle, "curl_" #name); \
        memcpy(&library.name, &address, sizeof address); \
        if (!address) handle = NULL; \
    }
    CCURL_FUNCTIONS(CCURL_FIND)
    if (handle) return NULL;
    const char *error = dlerror();
    snprintf(reason, sizeof reason, "it needs libcurl: %s", error ? error : "libcurl.so.4 cannot be opened");
    return reason;
}

#else

// Elsewhere it is linked.
static const char *ccurl_open(void) {
#define CCURL_FIND(name) library.name = &curl_##name;
    CCURL_FUNCTIONS(CCURL_FIND)
    return NULL;
}

#endif

static const char *obstacle;

static void ccurl_prepare_once(void) {
    obstacle = ccurl_open();
    if (!obstacle && library.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) obstacle = "libcurl cannot be prepared";
}

const char *ccurl_prepare(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, ccurl_prepare_once);
    return obstacle;
}

void *ccurl_connect(void) { return library.easy_init(); }

void ccurl_disconnect(void *connection) { library.easy_cleanup(connection); }

// One list entry per line.
static struct curl_slist *ccurl_headers(const char *lines) {
    struct curl_slist *headers = NULL;
    char line[9000];
    while (lines && *lines) {
        size_t length = strcspn(lines, "\n");
        if (length > 0 && length < sizeof line) {
            memcpy(line, lines, length);
            line[length] = 0;
            headers = library.slist_append(headers, line);
        }
        lines += length + (lines[length] != 0);
    }
    return headers;
}

// Opens the socket of a connection, unless that would go to another address than those of the request.
static curl_socket_t ccurl_open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *peer) {
    const char *addresses = context;
    char text[INET6_ADDRSTRLEN] = "";
    if (purpose != CURLSOCKTYPE_IPCXN) return CURL_SOCKET_BAD;
    const void *bytes = NULL;
    if (peer->family == AF_INET) bytes = &((const struct sockaddr_in *)&peer->addr)->sin_addr;
    if (peer->family == AF_INET6) bytes = &((const struct sockaddr_in6 *)&peer->addr)->sin6_addr;
    if (!bytes || !inet_ntop(peer->family, bytes, text, sizeof text)) return CURL_SOCKET_BAD;
    size_t length = strlen(text);
    for (const char *each = addresses; each; each = strchr(each, ',')) {
        if (*each == ',') each++;
        if (strncmp(each, text, length) == 0 && (each[length] == 0 || each[length] == ',')) {
            return socket(peer->family, peer->socktype, peer->protocol);
        }
    }
    return CURL_SOCKET_BAD;
}

// Binds a request to its addresses, so that its name is not resolved again.
static struct curl_slist *ccurl_pin(CURL *curl, const struct ccurl_request *request) {
    struct curl_slist *pin = NULL;
    if (request->authority) {
        char entry[4096];
        int length = snprintf(entry, sizeof entry, "%s:%s", request->authority, request->addresses);
        // Without the entry the name is resolved again, and the socket below still goes to these addresses only.
        if (length > 0 && (size_t)length < sizeof entry) pin = library.slist_append(NULL, entry);
        library.easy_setopt(curl, CURLOPT_RESOLVE, pin);
    }
    library.easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, ccurl_open_socket);
    library.easy_setopt(curl, CURLOPT_OPENSOCKETDATA, (void *)request->addresses);
    library.easy_setopt(curl, CURLOPT_PROXY, "");
    library.easy_setopt(curl, CURLOPT_NOPROXY, "*");
    return pin;
}

void ccurl_get(const struct ccurl_request *request, struct ccurl_response *response) {
    memset(response, 0, sizeof *response);
    response->code = CURLE_OUT_OF_MEMORY;
    CURL *curl = request->connection ? request->connection : library.easy_init();
    if (!curl) return;
    // Settings only: open connections stay.
    library.easy_reset(curl);
    struct curl_slist *headers = ccurl_headers(request->headers);
    struct curl_slist *pin = request->addresses ? ccurl_pin(curl, request) : NULL;
    library.easy_setopt(curl, CURLOPT_URL, request->address);
    library.easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    library.easy_setopt(curl, CURLOPT_USERAGENT, "fastvlm");
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wdeprecated-declarations"
    // The newer option does not exist everywhere yet.
    library.easy_setopt(curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#pragma clang diagnostic pop
    library.easy_setopt(curl, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    library.easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    library.easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    library.easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    library.easy_setopt(curl, CURLOPT_TIMEOUT_MS, request->milliseconds);
    library.easy_setopt(
        curl, CURLOPT_CONNECTTIMEOUT_MS, request->stall_seconds ? request->stall_seconds * 1000 : request->milliseconds);
    if (request->stall_seconds) {
        library.easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
        library.easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, request->stall_seconds);
    }
    if (request->most_bytes) library.easy_setopt(curl, CURLOPT_MAXFILESIZE_LARGE, request->most_bytes);
    if (request->header) {
        library.easy_setopt(curl, CURLOPT_HEADERFUNCTION, request->header);
        library.easy_setopt(curl, CURLOPT_HEADERDATA, request->context);
    }
    library.easy_setopt(curl, CURLOPT_WRITEFUNCTION, request->write);
    library.easy_setopt(curl, CURLOPT_WRITEDATA, request->context);
    library.easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, request->progress);
    library.easy_setopt(curl, CURLOPT_XFERINFODATA, request->context);
    library.easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    library.easy_setopt(curl, CURLOPT_ERRORBUFFER, response->reason);
    response->code = library.easy_perform(curl);
    library.easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &response->status);
    char *target = NULL;
    library.easy_getinfo(curl, CURLINFO_REDIRECT_URL, &target);
    // A longer one is none that is followed.
    if (target && strlen(target) < sizeof response->redirect) strcpy(response->redirect, target);
    if (!response->reason[0]) {
        strncpy(response->reason, library.easy_strerror(response->code), sizeof response->reason - 1);
    }
    library.slist_free_all(headers);
    library.slist_free_all(pin);
    if (request->connection) {
        // It must not point to what is gone when the caller returns.
        library.easy_setopt(curl, CURLOPT_RESOLVE, NULL);
        library.easy_setopt(curl, CURLOPT_OPENSOCKETDATA, NULL);
        library.easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
        library.easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);
    } else {
        library.easy_cleanup(curl);
    }
}
