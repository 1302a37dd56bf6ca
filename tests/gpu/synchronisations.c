/* Counts what stops a program until its GPU has caught up: cc -shared -fPIC -o synchronisations.so synchronisations.c -ldl;
   LD_PRELOAD=./synchronisations.so PROGRAM prints the count when it ends. Copies to the host count where the memory is pageable:
   those wait for all that was asked for before. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static long waits, copies;

static void *driver(const char *name) {
    static void *library;
    if (!library) library = dlopen("libcuda.so.1", RTLD_NOW);
    void *found = library ? dlsym(library, name) : NULL;
    if (!found) abort();
    return found;
}

__attribute__((destructor)) static void report(void) { fprintf(stderr, "synchronisations %ld copies %ld\n", waits, copies); }

int cuStreamSynchronize(void *stream) {
    waits++;
    return ((int (*)(void *))driver("cuStreamSynchronize"))(stream);
}
int cuCtxSynchronize(void) {
    waits++;
    return ((int (*)(void))driver("cuCtxSynchronize"))();
}
int cuEventSynchronize(void *event) {
    waits++;
    return ((int (*)(void *))driver("cuEventSynchronize"))(event);
}
int cuMemcpyDtoH_v2(void *to, unsigned long long from, size_t bytes) {
    copies++;
    return ((int (*)(void *, unsigned long long, size_t))driver("cuMemcpyDtoH_v2"))(to, from, bytes);
}
int cuMemcpyDtoHAsync_v2(void *to, unsigned long long from, size_t bytes, void *stream) {
    unsigned type = 0;
    /* CU_POINTER_ATTRIBUTE_MEMORY_TYPE of pinned memory is CU_MEMORYTYPE_HOST; pageable memory is not known to the driver. */
    int known = ((int (*)(void *, int, unsigned long long))driver("cuPointerGetAttribute"))(&type, 2, (unsigned long long)to) == 0;
    if (!known) copies++;
    return ((int (*)(void *, unsigned long long, size_t, void *))driver("cuMemcpyDtoHAsync_v2"))(to, from, bytes, stream);
}
