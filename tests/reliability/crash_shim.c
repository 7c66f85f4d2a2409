/*
 * Counts what a process does to the world outside, and kills it at a chosen effect; for LD_PRELOAD.
 *
 * CRASH_AT     the number of the effect at which the process kills itself with SIGKILL, counted from 1; 0: never
 * CRASH_WHEN   "before" that effect or "after" it
 * CRASH_LOG    a file that gets one line for each effect: number, name, path where there is one
 *
 * The variables and LD_PRELOAD are taken out of the environment, so that child processes are not counted.
 * A process that was forked from a warm one is armed by `crash_arm`.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOG_DESCRIPTOR 987 /* out of the way of the process's own */

static atomic_long effects;
static long crash_at = -1; /* -1: nothing is counted */
static int crash_after;

void crash_arm(long at, int after, const char *log)
{
    int file = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (file < 0 || syscall(SYS_dup3, file, LOG_DESCRIPTOR, O_CLOEXEC) < 0)
        abort();
    syscall(SYS_close, file);
    crash_after = after;
    crash_at = at;
}

__attribute__((constructor)) static void start(void)
{
    const char *at = getenv("CRASH_AT"), *when = getenv("CRASH_WHEN"), *log = getenv("CRASH_LOG");
    if (at && log)
        crash_arm(atol(at), when && strcmp(when, "after") == 0, log);
    unsetenv("CRASH_AT");
    unsetenv("CRASH_WHEN");
    unsetenv("CRASH_LOG");
    unsetenv("LD_PRELOAD");
}

static void die(void)
{
    syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    for (;;)
        syscall(SYS_pause);
}

static void note(long number, const char *name, const char *path, int descriptor)
{
    char line[700], link[64], target[512] = "";
    if (path == NULL && number == crash_at && descriptor >= 0) { /* costs too much to be done for each */
        snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
        long length = syscall(SYS_readlinkat, AT_FDCWD, link, target, sizeof target - 1);
        target[length > 0 ? length : 0] = 0;
        path = target;
    }
    int length = snprintf(line, sizeof line, "%ld %s %.500s\n", number, name, path ? path : "");
    syscall(SYS_write, LOG_DESCRIPTOR, line, length < (int)sizeof line ? length : (int)sizeof line);
}

static long enter(const char *name, const char *path, int descriptor)
{
    int kept = errno;
    if (crash_at < 0)
        return -1;
    long number = atomic_fetch_add(&effects, 1) + 1;
    note(number, name, path, descriptor);
    if (number == crash_at && !crash_after)
        die();
    errno = kept;
    return number;
}

static void leave(long number)
{
    if (number > 0 && number == crash_at && crash_after)
        die();
}

static int kind_of(int descriptor)
{
    struct stat status;
    int kept = errno, known = fstat(descriptor, &status) == 0;
    errno = kept;
    return known ? status.st_mode & S_IFMT : 0;
}

/* One definition for each effect: `WHEN` tells whether this call is one. */
#define EFFECT(TYPE, NAME, PARAMETERS, ARGUMENTS, WHEN, PATH, DESCRIPTOR) \
    TYPE NAME PARAMETERS                                                   \
    {                                                                      \
        static TYPE(*real) PARAMETERS;                                     \
        if (real == NULL)                                                  \
            real = dlsym(RTLD_NEXT, #NAME);                                \
        long number = (WHEN) ? enter(#NAME, PATH, DESCRIPTOR) : -1;        \
        TYPE result = real ARGUMENTS;                                      \
        leave(number);                                                     \
        return result;                                                     \
    }

EFFECT(int, rename, (const char *a, const char *b), (a, b), 1, b, -1)
EFFECT(int, renameat, (int d, const char *a, int e, const char *b), (d, a, e, b), 1, b, -1)
EFFECT(int, renameat2, (int d, const char *a, int e, const char *b, unsigned f), (d, a, e, b, f), 1, b, -1)
EFFECT(int, link, (const char *a, const char *b), (a, b), 1, b, -1)
EFFECT(int, linkat, (int d, const char *a, int e, const char *b, int f), (d, a, e, b, f), 1, b, -1)
EFFECT(int, unlink, (const char *a), (a), 1, a, -1)
EFFECT(int, unlinkat, (int d, const char *a, int f), (d, a, f), 1, a, -1)
EFFECT(int, mkdir, (const char *a, mode_t m), (a, m), 1, a, -1)
EFFECT(int, mkdirat, (int d, const char *a, mode_t m), (d, a, m), 1, a, -1)
EFFECT(int, rmdir, (const char *a), (a), 1, a, -1)
EFFECT(int, fsync, (int d), (d), 1, NULL, d)
EFFECT(int, fdatasync, (int d), (d), 1, NULL, d)
EFFECT(int, ftruncate, (int d, off_t n), (d, n), 1, NULL, d)
EFFECT(int, ftruncate64, (int d, off64_t n), (d, n), 1, NULL, d)
EFFECT(int, posix_fallocate64, (int d, off64_t o, off64_t n), (d, o, n), 1, NULL, d)
EFFECT(int, fchown, (int d, uid_t u, gid_t g), (d, u, g), 1, NULL, d)
EFFECT(int, fchmod, (int d, mode_t m), (d, m), 1, NULL, d)
EFFECT(int, futimens, (int d, const struct timespec t[2]), (d, t), 1, NULL, d)
EFFECT(int, connect, (int d, const struct sockaddr *a, socklen_t n), (d, a, n), 1, NULL, d)
EFFECT(ssize_t, send, (int d, const void *b, size_t n, int f), (d, b, n, f), 1, NULL, d)
EFFECT(ssize_t, sendto, (int d, const void *b, size_t n, int f, const struct sockaddr *a, socklen_t l),
       (d, b, n, f, a, l), 1, NULL, d)
EFFECT(ssize_t, sendmsg, (int d, const struct msghdr *m, int f), (d, m, f), 1, NULL, d)
EFFECT(ssize_t, recv, (int d, void *b, size_t n, int f), (d, b, n, f), 1, NULL, d)
EFFECT(ssize_t, recvfrom, (int d, void *b, size_t n, int f, struct sockaddr *a, socklen_t *l),
       (d, b, n, f, a, l), 1, NULL, d)
EFFECT(ssize_t, recvmsg, (int d, struct msghdr *m, int f), (d, m, f), 1, NULL, d)
EFFECT(ssize_t, read, (int d, void *b, size_t n), (d, b, n), crash_at >= 0 && kind_of(d) == S_IFSOCK, NULL, d)
/* Also files: their blocks come one by one. Standard output and error are nobody's state. */
EFFECT(ssize_t, write, (int d, const void *b, size_t n), (d, b, n),
       crash_at >= 0 && d > 2 && (kind_of(d) == S_IFSOCK || kind_of(d) == S_IFREG), NULL, d)

/* Opening is an effect when it may make the file. */
#define OPENING(NAME, PARAMETERS, ARGUMENTS)                                  \
    int NAME PARAMETERS                                                       \
    {                                                                         \
        static int(*real)();                                                  \
        if (real == NULL)                                                     \
            real = (int (*)())dlsym(RTLD_NEXT, #NAME);                        \
        va_list rest;                                                         \
        va_start(rest, flags);                                                \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                         \
        long number = (flags & O_CREAT) ? enter(#NAME, path, -1) : -1;        \
        int result = real ARGUMENTS;                                          \
        leave(number);                                                        \
        return result;                                                        \
    }

OPENING(open, (const char *path, int flags, ...), (path, flags, mode))
OPENING(open64, (const char *path, int flags, ...), (path, flags, mode))
OPENING(openat, (int folder, const char *path, int flags, ...), (folder, path, flags, mode))
OPENING(openat64, (int folder, const char *path, int flags, ...), (folder, path, flags, mode))
