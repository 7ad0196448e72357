/* Loaded before the C library: the next call named in the file $EIO fails with EIO, once (fsync, fdatasync,
 * pread, pwrite). The file says which: "pwrite .chunk" is the next pwrite to a file whose name ends so; "fdatasync .chunk 2000"
 * takes 2000 ms longer instead. The wall clock goes wrong by the seconds in the file $CLOCK, 8 bytes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static int fails(const char *call, int fd) {
    const char *path = getenv("EIO");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file) return 0;
    char wanted[32], suffix[32], link[64], target[4096];
    unsigned ms = 0;
    int read = fscanf(file, "%31s %31s %u", wanted, suffix, &ms);
    fclose(file);
    if (read < 2 || strcmp(wanted, call) != 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, target, sizeof target - 1);
    if (length < (ssize_t)strlen(suffix)) return 0;
    target[length] = 0;
    if (strcmp(target + length - strlen(suffix), suffix) != 0) return 0;
    /* One thread removes it. */
    if (unlink(path) != 0) return 0;
    if (read == 3) {
        usleep(ms * 1000);
        return 0;
    }
    errno = EIO;
    return 1;
}

static const volatile int64_t *wrong_by;

__attribute__((constructor)) static void find_clock(void) {
    const char *path = getenv("CLOCK");
    int fd = path ? open(path, O_RDONLY) : -1;
    if (fd < 0) return;
    void *page = mmap(NULL, sizeof *wrong_by, PROT_READ, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED) wrong_by = page;
    close(fd);
}

int clock_gettime(clockid_t id, struct timespec *ts) {
    static int (*next)(clockid_t, struct timespec *);
    if (!next) next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = next(id, ts);
    if (!failed && id == CLOCK_REALTIME && wrong_by) ts->tv_sec += *wrong_by;
    return failed;
}

int fdatasync(int fd) {
    static int (*next)(int);
    if (!next) next = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return fails("fdatasync", fd) ? -1 : next(fd);
}

int fsync(int fd) {
    static int (*next)(int);
    if (!next) next = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return fails("fsync", fd) ? -1 : next(fd);
}

ssize_t pread64(int fd, void *buf, size_t count, off64_t offset) {
    static ssize_t (*next)(int, void *, size_t, off64_t);
    if (!next) next = (ssize_t (*)(int, void *, size_t, off64_t))dlsym(RTLD_NEXT, "pread64");
    return fails("pread", fd) ? -1 : next(fd, buf, count, offset);
}

ssize_t pwrite64(int fd, const void *buf, size_t count, off64_t offset) {
    static ssize_t (*next)(int, const void *, size_t, off64_t);
    if (!next) next = (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    return fails("pwrite", fd) ? -1 : next(fd, buf, count, offset);
}
