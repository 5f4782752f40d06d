/* Where a process spends its CPU time: interrupts it every 2 ms of CPU time, notes the stack, and at the end lists the
 * shared library of each note. What the C and maths libraries do counts as done by the library that called them: NumPy's
 * memcpy is NumPy's, and the interpreter's is its own. Preloaded by `advise.py`; Linux only. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <execinfo.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

enum { MOST = 1 << 16, FRAMES = 24 };
static void *places[MOST][FRAMES]; /* the innermost function first; NULL: no more */
static atomic_int used;
static int owner;

static void note(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    const ucontext_t *at = context;
#if defined(__x86_64__)
    void *const interrupted = (void *)at->uc_mcontext.gregs[REG_RIP];
#else
    void *const interrupted = (void *)at->uc_mcontext.pc;
#endif
    void *frames[FRAMES + 4];
    const int count = backtrace(frames, FRAMES + 4); /* this function and the kernel's return come first */
    const int i = atomic_fetch_add(&used, 1);
    if (i < MOST) {
        int first = 0;
        while (first < count && frames[first] != interrupted) {
            first++;
        }
        places[i][0] = interrupted;
        for (int n = first + 1; n < count && n - first < FRAMES; n++) {
            places[i][n - first] = frames[n];
        }
    }
}

/* Is it a library whose time is that of its caller? */
static bool works_for_others(const char *library)
{
    static const char *const names[] = {"/libm.", "/libc.", "/libgfortran", "/libmvec", "/libstdc++", "/libgcc", "/ld-"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strstr(library, names[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static const char *library_of(void *const *frames)
{
    const char *innermost = "?";
    for (int n = 0; n < FRAMES && frames[n] != NULL; n++) {
        Dl_info info;
        if (!dladdr(frames[n], &info) || info.dli_fname == NULL) {
            continue;
        }
        innermost = n == 0 ? info.dli_fname : innermost;
        if (!works_for_others(info.dli_fname)) {
            return info.dli_fname;
        }
    }
    return innermost;
}

static void every(long microseconds)
{
    const struct itimerval period = {{0, microseconds}, {0, microseconds}};
    setitimer(ITIMER_PROF, &period, NULL);
}

__attribute__((constructor)) static void begin(void)
{
    if (getenv("SAMPLES") != NULL) {
        const struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_RESTART};
        void *first;
        owner = getpid();
        backtrace(&first, 1); /* loads the unwinder, which takes memory */
        sigaction(SIGPROF, &action, NULL);
        every(2000);
    }
}

__attribute__((destructor)) static void end(void)
{
    if (owner != getpid()) {
        return;
    }
    every(0);
    FILE *file = fopen(getenv("SAMPLES"), "w");
    for (int i = 0; file != NULL && i < used && i < MOST; i++) {
        fprintf(file, "%s\n", library_of(places[i]));
    }
    if (file != NULL) {
        fclose(file);
    }
}
