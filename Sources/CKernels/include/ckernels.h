#ifndef FV_CKERNELS_H
#define FV_CKERNELS_H
#include "fv_cpu.h"
#include "fv_kernels.h"
#include "fv_pack.h"
#include "fv_quantised.h"
#endif
