/* NumPy's inner loop on parts of arrays, by hand: threads that are pinned to a CPU each, spin until there is work, and know their
 * part beforehand. What the C core does is compared with it by native.py. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { OPERANDS = 5, THREADS = 64 };

static struct {
    void (*loop)(char **, const intptr_t *, const intptr_t *, void *);
    void *data;
    char *args[OPERANDS];
    intptr_t steps[OPERANDS], n;
    int operands;
} job;
static const int *all_cpus;
static int threads;
static pthread_t others[THREADS];
static atomic_int turn, finished;
static atomic_bool stopping;

static void work(int number)
{
    const intptr_t first = job.n * number / threads, count = job.n * (number + 1) / threads - first;
    char *args[OPERANDS];
    for (int i = 0; i < job.operands; i++) {
        args[i] = job.args[i] + first * job.steps[i];
    }
    job.loop(args, &count, job.steps, job.data);
}

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

static void *spin(void *argument)
{
    const int number = (int)(intptr_t)argument;
    pin(all_cpus[number]);
    for (int seen = 0;; seen++) {
        while (atomic_load_explicit(&turn, memory_order_acquire) == seen) {
            if (atomic_load_explicit(&stopping, memory_order_relaxed)) {
                return NULL;
            }
        }
        work(number);
        atomic_fetch_add_explicit(&finished, 1, memory_order_release);
    }
}

/* Start a thread for each CPU but the first, on which the caller stays. `cpus` is kept. Returns the number of threads. */
int parts_start(const int *cpus, int count)
{
    all_cpus = cpus;
    atomic_store(&stopping, false);
    atomic_store(&turn, 0);
    pin(cpus[0]);
    for (threads = 1; threads < count && threads < THREADS; threads++) {
        if (pthread_create(&others[threads], NULL, spin, (void *)(intptr_t)threads) != 0) {
            break;
        }
    }
    return threads;
}

void parts_run(void *loop, void *data, char *const *args, const intptr_t *steps, int operands, intptr_t n)
{
    job.loop = loop, job.data = data, job.operands = operands, job.n = n;
    for (int i = 0; i < operands; i++) {
        job.args[i] = args[i], job.steps[i] = steps[i];
    }
    atomic_store(&finished, 0);
    atomic_fetch_add_explicit(&turn, 1, memory_order_release);
    work(0);
    while (atomic_load_explicit(&finished, memory_order_acquire) < threads - 1) {
    }
}

void parts_stop(void)
{
    atomic_store(&stopping, true);
    for (; threads > 1; threads--) {
        pthread_join(others[threads - 1], NULL);
    }
}
