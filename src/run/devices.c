/* devices.c: what the public interface says of devices, and their memory as it is handed to callers. */
#include "benben.h"
#include "device/device.h"

#include <stddef.h>
#include <string.h>

static bb_status driver_of(bb_target target, const bbi_driver **driver) {
    *driver = target == BB_TARGET_CUDA ? &bbi_driver_cuda : target == BB_TARGET_OPENCL ? &bbi_driver_opencl : NULL;
    return *driver ? BB_OK : bbi_fail(BB_BAD_ARGUMENT, "devices: target %d, expected cuda or opencl", (int)target);
}

bb_status bb_device_count(bb_target target, int *count) {
    const bbi_driver *driver;
    if (!count) return bbi_fail(BB_BAD_ARGUMENT, "bb_device_count: count must not be NULL");
    *count = 0;
    BBI_FORWARD(driver_of(target, &driver));
    return driver->count(count);
}

bb_status bb_device_about(bb_target target, int number, bb_device_info *info) {
    const bbi_driver *driver;
    bbi_device_facts facts = {0};
    int count = 0;
    if (!info || info->size < offsetof(bb_device_info, architecture) + sizeof info->architecture)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_device_about: set info->size to sizeof");
    BBI_FORWARD(driver_of(target, &driver));
    BBI_FORWARD(driver->count(&count));
    if (number < 0 || number >= count)
        return bbi_fail(BB_BAD_ARGUMENT, "%s device %d: there are %d, from 0 on", driver->name, number, count);
    BBI_FORWARD(driver->look(number, &facts));
    *info = (bb_device_info){.size = info->size,
                             .memory = facts.memory,
                             .has_float64 = facts.has_double,
                             .architecture = facts.architecture};
    memcpy(info->name, facts.name, sizeof info->name);
    return BB_OK;
}

bb_status bb_device_of(const void *memory, int *number) {
    if (!number) return bbi_fail(BB_BAD_ARGUMENT, "bb_device_of: number must not be NULL");
    return bbi_driver_cuda.owner((bbi_memory)(uintptr_t)memory, number);
}

static bb_status open_cuda(int number, bbi_device **device) {
    BBI_FORWARD(bbi_device_open(&bbi_driver_cuda, number, device));
    return bbi_device_check(*device);
}

bb_status bb_device_allocate(int number, size_t bytes, void **memory) {
    bbi_device *device;
    bbi_memory made = 0;
    if (!memory) return bbi_fail(BB_BAD_ARGUMENT, "bb_device_allocate: memory must not be NULL");
    *memory = NULL;
    BBI_FORWARD(open_cuda(number, &device));
    BBI_FORWARD(device->driver->allocate(device, bytes ? bytes : 1, &made));
    *memory = (void *)(uintptr_t)made;
    return BB_OK;
}

bb_status bb_device_release(int number, void *memory) {
    bbi_device *device;
    if (!memory) return BB_OK;
    BBI_FORWARD(open_cuda(number, &device));
    device->driver->release(device, (bbi_memory)(uintptr_t)memory);
    return BB_OK;
}

bb_status bb_device_wait(int number, void *stream) {
    bbi_device *device;
    BBI_FORWARD(open_cuda(number, &device));
    return device->driver->wait(device, stream);
}

bb_status bb_device_read(int number, void *stream, void *to, const void *from, size_t bytes) {
    bbi_device *device;
    if (bytes && (!to || !from)) return bbi_fail(BB_BAD_ARGUMENT, "bb_device_read: memory must not be NULL");
    BBI_FORWARD(open_cuda(number, &device));
    BBI_FORWARD(device->driver->wait(device, stream));
    return bytes ? device->driver->read(device, to, (bbi_memory)(uintptr_t)from, 0, bytes) : BB_OK;
}
