// Stand-ins for the instructions that SIMDe 0.7.4 lacks or has not right, for the emulated test build only.

#undef _mm512_maskz_loadu_ps
#undef _mm512_mask_storeu_ps
#undef _mm512_cvtps_epi32
#undef _mm512_cvtepu16_epi32
#undef _mm512_cvtepi32_ps
#undef _mm512_cvtepu8_epi16
#undef _mm512_reduce_add_epi32
#undef _mm512_reduce_max_epi32
#undef _mm512_dpbusd_epi32
#undef _mm512_madd_epi16
#undef _mm512_cvtps_pd
#undef _mm512_permute_ps
#undef _mm512_shuffle_f32x4
#define _mm512_permute_ps gap_permute_ps
#define _mm512_shuffle_f32x4 gap_shuffle_f32x4
#define _mm512_cvtps_pd gap_cvtps_pd
#define _mm512_cvtepi32_ps gap_cvtepi32_ps
#define _mm512_cvtepu8_epi16 gap_cvtepu8_epi16
#define _mm512_reduce_add_epi32 gap_reduce_add_epi32
#define _mm512_reduce_max_epi32 gap_reduce_max_epi32
#define _mm512_dpbusd_epi32 gap_dpbusd_epi32
#define _mm512_madd_epi16 gap_madd_epi16
#define _mm512_maskz_loadu_ps gap_maskz_loadu_ps
#define _mm512_mask_storeu_ps gap_mask_storeu_ps
#define _mm512_cvtps_epi32 gap_cvtps_epi32
#define _mm512_cvtepu16_epi32 gap_cvtepu16_epi32

static inline __m512 gap_maskz_loadu_ps(__mmask16 mask, const float *p) {
    float lanes[16];
    for (int i = 0; i < 16; i++) lanes[i] = mask >> i & 1 ? p[i] : 0;
    return _mm512_loadu_ps(lanes);
}
static inline void gap_mask_storeu_ps(float *p, __mmask16 mask, __m512 x) {
    float lanes[16];
    _mm512_storeu_ps(lanes, x);
    for (int i = 0; i < 16; i++) {
        if (mask >> i & 1) p[i] = lanes[i];
    }
}
// Within each four lanes; and four lanes at once, the lower two fours from a, the upper ones from b.
static inline __m512 gap_permute_ps(__m512 x, int control) {
    float from[16], to[16];
    _mm512_storeu_ps(from, x);
    for (int i = 0; i < 16; i++) to[i] = from[i / 4 * 4 + (control >> i % 4 * 2 & 3)];
    return _mm512_loadu_ps(to);
}
static inline __m512 gap_shuffle_f32x4(__m512 a, __m512 b, int control) {
    float from[2][16], to[16];
    _mm512_storeu_ps(from[0], a);
    _mm512_storeu_ps(from[1], b);
    for (int i = 0; i < 16; i++) to[i] = from[i / 8][(control >> i / 4 * 2 & 3) * 4 + i % 4];
    return _mm512_loadu_ps(to);
}
// Nearest even; what does not fit becomes the smallest integer.
static inline __m512i gap_cvtps_epi32(__m512 x) {
    float lanes[16];
    int32_t words[16];
    _mm512_storeu_ps(lanes, x);
    for (int i = 0; i < 16; i++) {
        const float whole = __builtin_rintf(lanes[i]);
        words[i] = whole >= -0x1p31f && whole < 0x1p31f ? (int32_t)whole : INT32_MIN;
    }
    return _mm512_loadu_si512(words);
}
static inline __m512 gap_cvtepi32_ps(__m512i x) {
    int32_t words[16];
    float lanes[16];
    _mm512_storeu_si512(words, x);
    for (int i = 0; i < 16; i++) lanes[i] = (float)words[i];
    return _mm512_loadu_ps(lanes);
}
static inline __m512i gap_cvtepu8_epi16(__m256i x) {
    uint8_t bytes[32];
    uint16_t lanes[32];
    __builtin_memcpy(bytes, &x, 32);
    for (int i = 0; i < 32; i++) lanes[i] = bytes[i];
    return _mm512_loadu_si512(lanes);
}
static inline int32_t gap_reduce_add_epi32(__m512i x) {
    uint32_t words[16], sum = 0;
    _mm512_storeu_si512(words, x);
    for (int i = 0; i < 16; i++) sum += words[i];
    return (int32_t)sum;
}
static inline int32_t gap_reduce_max_epi32(__m512i x) {
    int32_t words[16];
    _mm512_storeu_si512(words, x);
    int32_t largest = words[0];
    for (int i = 1; i < 16; i++) largest = words[i] > largest ? words[i] : largest;
    return largest;
}
static inline __m512i gap_dpbusd_epi32(__m512i sum, __m512i a, __m512i b) {
    int32_t words[16];
    uint8_t bytes[64];
    int8_t signs[64];
    _mm512_storeu_si512(words, sum);
    _mm512_storeu_si512(bytes, a);
    _mm512_storeu_si512(signs, b);
    for (int i = 0; i < 64; i++) words[i / 4] += bytes[i] * signs[i];
    return _mm512_loadu_si512(words);
}
static inline __m512i gap_cvtepu16_epi32(__m256i x) {
    uint16_t lanes[16];
    uint32_t words[16];
    __builtin_memcpy(lanes, &x, 32);
    for (int i = 0; i < 16; i++) words[i] = lanes[i];
    return _mm512_loadu_si512(words);
}
static inline __m512i gap_madd_epi16(__m512i a, __m512i b) {
    int16_t x[32], y[32];
    int32_t words[16];
    _mm512_storeu_si512(x, a);
    _mm512_storeu_si512(y, b);
    for (int i = 0; i < 16; i++) words[i] = x[2 * i] * y[2 * i] + x[2 * i + 1] * y[2 * i + 1];
    return _mm512_loadu_si512(words);
}
static inline __m512d gap_cvtps_pd(__m256 x) {
    float numbers[8];
    double lanes[8];
    _mm256_storeu_ps(numbers, x);
    for (int i = 0; i < 8; i++) lanes[i] = numbers[i];
    return _mm512_loadu_pd(lanes);
}
