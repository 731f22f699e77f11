// libcurl takes its settings through a function with variable arguments, which Swift cannot call.
#include <curl/curl.h>
#include <string.h>

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

static inline int ccurl_prepare(void) { return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK; }

// One request, http or https, without cookies, credentials or redirects.
static inline void ccurl_get(const struct ccurl_request *request, struct ccurl_response *response) {
    memset(response, 0, sizeof *response);
    response->code = CURLE_OUT_OF_MEMORY;
    CURL *curl = curl_easy_init();
    if (!curl) return;
    struct curl_slist *headers = curl_slist_append(NULL, "Accept: image/*, */*;q=0.5");
    curl_easy_setopt(curl, CURLOPT_URL, request->address);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "fastvlm");
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wdeprecated-declarations"
    // The newer option does not exist everywhere yet.
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#pragma clang diagnostic pop
    curl_easy_setopt(curl, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, request->milliseconds);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, request->milliseconds);
    curl_easy_setopt(curl, CURLOPT_MAXFILESIZE_LARGE, request->most_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, request->write);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, request->context);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, request->progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, request->context);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, response->reason);
    response->code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &response->status);
    char *target = NULL;
    curl_easy_getinfo(curl, CURLINFO_REDIRECT_URL, &target);
    // A longer one is none that is followed.
    if (target && strlen(target) < sizeof response->redirect) strcpy(response->redirect, target);
    if (!response->reason[0]) {
        strncpy(response->reason, curl_easy_strerror(response->code), sizeof response->reason - 1);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
}
