// 8×8 words of 32 bits, transposed. Rows of x are x_bytes apart, anywhere in memory; those of y are y_stride words apart.
INLINE void transpose8(const void *x, size_t x_bytes, float *y, size_t y_stride) {
    __m256 r[8], t[8];
    FV_UNROLL for (size_t i = 0; i < 8; i++) r[i] = _mm256_loadu_ps((const float *)((const char *)x + i * x_bytes));
    FV_UNROLL for (size_t i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    FV_UNROLL for (size_t i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xEE);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
    }
    FV_UNROLL for (size_t i = 0; i < 4; i++) {
        _mm256_storeu_ps(y + i * y_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_storeu_ps(y + (i + 4) * y_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}
