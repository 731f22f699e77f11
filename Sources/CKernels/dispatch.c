#include "tables.h"

const struct fv_kernels *fv_kernels_for(enum fv_isa isa) {
    if (isa == FV_ISA_SCALAR) return &fv_kernels_scalar;
    return 0;
}
