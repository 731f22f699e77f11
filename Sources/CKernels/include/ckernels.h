#ifndef FV_CKERNELS_H
#define FV_CKERNELS_H
int fv_placeholder(void);
#endif
