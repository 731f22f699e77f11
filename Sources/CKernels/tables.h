// The tables that dispatch.c chooses from. Internal to this target.
#ifndef FV_TABLES_H
#define FV_TABLES_H

#include "fv_kernels.h"

/// fv_<operation>_<isa>, with macros in the arguments expanded first.
#define FV_JOIN(operation, isa) FV_JOIN_EXPANDED(operation, isa)
#define FV_JOIN_EXPANDED(operation, isa) fv_##operation##_##isa

extern const struct fv_kernels fv_kernels_scalar;
#if defined(__x86_64__)
extern const struct fv_kernels fv_kernels_avx2;
extern const struct fv_kernels fv_kernels_avx512;
extern const struct fv_kernels fv_kernels_avx512bf16;
#endif

#endif
