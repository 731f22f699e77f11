// Uses the C interface as a program would, then as no program should: nothing may end this process.
//     check MODEL-FOLDER IMAGE-FILE
#define _GNU_SOURCE
#include <fastvlm.h>

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int passed, failed;

#define CHECK(condition) check((condition), #condition, __LINE__)

static void check(bool holds, const char *what, int line) {
    if (holds) {
        passed++;
    } else {
        failed++;
        printf("line %d: %s\n", line, what);
    }
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static fastvlm_handle load(const char *options, char **error) {
    return fastvlm_load(options, options ? strlen(options) : 0, error);
}

static fastvlm_handle submit(
    fastvlm_handle model, const char *request, const fastvlm_image *images, size_t count, char **error) {
    return fastvlm_submit(model, request, strlen(request), images, count, error);
}

/// Whether an error has this code and says this; frees it.
static bool error_is(char *error, const char *code, const char *says) {
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"code\":\"%s\"", code);
    bool is = error && strstr(error, quoted) && strstr(error, says);
    if (!is) printf("    got %s\n", error ? error : "no error");
    fastvlm_free(error);
    return is;
}

/// The text of the last event of work that succeeds, to be freed; null where it fails.
static char *last_event(fastvlm_handle handle) {
    char *last = NULL, *event = NULL, *error = NULL;
    for (;;) {
        int32_t status = fastvlm_next(handle, -1, &event, &error);
        if (status == FASTVLM_EVENT) {
            fastvlm_free(last);
            last = event;
        } else if (status == FASTVLM_END) {
            return last;
        } else {
            printf("    failed with %s\n", error ? error : "no error");
            fastvlm_free(error);
            fastvlm_free(last);
            return NULL;
        }
    }
}

static char *outcome(
    fastvlm_handle model, const char *request, const fastvlm_image *images, size_t count) {
    char *error = NULL;
    fastvlm_handle handle = submit(model, request, images, count, &error);
    if (!handle) {
        printf("    refused with %s\n", error ? error : "no error");
        fastvlm_free(error);
        return NULL;
    }
    char *event = last_event(handle);
    fastvlm_release(handle, NULL);
    return event;
}

/// What a finished answer says, without its times; to be freed with free().
static char *answered(char *event) {
    char *text = event ? strstr(event, "\"text\":\"") : NULL;
    char *copy = text ? strndup(text + 8, strcspn(text + 8, "\"")) : NULL;
    fastvlm_free(event);
    return copy;
}

static bool begins(const char *text, const char *beginning) {
    return text && strncmp(text, beginning, strlen(beginning)) == 0;
}

static unsigned char *read_file(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    unsigned char *bytes = malloc(1 << 24);
    *length = bytes ? fread(bytes, 1, 1 << 24, file) : 0;
    fclose(file);
    return bytes;
}

// MARK: A picture in three forms

enum { SIDE = 97, PADDED = 3 * SIDE + 13 };
static unsigned char tight[SIDE * SIDE * 3], padded[SIDE * PADDED], anymap[SIDE * SIDE * 3 + 32];
static size_t anymap_length;

static void draw(void) {
    memset(padded, 0xAA, sizeof padded);
    for (int y = 0; y < SIDE; y++) {
        for (int x = 0; x < SIDE; x++) {
            bool inside = (x - 48) * (x - 48) + (y - 48) * (y - 48) < 900;
            unsigned char color[3] = {inside ? 220 : 240, inside ? 30 : 240, inside ? 30 : 240};
            memcpy(tight + 3 * (y * SIDE + x), color, 3);
            memcpy(padded + y * PADDED + 3 * x, color, 3);
        }
    }
    int head = snprintf((char *)anymap, 32, "P6\n%d %d\n255\n", SIDE, SIDE);
    memcpy(anymap + head, tight, sizeof tight);
    anymap_length = (size_t)head + sizeof tight;
}

// MARK: What it is for

static void check_versions(void) {
    CHECK(fastvlm_abi_version() == FASTVLM_ABI_VERSION);
    CHECK(strlen(fastvlm_version()) >= 5);
}

static fastvlm_handle check_loading(const char *folder) {
    char options[4096], *error = NULL;
    CHECK(load("{\"model\": \"/nowhere\"}", &error) > 0);
    snprintf(options, sizeof options, "{\"model\": \"%s\", \"options\": {\"threads\": 2}}", folder);
    fastvlm_handle model = load(options, &error);
    CHECK(model > 0 && !error);
    // It may be quick, but not that quick.
    fastvlm_handle early = submit(model, "{\"prompt\": \"x\"}", NULL, 0, &error);
    CHECK(early || error_is(error, "notLoaded", "loading"));
    fastvlm_release(early, NULL);
    char *event = last_event(model);
    CHECK(event && strstr(event, "\"event\":\"loaded\"") && strstr(event, "\"precision\":"));
    fastvlm_free(event);
    return model;
}

static void check_answers(fastvlm_handle model, const char *path) {
    size_t length = 0;
    unsigned char *bytes = read_file(path, &length);
    fastvlm_image photo = {.bytes = bytes, .length = length};
    char *error = NULL, *event = NULL, text[4096] = "", last[65536] = "";
    fastvlm_handle handle = submit(model, "{\"prompt\": \"What is this?\"}", &photo, 1, &error);
    CHECK(handle > 0);
    free(bytes);  // It was copied.
    int32_t status;
    while ((status = fastvlm_next(handle, 10000, &event, &error)) == FASTVLM_EVENT) {
        if (strstr(event, "\"event\":\"text\"")) {
            char *piece = strstr(event, "\"text\":\"");
            if (piece) strncat(text, piece + 8, strlen(piece) - 10);
        }
        snprintf(last, sizeof last, "%s", event);
        fastvlm_free(event);
    }
    CHECK(status == FASTVLM_END);
    CHECK(strstr(last, "\"event\":\"finished\"") != NULL);
    CHECK(strlen(text) > 1 && strstr(last, text) != NULL);
    CHECK(fastvlm_next(handle, 0, &event, &error) == FASTVLM_END);
    CHECK(fastvlm_release(handle, &error) == FASTVLM_OK);

    char request[4352];
    snprintf(
        request, sizeof request,
        "{\"messages\": [{\"role\": \"user\", \"content\": [{\"file\": \"%s\"}, {\"text\": \"\\nWhat is this?\"}]}]}", path);
    char *same = answered(outcome(model, request, NULL, 0));
    CHECK(same && strcmp(same, text) == 0);
    free(same);
}

static void check_forms(fastvlm_handle model) {
    fastvlm_image forms[3] = {
        {.bytes = anymap, .length = anymap_length},
        {.bytes = tight, .length = sizeof tight, .width = SIDE, .height = SIDE},
        // The last row ends with its pixels.
        {.bytes = padded, .length = sizeof padded - 13, .width = SIDE, .height = SIDE, .stride = PADDED},
    };
    const char *ask = "{\"prompt\": \"What shape is this?\", \"options\": {\"maximumTokens\": 12}}";
    char *answers[3];
    for (int form = 0; form < 3; form++) answers[form] = answered(outcome(model, ask, &forms[form], 1));
    CHECK(answers[0] && answers[1] && strcmp(answers[0], answers[1]) == 0);
    CHECK(answers[0] && answers[2] && strcmp(answers[0], answers[2]) == 0);
    for (int form = 0; form < 3; form++) free(answers[form]);

    fastvlm_handle handles[3];
    const float *numbers[3] = {NULL, NULL, NULL};
    size_t rows = 0, columns = 0;
    for (int form = 0; form < 3; form++) {
        handles[form] = submit(model, "{\"task\": \"encode\"}", &forms[form], 1, NULL);
        char *event = last_event(handles[form]);
        CHECK(event && strstr(event, "\"event\":\"encoded\""));
        fastvlm_free(event);
        CHECK(fastvlm_features(handles[form], FASTVLM_FEATURES, &numbers[form], &rows, &columns, NULL) == FASTVLM_OK);
        CHECK(rows > 0 && columns > 0);
    }
    for (int form = 1; form < 3; form++) {
        CHECK(numbers[0] && numbers[form] && memcmp(numbers[0], numbers[form], rows * columns * sizeof(float)) == 0);
    }
    size_t width = 0;
    const float *tokens = NULL;
    CHECK(fastvlm_features(handles[0], FASTVLM_VISUAL_TOKENS, &tokens, &rows, &width, NULL) == FASTVLM_OK);
    CHECK(tokens && width > 0 && tokens != numbers[0]);
    for (int form = 0; form < 3; form++) fastvlm_release(handles[form], NULL);
}

static void check_other_tasks(fastvlm_handle model) {
    fastvlm_image image = {.bytes = anymap, .length = anymap_length};
    char *event = outcome(
        model,
        "{\"task\": \"score\", \"messages\": [{\"role\": \"user\", \"content\": [{\"image\": 0}, {\"text\": \"\\nWhat is this?\"}]},"
        " {\"role\": \"assistant\", \"content\": \"A circle.\"}]}",
        &image, 1);
    CHECK(event && strstr(event, "\"event\":\"scored\"") && strstr(event, "\"logProbability\":-"));
    fastvlm_free(event);
    event = outcome(model, "{\"task\": \"score\", \"text\": \"A red circle.\"}", NULL, 0);
    CHECK(event && strstr(event, "\"perplexity\":"));
    fastvlm_free(event);
    event = outcome(model, "{\"task\": \"count\", \"prompt\": \"What is this?\"}", &image, 1);
    CHECK(event && strstr(event, "\"event\":\"counted\"") && strstr(event, "\"tokens\":"));
    fastvlm_free(event);
    event = outcome(model, "{\"task\": \"forget\"}", NULL, 0);
    CHECK(begins(event, "{\"event\":\"forgotten\"}"));
    fastvlm_free(event);
}

// MARK: What it is not for

static void check_wrong_loads(void) {
    char *error = NULL;
    CHECK(!fastvlm_load(NULL, 0, &error) && error_is(error, "invalidArgument", "options is null"));
    CHECK(!fastvlm_load("{}", 2, NULL));
    CHECK(!load("{}", &error) && error_is(error, "invalidArgument", "model is missing"));
    CHECK(!load("", &error) && error_is(error, "invalidArgument", "options"));
    CHECK(!load("[]", &error) && error_is(error, "invalidArgument", "options"));
    CHECK(!fastvlm_load("{}", SIZE_MAX, &error) && error_is(error, "invalidArgument", "bytes"));
    CHECK(!fastvlm_load("{\"model\": \"x\"", 5, &error) && error_is(error, "invalidArgument", "options"));
    CHECK(!load("{\"model\": \"/x\", \"modle\": 1}", &error) && error_is(error, "invalidArgument", "modle"));
    CHECK(
        !load("{\"model\": \"/x\", \"options\": {\"presicion\": \"int8\"}}", &error)
        && error_is(error, "invalidArgument", "presicion"));
    CHECK(
        !load("{\"model\": \"/x\", \"options\": {\"precision\": \"int3\"}}", &error)
        && error_is(error, "invalidArgument", "precision"));
    CHECK(!load("{\"model\": \"\xff\xfe\"}", &error) && error_is(error, "invalidArgument", "options"));

    char *event = NULL;
    fastvlm_handle wrong = load("{\"model\": \"/nowhere\"}", NULL);
    while (fastvlm_next(wrong, -1, &event, &error) == FASTVLM_EVENT) fastvlm_free(event);
    CHECK(error_is(error, "checkpoint", "/nowhere"));
    CHECK(fastvlm_next(wrong, -1, &event, &error) == FASTVLM_FAILED && error_is(error, "checkpoint", "/nowhere"));
    CHECK(!submit(wrong, "{}", NULL, 0, &error) && error_is(error, "checkpoint", "/nowhere"));
    CHECK(fastvlm_release(wrong, NULL) == FASTVLM_OK);
    wrong = load("{\"model\": \"/nowhere\", \"options\": {\"threads\": -3}}", NULL);
    CHECK(fastvlm_next(wrong, -1, &event, &error) == FASTVLM_FAILED && error_is(error, "invalidOption", "threads"));
    CHECK(fastvlm_release(wrong, NULL) == FASTVLM_OK);
}

static void check_wrong_handles(fastvlm_handle model) {
    char *error = NULL, *event = NULL;
    const float *numbers;
    size_t rows, columns;
    fastvlm_handle released = submit(model, "{\"task\": \"forget\"}", NULL, 0, NULL);
    fastvlm_release(released, NULL);
    fastvlm_handle wrong[] = {0, -1, INT64_MIN, INT64_MAX, released, model + 1000000};
    for (size_t index = 0; index < sizeof wrong / sizeof *wrong; index++) {
        CHECK(!submit(wrong[index], "{}", NULL, 0, &error) && error_is(error, "invalidHandle", "handle"));
        CHECK(fastvlm_next(wrong[index], -1, &event, &error) == FASTVLM_FAILED && error_is(error, "invalidHandle", ""));
        CHECK(fastvlm_cancel(wrong[index], &error) == FASTVLM_FAILED && error_is(error, "invalidHandle", ""));
        CHECK(fastvlm_release(wrong[index], &error) == FASTVLM_FAILED && error_is(error, "invalidHandle", ""));
        CHECK(
            fastvlm_features(wrong[index], 0, &numbers, &rows, &columns, &error) == FASTVLM_FAILED
            && error_is(error, "invalidHandle", ""));
        CHECK(fastvlm_release(wrong[index], NULL) == FASTVLM_FAILED);
    }
    CHECK(fastvlm_features(model, 0, &numbers, &rows, &columns, &error) == FASTVLM_FAILED);
    fastvlm_free(error);
    CHECK(fastvlm_next(model, -1, &event, NULL) == FASTVLM_END);
    CHECK(fastvlm_next(model, -1, NULL, &error) == FASTVLM_FAILED && error_is(error, "invalidArgument", "event"));
    CHECK(fastvlm_cancel(model, NULL) == FASTVLM_OK);

    fastvlm_image image = {.bytes = anymap, .length = anymap_length};
    fastvlm_handle request = submit(model, "{\"task\": \"encode\"}", &image, 1, NULL);
    CHECK(!submit(request, "{}", NULL, 0, &error));
    fastvlm_free(error);
    fastvlm_free(last_event(request));
    CHECK(!submit(request, "{}", NULL, 0, &error) && error_is(error, "invalidArgument", "not a model"));
    CHECK(fastvlm_features(request, 7, &numbers, &rows, &columns, &error) == FASTVLM_FAILED);
    CHECK(error_is(error, "invalidArgument", "which"));
    CHECK(fastvlm_features(request, -1, &numbers, &rows, &columns, NULL) == FASTVLM_FAILED);
    CHECK(fastvlm_features(request, 0, NULL, &rows, &columns, NULL) == FASTVLM_FAILED);
    CHECK(fastvlm_features(request, 0, &numbers, NULL, NULL, NULL) == FASTVLM_FAILED);
    fastvlm_release(request, NULL);
}

static void check_wrong_requests(fastvlm_handle model) {
    static const char *const wrong[][2] = {
        {"", "request"},
        {"null", "request"},
        {"{", "request"},
        {"{}", "prompt or messages"},
        {"{\"prompt\": 3}", "prompt"},
        {"{\"prompt\": \"x\", \"messages\": []}", "prompt or messages"},
        {"{\"task\": \"dance\", \"prompt\": \"x\"}", "dance"},
        {"{\"task\": \"forget\", \"prompt\": \"x\"}", "has no prompt"},
        {"{\"task\": \"score\"}", "text or messages"},
        {"{\"task\": \"score\", \"text\": \"x\", \"messages\": []}", "text or messages"},
        {"{\"task\": \"encode\"}", "one image"},
        {"{\"task\": \"encode\", \"images\": [{\"image\": 4}]}", "no image 4"},
        {"{\"prompt\": \"x\", \"images\": [{\"image\": -1}]}", "no image -1"},
        {"{\"prompt\": \"x\", \"images\": [{\"image\": 1e300}]}", "number"},
        {"{\"prompt\": \"x\", \"images\": [{\"text\": \"y\"}]}", "belongs"},
        {"{\"prompt\": \"x\", \"images\": [{}]}", "text, image and file"},
        {"{\"prompt\": \"x\", \"promt\": \"y\"}", "promt"},
        {"{\"prompt\": \"x\", \"options\": {\"temprature\": 1}}", "temprature"},
        {"{\"prompt\": \"x\", \"options\": {\"temperature\": \"warm\"}}", "temperature"},
        {"{\"prompt\": \"x\", \"options\": {\"maximumTokens\": 1e99}}", "number"},
        {"{\"prompt\": \"x\", \"options\": {\"maximumTokens\": 1.5}}", "number"},
        {"{\"messages\": [{\"role\": \"robot\", \"content\": \"x\"}]}", "role"},
        {"{\"messages\": [{\"role\": \"user\"}]}", "content"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": [{\"text\": \"x\", \"file\": \"y\"}]}]}", "text, image and file"},
        {"{\"prompt\": \"\xc3\x28\"}", "request"},
        {"{\"prompt\": \"\\ud800\"}", "surrogate"},
    };
    char *error = NULL, *event = NULL;
    for (size_t index = 0; index < sizeof wrong / sizeof *wrong; index++) {
        CHECK(!submit(model, wrong[index][0], NULL, 0, &error) && error_is(error, "invalidArgument", wrong[index][1]));
    }
    CHECK(!fastvlm_submit(model, NULL, 5, NULL, 0, &error) && error_is(error, "invalidArgument", "null"));
    CHECK(!fastvlm_submit(model, "{}", SIZE_MAX, NULL, 0, &error) && error_is(error, "invalidArgument", "bytes"));
    CHECK(!fastvlm_submit(model, "{}", SIZE_MAX / 2, NULL, 0, NULL));

    size_t depth = 1 << 20;
    char *deep = malloc(depth);
    memset(deep, '[', depth);
    CHECK(!fastvlm_submit(model, deep, depth, NULL, 0, &error) && error_is(error, "invalidArgument", "request"));
    free(deep);

    // What only the model can know fails later, with its own codes.
    static const char *const late[][2] = {
        {"{\"messages\": []}", "invalidConversation"},
        {"{\"prompt\": \"\"}", "emptyPrompt"},
        {"{\"prompt\": \"x\", \"options\": {\"temperature\": -1}}", "invalidOption"},
        {"{\"prompt\": \"x\", \"images\": [{\"file\": \"/nowhere.jpg\"}]}", "unreadableImage"},
        {"{\"prompt\": \"x\", \"images\": [{\"file\": \"\"}]}", "unreadableImage"},
        {"{\"prompt\": \"x\", \"images\": [{\"file\": \"/\\u0000.jpg\"}]}", "unreadableImage"},
        {"{\"prompt\": \"x\", \"images\": [{\"file\": \"/dev/zero\"}]}", "imageTooLarge"},
        {"{\"prompt\": \"x\", \"options\": {\"format\": {\"regularExpression\": \"(\"}}}", "invalidOption"},
    };
    for (size_t index = 0; index < sizeof late / sizeof *late; index++) {
        fastvlm_handle handle = submit(model, late[index][0], NULL, 0, NULL);
        CHECK(handle > 0);
        int32_t status;
        error = NULL;
        while ((status = fastvlm_next(handle, -1, &event, &error)) == FASTVLM_EVENT) fastvlm_free(event);
        CHECK(status == FASTVLM_FAILED && error_is(error, late[index][1], ""));
        fastvlm_release(handle, NULL);
    }
}

static void check_wrong_images(fastvlm_handle model) {
    const fastvlm_image wrong[] = {
        {.bytes = NULL, .length = 5},
        {.bytes = tight, .length = SIZE_MAX},
        {.bytes = tight, .length = (size_t)1 << 50},
        {.bytes = tight, .length = sizeof tight, .width = SIDE},
        {.bytes = tight, .length = sizeof tight, .height = SIDE},
        {.bytes = tight, .length = sizeof tight - 1, .width = SIDE, .height = SIDE},
        {.bytes = tight, .length = sizeof tight, .width = SIDE, .height = SIDE + 1},
        {.bytes = tight, .length = sizeof tight, .width = UINT32_MAX, .height = UINT32_MAX},
        {.bytes = tight, .length = sizeof tight, .width = SIDE, .height = SIDE, .stride = 3 * SIDE - 1},
        {.bytes = tight, .length = sizeof tight, .width = SIDE, .height = SIDE, .stride = SIZE_MAX},
        {.bytes = tight, .length = sizeof tight, .width = SIDE, .height = SIDE, .stride = SIZE_MAX / 2},
        {.bytes = tight, .length = sizeof tight, .stride = 8},
    };
    const char *ask = "{\"prompt\": \"x\"}";
    char *error = NULL, *event = NULL;
    for (size_t index = 0; index < sizeof wrong / sizeof *wrong; index++) {
        CHECK(!submit(model, ask, &wrong[index], 1, &error) && error_is(error, "invalidArgument", "image 0"));
    }
    CHECK(!submit(model, ask, NULL, 1, &error) && error_is(error, "invalidArgument", "null"));
    CHECK(!submit(model, ask, wrong, SIZE_MAX, &error) && error_is(error, "invalidArgument", "images"));
    CHECK(!submit(model, ask, wrong, 4097, &error) && error_is(error, "invalidArgument", "images"));

    const fastvlm_image broken[] = {
        {.bytes = "", .length = 0}, {.bytes = "no image", .length = 8}, {.bytes = anymap, .length = anymap_length / 2}};
    for (size_t index = 0; index < sizeof broken / sizeof *broken; index++) {
        fastvlm_handle handle = submit(model, ask, &broken[index], 1, NULL);
        int32_t status;
        while ((status = fastvlm_next(handle, -1, &event, &error)) == FASTVLM_EVENT) fastvlm_free(event);
        CHECK(status == FASTVLM_FAILED && error && strstr(error, "\"kind\":\"image\""));
        fastvlm_free(error);
        fastvlm_release(handle, NULL);
    }
}

static void check_frees(fastvlm_handle model) {
    char *error = NULL, other[8] = "other";
    fastvlm_free(NULL);
    fastvlm_free(other);
    CHECK(!submit(model, "{}", NULL, 0, &error));
    fastvlm_free(error + 1);
    fastvlm_free(error);
    fastvlm_free(error);
    CHECK(strcmp(other, "other") == 0);
}

// MARK: Many threads

static fastvlm_handle shared_model, awaited;
static atomic_int answers, wrong_ends;

static void *wait_for_ever(void *unused) {
    (void)unused;
    char *event = NULL, *error = NULL;
    int32_t status;
    while ((status = fastvlm_next(awaited, -1, &event, &error)) == FASTVLM_EVENT) fastvlm_free(event);
    if (status == FASTVLM_FAILED) fastvlm_free(error);
    return status == FASTVLM_FAILED ? NULL : &wrong_ends;
}

/// A request that takes long.
static fastvlm_handle submit_long(fastvlm_handle model) {
    fastvlm_image image = {.bytes = anymap, .length = anymap_length};
    return submit(
        model,
        "{\"prompt\": \"Describe this.\", \"options\": {\"maximumTokens\": 1950, \"format\":"
        " {\"regularExpression\": \"[0-9]{1900}\"}}}",
        &image, 1, NULL);
}

static void check_waiting(fastvlm_handle model) {
    char *event = NULL, *error = NULL;
    // Cancelled while somebody waits.
    awaited = submit_long(model);
    double start = now();
    CHECK(fastvlm_next(awaited, 0, &event, &error) != FASTVLM_FAILED && now() - start < 0.5);
    pthread_t waiting;
    pthread_create(&waiting, NULL, wait_for_ever, NULL);
    CHECK(fastvlm_cancel(awaited, NULL) == FASTVLM_OK);
    void *result = &wrong_ends;
    pthread_join(waiting, &result);
    CHECK(result == NULL);
    CHECK(fastvlm_next(awaited, -1, &event, &error) == FASTVLM_FAILED && error_is(error, "cancelled", "cancelled"));
    fastvlm_release(awaited, NULL);
    // Released while somebody waits.
    awaited = submit_long(model);
    pthread_create(&waiting, NULL, wait_for_ever, NULL);
    usleep(20000);
    CHECK(fastvlm_release(awaited, NULL) == FASTVLM_OK);
    pthread_join(waiting, &result);
    CHECK(result == NULL);
}

static void *ask_and_disturb(void *argument) {
    unsigned seed = (unsigned)(size_t)argument;
    fastvlm_image image = {.bytes = padded, .length = sizeof padded, .width = SIDE, .height = SIDE, .stride = PADDED};
    for (int round = 0; round < 12; round++) {
        char *error = NULL, *event = NULL;
        fastvlm_handle handle = submit(
            shared_model, "{\"prompt\": \"What is this?\", \"options\": {\"maximumTokens\": 5}}", &image, 1, &error);
        if (!handle) {
            atomic_fetch_add(&wrong_ends, 1);
            fastvlm_free(error);
            continue;
        }
        int kind = rand_r(&seed) % 4;
        if (kind == 0) fastvlm_cancel(handle, NULL);
        if (kind == 1) fastvlm_release(handle, NULL);
        int32_t status;
        while ((status = fastvlm_next(handle, 20, &event, &error)) == FASTVLM_EVENT || status == FASTVLM_OK) {
            if (status == FASTVLM_EVENT) fastvlm_free(event);
            // Of somebody else, perhaps.
            if (kind == 2) fastvlm_next(handle - 1, 0, &event, NULL) == FASTVLM_EVENT ? fastvlm_free(event) : (void)0;
        }
        if (status == FASTVLM_END) atomic_fetch_add(&answers, 1);
        if (status == FASTVLM_FAILED) {
            bool expected = error && (strstr(error, "cancelled") || strstr(error, "invalidHandle"));
            if (!expected || kind > 1) atomic_fetch_add(&wrong_ends, 1);
            fastvlm_free(error);
        }
        fastvlm_release(handle, NULL);
    }
    return NULL;
}

static void check_threads(fastvlm_handle model) {
    enum { THREADS = 8 };
    pthread_t threads[THREADS];
    shared_model = model;
    for (size_t index = 0; index < THREADS; index++) {
        pthread_create(&threads[index], NULL, ask_and_disturb, (void *)(index + 1));
    }
    for (size_t index = 0; index < THREADS; index++) pthread_join(threads[index], NULL);
    CHECK(atomic_load(&wrong_ends) == 0);
    CHECK(atomic_load(&answers) >= THREADS * 12 / 4);
}

// MARK: The end

static void check_fork(fastvlm_handle model, const char *folder) {
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        char *error = NULL, *event = NULL, options[4096];
        bool refused = !submit(model, "{}", NULL, 0, &error) && error_is(error, "forked", "forked");
        refused = refused && fastvlm_next(model, -1, &event, &error) == FASTVLM_FAILED && error_is(error, "forked", "");
        snprintf(options, sizeof options, "{\"model\": \"%s\"}", folder);
        refused = refused && !load(options, &error) && error_is(error, "forked", "");
        refused = refused && fastvlm_release(model, NULL) == FASTVLM_FAILED;
        _exit(refused ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void check_release(fastvlm_handle model) {
    // A request goes on without its model's handle.
    fastvlm_image image = {.bytes = anymap, .length = anymap_length};
    fastvlm_handle request = submit(model, "{\"prompt\": \"What is this?\"}", &image, 1, NULL);
    CHECK(fastvlm_release(model, NULL) == FASTVLM_OK);
    char *event = last_event(request), *error = NULL;
    CHECK(event && strstr(event, "finished"));
    fastvlm_free(event);
    CHECK(fastvlm_release(request, NULL) == FASTVLM_OK);
    CHECK(!submit(model, "{}", NULL, 0, &error) && error_is(error, "invalidHandle", "released"));
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    draw();
    check_versions();
    check_wrong_loads();
    fastvlm_handle model = check_loading(arguments[1]);
    check_answers(model, arguments[2]);
    check_forms(model);
    check_other_tasks(model);
    check_wrong_handles(model);
    check_wrong_requests(model);
    check_wrong_images(model);
    check_frees(model);
    check_waiting(model);
    check_threads(model);
    check_fork(model, arguments[1]);
    check_release(model);
    printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
