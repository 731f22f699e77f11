// The kernels in simd/ for every aarch64 processor.
#include "tables.h"

#if FV_HAS_NEON

#include "fv_quantised.h"
#include "numbers.h"

#include <arm_neon.h>

#define FV_NAME(operation) FV_JOIN(operation, neon)
#define FV_TABLE fv_kernels_neon
#define FV_ISA FV_ISA_NEON
#define FV_HAS_DPBF16 0
#define FV_HAS_DOTPROD 0
#include "simd/vec_neon.h"
#include "simd/kernels.h"

#endif
