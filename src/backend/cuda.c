/* cuda.c: NVIDIA's processors. */
#include "device.h"
static bb_status cu_open(int number, bbi_device **device) { (void)number, (void)device; return bbi_fail(BB_DEVICE, "CUDA: not yet"); }
const bbi_driver bbi_driver_cuda = {.name = "cuda", .open = cu_open};
