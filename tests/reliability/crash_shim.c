/*
 * Counts what a process does to the world outside, and strikes at a chosen effect; for LD_PRELOAD.
 *
 * CRASH_AT     the number of the effect, counted from 1; 0: never
 * CRASH_WHEN   "before", "after": the process kills itself with SIGKILL before that effect, or after it
 *              "stop": before that effect, the thread connects to the UNIX socket CRASH_CALL, writes "NUMBER NAME PATH\n" and
 *              reads one byte: 'g': it goes on; 'k', or anything else, or the end: the process kills itself
 *              "fail": the call is not made, and ends with the error CRASH_ERRNO; counted are only the calls that can end so,
 *              among them some that are no effects: openings for reading (EMFILE), writes to the pages of a database
 * CRASH_DESCRIPTORS  how many descriptors the process may have from now on; 0: as many as before
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
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define LOG_DESCRIPTOR 987 /* out of the way of the process's own */

/* What a call is, for the errors that it can end with. EFFECT: it is counted also when nothing is to fail. */
enum { EFFECT_ = 1, MAKES = 2, WRITES = 4, SYNCS = 8, REMOVES = 16, OPENS = 32, CHANGES = 64 };

static atomic_long effects;
static long crash_at = -1; /* -1: nothing is counted */
static enum { BEFORE, AFTER, STOP, FAIL } crash_when;
static int crash_errno;
static char crash_call[sizeof((struct sockaddr_un *)0)->sun_path];

void crash_arm(long at, const char *when, int error, const char *call, int descriptors, const char *log)
{
    struct rlimit limit = {descriptors, descriptors};
    int file = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (file < 0 || syscall(SYS_dup3, file, LOG_DESCRIPTOR, O_CLOEXEC) < 0)
        abort();
    syscall(SYS_close, file);
    crash_when = !strcmp(when, "after") ? AFTER : !strcmp(when, "stop") ? STOP : !strcmp(when, "fail") ? FAIL : BEFORE;
    crash_errno = error;
    snprintf(crash_call, sizeof crash_call, "%s", call);
    crash_at = at;
    if (descriptors && setrlimit(RLIMIT_NOFILE, &limit))
        abort();
}

__attribute__((constructor)) static void start(void)
{
    const char *at = getenv("CRASH_AT"), *when = getenv("CRASH_WHEN"), *log = getenv("CRASH_LOG");
    const char *error = getenv("CRASH_ERRNO"), *call = getenv("CRASH_CALL"), *limit = getenv("CRASH_DESCRIPTORS");
    if (at && log)
        crash_arm(atol(at), when ? when : "before", error ? atoi(error) : 0, call ? call : "", limit ? atoi(limit) : 0, log);
    unsetenv("CRASH_AT");
    unsetenv("CRASH_WHEN");
    unsetenv("CRASH_ERRNO");
    unsetenv("CRASH_CALL");
    unsetenv("CRASH_DESCRIPTORS");
    unsetenv("CRASH_LOG");
    unsetenv("LD_PRELOAD");
}

static void die(void)
{
    syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    for (;;)
        syscall(SYS_pause);
}

/* Let somebody else act; this thread stands, the others go on. */
static void stop(const char *line, int length)
{
    struct sockaddr_un there = {.sun_family = AF_UNIX};
    char word = 'k';
    memcpy(there.sun_path, crash_call, sizeof there.sun_path);
    int line_out = syscall(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (line_out < 0 || syscall(SYS_connect, line_out, &there, sizeof there) < 0)
        abort();
    syscall(SYS_write, line_out, line, length);
    while (syscall(SYS_read, line_out, &word, 1) < 0 && errno == EINTR)
        ;
    syscall(SYS_close, line_out);
    if (word != 'g')
        die();
}

/* The classes of calls that can end with the error; all effects, when nothing is to fail. */
static int counted(void)
{
    if (crash_when != FAIL)
        return EFFECT_;
    if (crash_errno == EMFILE || crash_errno == ENFILE)
        return OPENS;
    if (crash_errno == ENOSPC || crash_errno == EDQUOT)
        return MAKES | WRITES | SYNCS;
    return MAKES | WRITES | SYNCS | REMOVES | CHANGES;
}

/* Returns the number of the effect, -1 for none. */
static long enter(int class, const char *name, const char *path, int descriptor)
{
    int kept = errno;
    if (crash_at < 0 || !(class & counted()))
        return -1;
    long number = atomic_fetch_add(&effects, 1) + 1;
    char line[700], link[64], target[512] = "";
    if (path == NULL && number == crash_at && descriptor >= 0) { /* costs too much to be done for each */
        snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
        long length = syscall(SYS_readlinkat, AT_FDCWD, link, target, sizeof target - 1);
        target[length > 0 ? length : 0] = 0;
        path = target;
    }
    int length = snprintf(line, sizeof line, "%ld %s %.500s\n", number, name, path ? path : "");
    length = length < (int)sizeof line ? length : (int)sizeof line;
    syscall(SYS_write, LOG_DESCRIPTOR, line, length);
    if (number == crash_at && crash_when == BEFORE)
        die();
    if (number == crash_at && crash_when == STOP)
        stop(line, length);
    errno = kept;
    return number;
}

static int fails(long number)
{
    if (number < 1 || number != crash_at || crash_when != FAIL)
        return 0;
    errno = crash_errno;
    return 1;
}

static void leave(long number)
{
    if (number > 0 && number == crash_at && crash_when == AFTER)
        die();
}

static int kind_of(int descriptor)
{
    struct stat status;
    int kept = errno, known = fstat(descriptor, &status) == 0;
    errno = kept;
    return known ? status.st_mode & S_IFMT : 0;
}

/* One definition for each call: `CLASS` tells what it is, 0 that this one is of no interest; `BAD` is what it returns for an error. */
#define CALL(TYPE, NAME, PARAMETERS, ARGUMENTS, CLASS, PATH, DESCRIPTOR, BAD)    \
    TYPE NAME PARAMETERS                                                         \
    {                                                                            \
        static TYPE(*real) PARAMETERS;                                           \
        if (real == NULL)                                                        \
            real = dlsym(RTLD_NEXT, #NAME);                                      \
        int class = (CLASS);                                                     \
        long number = class ? enter(class, #NAME, PATH, DESCRIPTOR) : -1;        \
        if (fails(number))                                                       \
            return BAD;                                                          \
        TYPE result = real ARGUMENTS;                                            \
        leave(number);                                                           \
        return result;                                                           \
    }
#define PATHS(NAME, PARAMETERS, ARGUMENTS, CLASS, PATH) \
    CALL(int, NAME, PARAMETERS, ARGUMENTS, EFFECT_ | CLASS, PATH, -1, -1)
#define OPENED(NAME, PARAMETERS, ARGUMENTS, CLASS) CALL(int, NAME, PARAMETERS, ARGUMENTS, EFFECT_ | CLASS, NULL, d, -1)
#define TALK(TYPE, NAME, PARAMETERS, ARGUMENTS) CALL(TYPE, NAME, PARAMETERS, ARGUMENTS, EFFECT_, NULL, d, -1)

PATHS(rename, (const char *a, const char *b), (a, b), MAKES, b)
PATHS(renameat, (int d, const char *a, int e, const char *b), (d, a, e, b), MAKES, b)
PATHS(renameat2, (int d, const char *a, int e, const char *b, unsigned f), (d, a, e, b, f), MAKES, b)
PATHS(link, (const char *a, const char *b), (a, b), MAKES, b)
PATHS(linkat, (int d, const char *a, int e, const char *b, int f), (d, a, e, b, f), MAKES, b)
PATHS(unlink, (const char *a), (a), REMOVES, a)
PATHS(unlinkat, (int d, const char *a, int f), (d, a, f), REMOVES, a)
PATHS(mkdir, (const char *a, mode_t m), (a, m), MAKES, a)
PATHS(mkdirat, (int d, const char *a, mode_t m), (d, a, m), MAKES, a)
PATHS(rmdir, (const char *a), (a), REMOVES, a)
OPENED(fsync, (int d), (d), SYNCS)
OPENED(fdatasync, (int d), (d), SYNCS)
OPENED(ftruncate, (int d, off_t n), (d, n), WRITES)
OPENED(ftruncate64, (int d, off64_t n), (d, n), WRITES)
CALL(int, posix_fallocate64, (int d, off64_t o, off64_t n), (d, o, n), EFFECT_ | WRITES, NULL, d, crash_errno)
OPENED(fchown, (int d, uid_t u, gid_t g), (d, u, g), CHANGES)
OPENED(fchmod, (int d, mode_t m), (d, m), CHANGES)
OPENED(futimens, (int d, const struct timespec t[2]), (d, t), CHANGES)
/* A block of a database: what makes it durable is counted, its writing only where it is to fail. */
CALL(ssize_t, pwrite64, (int d, const void *b, size_t n, off64_t o), (d, b, n, o), WRITES, NULL, d, -1)
CALL(int, socket, (int a, int b, int c), (a, b, c), OPENS, "", -1, -1)
TALK(int, connect, (int d, const struct sockaddr *a, socklen_t n), (d, a, n))
TALK(ssize_t, send, (int d, const void *b, size_t n, int f), (d, b, n, f))
TALK(ssize_t, sendto, (int d, const void *b, size_t n, int f, const struct sockaddr *a, socklen_t l), (d, b, n, f, a, l))
TALK(ssize_t, sendmsg, (int d, const struct msghdr *m, int f), (d, m, f))
TALK(ssize_t, recv, (int d, void *b, size_t n, int f), (d, b, n, f))
TALK(ssize_t, recvfrom, (int d, void *b, size_t n, int f, struct sockaddr *a, socklen_t *l), (d, b, n, f, a, l))
TALK(ssize_t, recvmsg, (int d, struct msghdr *m, int f), (d, m, f))
CALL(ssize_t, read, (int d, void *b, size_t n), (d, b, n), crash_at >= 0 && kind_of(d) == S_IFSOCK ? EFFECT_ : 0, NULL, d, -1)

/* Also files: their blocks come one by one. Standard output and error are nobody's state. */
static int class_of_write(int descriptor)
{
    if (crash_at < 0 || descriptor <= 2)
        return 0;
    int kind = kind_of(descriptor);
    return kind == S_IFSOCK ? EFFECT_ : kind == S_IFREG ? EFFECT_ | WRITES : 0;
}

CALL(ssize_t, write, (int d, const void *b, size_t n), (d, b, n), class_of_write(d), NULL, d, -1)

/* Opening is an effect when it may make the file. */
#define OPENING(NAME, PARAMETERS, ARGUMENTS)                                                          \
    int NAME PARAMETERS                                                                               \
    {                                                                                                 \
        static int(*real)();                                                                          \
        if (real == NULL)                                                                             \
            real = (int (*)())dlsym(RTLD_NEXT, #NAME);                                                \
        va_list rest;                                                                                 \
        va_start(rest, flags);                                                                        \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0;                     \
        va_end(rest);                                                                                 \
        long number = enter(OPENS | (flags & O_CREAT ? EFFECT_ | MAKES : 0), #NAME, path, -1);        \
        if (fails(number))                                                                            \
            return -1;                                                                                \
        int result = real ARGUMENTS;                                                                  \
        leave(number);                                                                                \
        return result;                                                                                \
    }

OPENING(open, (const char *path, int flags, ...), (path, flags, mode))
OPENING(open64, (const char *path, int flags, ...), (path, flags, mode))
OPENING(openat, (int folder, const char *path, int flags, ...), (folder, path, flags, mode))
OPENING(openat64, (int folder, const char *path, int flags, ...), (folder, path, flags, mode))
