/*
 * FastVLM from C, and from every language that can call C.
 *
 *     char *error = NULL, *event = NULL;
 *     const char *load = "{\"model\": \"/models/FastVLM-0.5B\", \"options\": {\"precision\": \"int8\"}}";
 *     fastvlm_handle model = fastvlm_load(load, strlen(load), &error);
 *     while (fastvlm_next(model, -1, &event, &error) == FASTVLM_EVENT) fastvlm_free(event);
 *
 *     const char *ask = "{\"prompt\": \"What is this?\"}";
 *     fastvlm_image photo = {.bytes = jpeg, .length = jpeg_length};
 *     fastvlm_handle request = fastvlm_submit(model, ask, strlen(ask), &photo, 1, &error);
 *     while (fastvlm_next(request, -1, &event, &error) == FASTVLM_EVENT) {
 *         puts(event);                       // {"event":"text","text":"A ban"} …
 *         fastvlm_free(event);
 *     }
 *     fastvlm_release(request, NULL);
 *     fastvlm_release(model, NULL);
 *
 * What takes time is work behind a handle: loading a model, and each request. It goes on by itself; fastvlm_next tells
 * what it has come to. Texts are JSON in UTF-8, and their lengths are in bytes.
 *
 * Every function may be called from any thread at any time. A handle that was released, or never was one, is an error
 * and nothing else. Pointers must be null or valid for the length given with them; that alone cannot be checked.
 *
 * After fork() the child cannot use a library that the parent has loaded a model with: its threads are not there. Every
 * function that would have to wait for them fails with the code "forked".
 */
#ifndef FASTVLM_H
#define FASTVLM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Raised when a program that was compiled with this header could no longer call the library. */
#define FASTVLM_ABI_VERSION 1

/** A model or a request; above 0. 0 stands for none. No number is used twice. */
typedef int64_t fastvlm_handle;

/** What fastvlm_next and the functions that only fail or succeed return. */
enum {
    /** *error says why. */
    FASTVLM_FAILED = -1,
    /** Nothing happened within the time; or, of the others, it is done. */
    FASTVLM_OK = 0,
    /** *event is an event. */
    FASTVLM_EVENT = 1,
    /** The work is complete, and its last event was taken before. */
    FASTVLM_END = 2,
};

/** An image of a request. */
typedef struct fastvlm_image {
    /** A whole image file; or pixels, rows from top to bottom, each pixel a byte of red, green and blue in sRGB. */
    const void *bytes;
    /** Number of bytes, of pixels at least stride * (height - 1) + 3 * width. */
    size_t length;
    /** Of pixels; both 0 for a file. */
    uint32_t width, height;
    /** Bytes from one row of pixels to the next; 0 for 3 * width. */
    size_t stride;
} fastvlm_image;

/** What fastvlm_features shows. */
enum {
    /** The encoder's output, [tokens, feature channels]; of an image in tiles that of every tile. */
    FASTVLM_FEATURES = 0,
    /** The visual tokens that the decoder reads, [tokens, hidden size]. */
    FASTVLM_VISUAL_TOKENS = 1,
};

/*
 * Errors. A function that fails sets *error (unless `error` is null) to a text of its own, to be freed:
 *
 *     {"code": "imageTooLarge", "kind": "image", "message": "…", "needed": 120000, "limit": 100000, "option": "maximumSide"}
 *
 * `message` is a sentence for people. The last three are there where they say something. Codes and kinds are those of
 * FastVLMError (Sources/FastVLM/FastVLM+Error.swift), and, of kind "request": "invalidArgument" (a null pointer, a
 * length, JSON that is none, an unknown key), "invalidHandle", "notLoaded", "cancelled", "forked". A function that
 * succeeds leaves *error alone.
 */

/** FASTVLM_ABI_VERSION of the library. */
int32_t fastvlm_abi_version(void);

/** The library's version, such as "0.1.0". Not to be freed. */
const char *fastvlm_version(void);

/**
 * Begins to load a model.
 *
 * `options`: {"model": "/folder", "visionTower": "/folder", "options": {…}}. `model` is a checkpoint's folder,
 * `visionTower` one of its tower where it has none, `options` has the keys of LoadOptions (Sources/FastVLM/
 * ModelSource.swift). All but `model` may be missing; an unknown key is an error.
 *
 * Events: {"event": "progress", "stage": "load", "fraction": 0.5}, then {"event": "loaded", "information": {…}}, after
 * which requests are taken. An error of loading is one of fastvlm_next.
 *
 * Returns a handle to be released, or 0.
 */
fastvlm_handle fastvlm_load(const char *options, size_t length, char **error);

/**
 * Begins a request. What `request` and `images` point to is copied and may go when this returns.
 *
 * `request` says in "task" what is wanted:
 *
 * "answer" (also where "task" is missing): the answer to "prompt", or to "messages". "options" has the keys of
 *     GenerationOptions (Sources/FastVLM/GenerationOptions.swift).
 *     Events: {"event": "queued", "position": 1}, {"event": "progress", "stage": "encode" or "prefill", "fraction": 0.5},
 *     {"event": "token", "token": {…}}, {"event": "text", "text": "…"}, and last {"event": "finished", "answer": {…}}.
 * "score": how likely the last of "messages" is, which is the assistant's; or the plain text "text".
 *     Event: {"event": "scored", "score": {"tokens": [{"id": 1, "logProbability": -0.5, "isMostLikely": true}, …],
 *     "logProbability": -7.5, "perplexity": 1.2}}. `isMostLikely` says whether a greedy answer would go on with the token.
 *     Numbers that are none are texts: "Infinity", "-Infinity", "NaN".
 * "encode": the features of the one image, for fastvlm_features.
 *     Event: {"event": "encoded", "tokens": 64, "featureChannels": 3072, "hiddenSize": 896, "seconds": {…},
 *     "remarks": []}.
 * "count": how many positions "prompt" or "messages" take. Event: {"event": "counted", "tokens": 300}.
 * "forget": drops what the model remembers of images and prompts. Event: {"event": "forgotten"}.
 *
 * "messages" is [{"role": "user", "content": "…" or [part, …]}, …]; a part is {"text": "…"}, {"image": 0} (a place in
 * `images`) or {"file": "/photo.jpg"}; an image may have a "key" (ImageSource.keyed). With "prompt" (also for "encode")
 * the images are those of "images", a list of such parts, or all of the array `images` where it is missing. An unknown
 * key is an error.
 *
 * Returns a handle to be released, or 0.
 */
fastvlm_handle fastvlm_submit(
    fastvlm_handle model, const char *request, size_t length, const fastvlm_image *images, size_t count, char **error);

/**
 * Takes the next event of a model that loads or of a request, and waits for it at most so many milliseconds; below 0 for
 * ever.
 *
 * Returns FASTVLM_EVENT with *event to be freed, FASTVLM_OK when the time was over, FASTVLM_END after the last event, or
 * FASTVLM_FAILED: the work has failed (then always), or the call was wrong. Of several threads that ask, each event goes
 * to one.
 */
int32_t fastvlm_next(fastvlm_handle handle, int32_t milliseconds, char **event, char **error);

/**
 * Shows what "encode" has come to, in memory of the request's: float32, *rows * *columns of them, valid until the
 * request is released.
 *
 * Returns FASTVLM_OK or FASTVLM_FAILED.
 */
int32_t fastvlm_features(
    fastvlm_handle request, int32_t which, const float **numbers, size_t *rows, size_t *columns, char **error);

/**
 * Ends loading or a request with the step that is running. fastvlm_next then fails with the code "cancelled", after
 * events that came before. Nothing happens where the work is complete.
 *
 * Returns FASTVLM_OK or FASTVLM_FAILED.
 */
int32_t fastvlm_cancel(fastvlm_handle handle, char **error);

/**
 * Gives a handle back, cancelling its work if it goes on. Requests of a model that is given back go on, and its memory is
 * free when the last of them is over.
 *
 * Returns FASTVLM_OK or FASTVLM_FAILED.
 */
int32_t fastvlm_release(fastvlm_handle handle, char **error);

/** Frees an event or an error. Null, and what is not such a text or was freed before, is left alone. */
void fastvlm_free(char *text);

#ifdef __cplusplus
}
#endif

#endif
