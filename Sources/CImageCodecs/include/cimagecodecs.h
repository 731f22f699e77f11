#ifndef FV_CIMAGECODECS_H
#define FV_CIMAGECODECS_H
int fvc_placeholder(void);
#endif
