/* Where a process spends its CPU time: interrupts it every 2 ms of CPU time, notes the program counter, and at the end
 * counts the notes by shared library. Preloaded by `advise.py`; Linux only. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

enum { MOST = 1 << 18 };
static void *places[MOST];
static atomic_int used;
static int owner;

static void note(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    const ucontext_t *at = context;
    const int i = atomic_fetch_add(&used, 1);
    if (i < MOST) {
#if defined(__x86_64__)
        places[i] = (void *)at->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
        places[i] = (void *)at->uc_mcontext.pc;
#endif
    }
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
        owner = getpid();
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
        Dl_info info;
        fprintf(file, "%s\n", dladdr(places[i], &info) && info.dli_fname ? info.dli_fname : "?");
    }
    if (file != NULL) {
        fclose(file);
    }
}
