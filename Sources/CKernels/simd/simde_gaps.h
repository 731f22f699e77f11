// Stand-ins for the instructions that SIMDe 0.7.4 lacks, for the emulated test build only.

#undef _mm512_maskz_loadu_ps
#undef _mm512_mask_storeu_ps
#undef _mm512_cvtps_epi32
#undef _mm512_cvtepu16_epi32
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
// Callers have rounded to a whole number before.
static inline __m512i gap_cvtps_epi32(__m512 x) {
    float lanes[16];
    int32_t words[16];
    _mm512_storeu_ps(lanes, x);
    for (int i = 0; i < 16; i++) words[i] = (int32_t)lanes[i];
    return _mm512_loadu_si512(words);
}
static inline __m512i gap_cvtepu16_epi32(__m256i x) {
    uint16_t lanes[16];
    uint32_t words[16];
    __builtin_memcpy(lanes, &x, 32);
    for (int i = 0; i < 16; i++) words[i] = lanes[i];
    return _mm512_loadu_si512(words);
}
