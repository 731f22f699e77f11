#include "cimagecodecs.h"
int fvc_placeholder(void) { return 1; }
