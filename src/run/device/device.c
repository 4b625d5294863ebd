/* device.c: the graphics processors that this process has opened. They stay open to its end: closing a driver's context
 * at exit races with the driver's own exit handlers. */
#include "device.h"

enum { MOST_DEVICES = 64 };
static bbi_device *opened[MOST_DEVICES];
static int count;
static int64_t process; /* that opened them */

static bb_status forked(const char *name) {
    return bbi_fail(BB_DEVICE,
                    "%s was opened before this process was forked, and no driver survives that: start processes by "
                    "spawn, or open the device in the child alone",
                    name);
}

bb_status bbi_device_check(const bbi_device *device) {
    return process == bbi_process_id() ? BB_OK : forked(device->name);
}

static bb_status find(const bbi_driver *driver, int number, bbi_device **device) {
    for (int k = 0; k < count; k++) {
        if (opened[k]->driver != driver || opened[k]->number != number) continue;
        *device = opened[k];
        return bbi_device_check(*device);
    }
    if (count > 0 && process != bbi_process_id()) return forked(opened[0]->name);
    if (count == MOST_DEVICES) return bbi_fail(BB_DEVICE, "more than %d devices", (int)MOST_DEVICES);
    BBI_FORWARD(driver->open(number, device));
    (*device)->driver = driver;
    (*device)->number = number;
    process = bbi_process_id();
    opened[count++] = *device;
    return BB_OK;
}

bb_status bbi_device_open(const bbi_driver *driver, int number, bbi_device **device) {
    static _Atomic(bbi_mutex *) guard;
    bbi_global_lock(BBI_GLOBAL_SETUP);
    bbi_mutex *mutex = guard;
    if (!mutex) guard = mutex = bbi_mutex_new();
    bbi_global_unlock(BBI_GLOBAL_SETUP);
    if (!mutex) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory while opening a device");
    bbi_mutex_lock(mutex);
    bb_status status = find(driver, number, device);
    bbi_mutex_unlock(mutex);
    return status;
}
