/* Another machine, for the process that this is loaded into (LD_PRELOAD): its name is MACHINE_NAME, its wall clock MACHINE_SECONDS off,
   and what it connects to at ports of 127.0.0.1 it reaches by lines of its own: MACHINE_LINES is "PORT=LINE,PORT=LINE".

   All other clocks are true. libfaketime would do for the clock, but for processes that are stopped: its clock_nanosleep fails with
   EINVAL when the process goes on after the end of its sleep. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static long off(void) {
    static long seconds;
    static int known;
    if (!known) {
        const char *given = getenv("MACHINE_SECONDS");
        seconds = given ? atol(given) : 0;
        known = 1;
    }
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += off();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec found;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &found);
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (now)
        *now = found.tv_sec;
    return found.tv_sec;
}

int uname(struct utsname *found) {
    int failed = (int)syscall(SYS_uname, found);
    const char *name = getenv("MACHINE_NAME");
    if (!failed && name) {
        strncpy(found->nodename, name, sizeof found->nodename - 1);
        found->nodename[sizeof found->nodename - 1] = 0;
    }
    return failed;
}

int gethostname(char *name, size_t size) {
    struct utsname found;
    if (uname(&found))
        return -1;
    if (strlen(found.nodename) >= size) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(name, found.nodename);
    return 0;
}

static in_port_t line_to(in_port_t port) {
    const char *given = getenv("MACHINE_LINES");
    unsigned from, to;
    int length;
    while (given && sscanf(given, "%u=%u%n", &from, &to, &length) == 2) {
        if (htons(from) == port)
            return htons(to);
        given += length + (given[length] == ',');
    }
    return port;
}

int connect(int descriptor, const struct sockaddr *there, socklen_t size) {
    struct sockaddr_in line;
    if (there->sa_family == AF_INET && size >= sizeof line) {
        memcpy(&line, there, sizeof line);
        if (line.sin_addr.s_addr == htonl(INADDR_LOOPBACK))
            line.sin_port = line_to(line.sin_port);
        return (int)syscall(SYS_connect, descriptor, &line, sizeof line);
    }
    return (int)syscall(SYS_connect, descriptor, there, size);
}
