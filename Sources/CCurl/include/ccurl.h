// libcurl takes its settings through a function with variable arguments, which Swift cannot call.
#ifndef FV_CCURL_H
#define FV_CCURL_H

#include <curl/curl.h>

struct ccurl_request {
    const char *address;
    long milliseconds;
    curl_off_t most_bytes;
    // Both get `context`; write returns less than it was given, or progress other than 0, to end the transfer.
    size_t (*write)(char *bytes, size_t size, size_t count, void *context);
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

// Once per process, before anything else, on one thread. NULL, or why libcurl cannot be used; that text stays.
const char *ccurl_prepare(void);

// One request, http or https, without cookies, credentials or redirects.
void ccurl_get(const struct ccurl_request *request, struct ccurl_response *response);

#endif
