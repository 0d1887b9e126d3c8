/* A disk as some network ones are: below $NETWORK_DISK no file can be locked (errno $NO_LOCKS) or mapped into memory. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int on_it(int file) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    const char *disk = getenv("NETWORK_DISK");
    return disk && length >= (ssize_t)strlen(disk) && !strncmp(path, disk, strlen(disk));
}

static int refused(void) {
    errno = atoi(getenv("NO_LOCKS"));
    return -1;
}

int flock(int file, int operation) {
    int (*real)(int, int) = dlsym(RTLD_NEXT, "flock");
    return on_it(file) ? refused() : real(file, operation);
}

static int control(const char *name, int file, int command, void *argument) {
    int (*real)(int, int, void *) = dlsym(RTLD_NEXT, name);
    int locks = command == F_SETLK || command == F_SETLKW || command == F_GETLK;
    return locks && on_it(file) ? refused() : real(file, command, argument);
}

#define CONTROL(name)                                     \
    int name(int file, int command, ...) {                \
        va_list rest;                                     \
        va_start(rest, command);                          \
        void *argument = va_arg(rest, void *);            \
        va_end(rest);                                     \
        return control(#name, file, command, argument);   \
    }
CONTROL(fcntl)
CONTROL(fcntl64)

void *mmap(void *place, size_t size, int may, int flags, int file, off_t offset) {
    void *(*real)(void *, size_t, int, int, int, off_t) = dlsym(RTLD_NEXT, "mmap");
    if (file >= 0 && on_it(file)) {
        errno = ENODEV;
        return MAP_FAILED;
    }
    return real(place, size, may, flags, file, offset);
}

void *mmap64(void *place, size_t size, int may, int flags, int file, off_t offset) {
    return mmap(place, size, may, flags, file, offset);
}
