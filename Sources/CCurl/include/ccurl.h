// libcurl takes its settings through a function with variable arguments, which Swift cannot call.
#ifndef FV_CCURL_H
#define FV_CCURL_H

#include <curl/curl.h>

struct ccurl_request {
    const char *address;
    // One header a line; NULL for none.
    const char *headers;
    // From ccurl_connect, so that requests to one server share its connection; NULL for one of its own.
    void *connection;
    // Until all of it must be there; 0 for no limit.
    long milliseconds;
    // Longest time without a byte, and to connect; 0 for no limit but the one above.
    long stall_seconds;
    // Most bytes that the server may announce; 0 for no limit.
    curl_off_t most_bytes;
    // For who must know whom it talks to; NULL for wherever the name leads. Addresses as inet_ntop writes them, with
    // commas between them: the only ones that are connected to. Proxies that the environment names are not used.
    const char *addresses;
    // With `addresses`, where the host of `address` is a name: it and the port, `host:port`.
    const char *authority;
    // Each gets `context`; the first two return less than they were given, or progress other than 0, to end the
    // transfer. `header` may be NULL.
    size_t (*write)(char *bytes, size_t size, size_t count, void *context);
    size_t (*header)(char *bytes, size_t size, size_t count, void *context);
    int (*progress)(void *context, curl_off_t all, curl_off_t now, curl_off_t sent, curl_off_t send);
    void *context;
};

struct ccurl_response {
    CURLcode code;
    long status;
    // Where a redirect leads; empty when there is none.
    char redirect[4000];
    char reason[CURL_ERROR_SIZE];
};

// Before anything else; from any thread, as often as wanted. NULL, or why libcurl cannot be used; that text stays.
const char *ccurl_prepare(void);

// What keeps connections to servers open between requests, for one thread at a time; NULL without memory.
void *ccurl_connect(void);
void ccurl_disconnect(void *connection);

// One request, http or https, without cookies, credentials or redirects.
void ccurl_get(const struct ccurl_request *request, struct ccurl_response *response);

#endif
