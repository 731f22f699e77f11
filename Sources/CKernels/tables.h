// The tables that dispatch.c chooses from. Internal to this target.
#ifndef FV_TABLES_H
#define FV_TABLES_H

#include "fv_kernels.h"

/// fv_<operation>_<isa>, with macros in the arguments expanded first.
#define FV_JOIN(operation, isa) FV_JOIN_EXPANDED(operation, isa)
#define FV_JOIN_EXPANDED(operation, isa) fv_##operation##_##isa

// The packed layouts count on little endian, so big-endian aarch64 has the scalar table only.
#if defined(__aarch64__) && !defined(__AARCH64EB__)
#define FV_HAS_NEON 1
#else
#define FV_HAS_NEON 0
#endif

extern const struct fv_kernels fv_kernels_scalar;
#if defined(__x86_64__)
extern const struct fv_kernels fv_kernels_avx2;
extern const struct fv_kernels fv_kernels_avxvnni;
extern const struct fv_kernels fv_kernels_avx512;
extern const struct fv_kernels fv_kernels_avx512vnni;
extern const struct fv_kernels fv_kernels_avx512bf16;
extern const struct fv_kernels fv_kernels_avx512amx;
#elif FV_HAS_NEON
extern const struct fv_kernels fv_kernels_neon;
extern const struct fv_kernels fv_kernels_neondot;
extern const struct fv_kernels fv_kernels_neonbf16;
#endif

#endif
