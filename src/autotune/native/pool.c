/* See pool.h. POSIX threads; C11 atomics.
 *
 * Life of a job. The owner takes `busy`, writes `job`, and opens the gate. A worker enters through the gate, pulls
 * slices from `next` until there are none, and leaves. The owner pulls slices as well; when none is left
 * it closes the gate and waits for those that entered. A worker that comes late finds the gate closed: a
 * busy machine, or a worker that never started, holds up no call.
 *
 * Memory order. `job` is plain data: the owner writes it before it stores the gate, and workers read it after their
 * compare-and-swap of the gate (release, acquire). What slices wrote passes the other way: before a worker's decrement
 * of the gate, and after the owner has seen no worker inside. Slices of one job pass nothing to each other. A thread that
 * sleeps is woken by a pair of words (gate and `sleepers`, gate and `owner_sleeps`) of which each side writes its own and then
 * reads the other's. These accesses are sequentially consistent: with weaker ones both could read the old value, one
 * would sleep, and the other would not wake it. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pthread_setaffinity_np, pthread_setname_np */
#endif
#include "pool.h"

#include <errno.h>
#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#define PAUSE() _mm_pause()
#elif defined(__aarch64__)
#define PAUSE() __asm__ __volatile__("isb" ::: "memory")
#else
#define PAUSE() atomic_signal_fence(memory_order_seq_cst)
#endif

/* The gate is one word, so that a worker enters by one compare-and-swap:
 * generation (32 bits) | open (1) | places left (15) | workers inside (16). */
#define GATE_INSIDE UINT64_C(0xFFFF)
#define GATE_PLACE (UINT64_C(1) << 16)
#define GATE_PLACES (UINT64_C(0x7FFF) << 16)
#define GATE_OPEN (UINT64_C(1) << 31)
#define GATE_GENERATION 32

/* A worker that computes a slice keeps its owner waiting; the owner spins for this long before it sleeps. */
enum { OWNER_SPINS_NS = 100000, STACK_BYTES = 1 << 20 };

struct job {
    pool_work *work;
    void *context;
    intptr_t count, chunk;
    int placement;
    fenv_t modes; /* the owner's rounding, exception masks and exception flags */
    unsigned control; /* x86: MXCSR, which also holds flush-to-zero and denormals-are-zero */
};

static struct {
    _Atomic(uintptr_t) busy; /* the thread that owns a job, forks or ends the threads; 0: none. One word, so
                              * that a signal handler that forks knows at any moment whether its thread is it */
    _Atomic(uint64_t) gate;
    _Atomic(intptr_t) next;  /* first item that no thread has taken */
    atomic_bool halted;      /* workers take no further slice: the process is about to fork */
    atomic_int raised;       /* exception flags of all workers */
    atomic_bool stop;        /* workers end */
    atomic_int sleepers;     /* workers on their way to `wake`, or in it */
    atomic_bool owner_sleeps;
    atomic_int limit;
    atomic_bool closed;      /* for good */
    atomic_int refusal;
    atomic_int started;
    atomic_llong spin_ns;
    _Atomic(pid_t) process;  /* that the threads belong to */
    struct job job;          /* written by the owner before the gate opens */
    pthread_t threads[POOL_LARGEST];
} pool = {.limit = 1, .spin_ns = 50000};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* only for sleeping and waking */
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER, done = PTHREAD_COND_INITIALIZER;

static _Thread_local bool is_alone;

static uintptr_t self(void) { return (uintptr_t)pthread_self(); }

static bool is_owner(void) { return atomic_load(&pool.busy) == self(); }

#ifdef __linux__
static struct placement {
    size_t size;
    cpu_set_t *cpus;
} placements[POOL_PLACEMENTS]; /* written once, before a job names them; the first stays empty */
static atomic_int placed = 1;
#endif

/* Where a worker runs. */
struct place {
    int current;
#ifdef __linux__
    bool has_born;
    cpu_set_t born;
#endif
};

int64_t pool_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

bool pool_alone(bool alone)
{
    bool before = is_alone;
    is_alone = alone;
    return before;
}

bool pool_is_alone(void) { return is_alone; }

void pool_spin(int64_t nanoseconds) { atomic_store(&pool.spin_ns, nanoseconds); }

int64_t pool_spin_time(void) { return load_relaxed(&pool.spin_ns); }

/* Relaxed: an old value has one job wake threads, or do without them. */
bool pool_sleeps(void) { return load_relaxed(&pool.sleepers) >= load_relaxed(&pool.started); }

/* --- floating-point state ------------------------------------------------------------------------------ */

static unsigned control_word(void)
{
#if defined(__x86_64__)
    return _mm_getcsr();
#else
    return 0;
#endif
}

static void take_modes(const struct job *job)
{
    fesetenv(&job->modes);
#if defined(__x86_64__)
    _mm_setcsr(job->control);
#endif
}

/* --- slices --------------------------------------------------------------------------------------------- */

/* Relaxed: which thread takes a slice carries no data; the gate orders what the slices wrote. */
static bool take_slice(const struct job *job, intptr_t *first, intptr_t *last)
{
    if (load_relaxed(&pool.next) >= job->count) {
        return false; /* without this look, many late threads could make `next` overflow */
    }
    intptr_t begin = atomic_fetch_add_explicit(&pool.next, job->chunk, memory_order_relaxed);
    if (begin >= job->count) {
        return false;
    }
    *first = begin;
    *last = job->chunk < job->count - begin ? begin + job->chunk : job->count;
    return true;
}

/* --- workers -------------------------------------------------------------------------------------------- */

/* Let the calling worker run on the CPUs of this placement; 0: on those that it was born with. A refusal (a
 * cpuset that has become smaller) leaves it where it is. */
static void move_to(int placement, struct place *place)
{
#ifdef __linux__
    if (placement == place->current) {
        return;
    }
    if (place->current == 0) {
        place->has_born = pthread_getaffinity_np(pthread_self(), sizeof place->born, &place->born) == 0;
    }
    if (placement > 0) {
        pthread_setaffinity_np(pthread_self(), placements[placement].size, placements[placement].cpus);
    } else if (place->has_born) {
        pthread_setaffinity_np(pthread_self(), sizeof place->born, &place->born);
    }
    place->current = placement;
#endif
}

/* Enter the job of this generation; false if it is over or has workers enough. */
static bool enter(uint64_t gate)
{
    const uint64_t generation = gate >> GATE_GENERATION;
    while ((gate & GATE_OPEN) && (gate & GATE_PLACES) && gate >> GATE_GENERATION == generation) {
        /* acquire: what the owner wrote into `job` before it opened the gate */
        if (atomic_compare_exchange_weak_explicit(&pool.gate, &gate, gate - GATE_PLACE + 1,
                                                  memory_order_acquire, memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

static void leave(void)
{
    /* release: the slices written; seq_cst: either the owner sees this, or this sees `owner_sleeps` */
    uint64_t before = atomic_fetch_sub_explicit(&pool.gate, 1, memory_order_seq_cst);
    if ((before & GATE_INSIDE) == 1 && atomic_load(&pool.owner_sleeps)) {
        pthread_mutex_lock(&lock);
        pthread_cond_signal(&done);
        pthread_mutex_unlock(&lock);
    }
}

/* Wait for a generation other than the one seen: spin, then sleep. Returns the gate. */
static uint64_t wait_for_work(uint64_t seen)
{
    const int64_t until = pool_clock() + load_relaxed(&pool.spin_ns);
    for (unsigned turn = 1;; turn++) {
        uint64_t gate = load_relaxed(&pool.gate);
        if (gate >> GATE_GENERATION != seen || load_relaxed(&pool.stop)) {
            return gate;
        }
        PAUSE();
        if (turn % 64 == 0 && pool_clock() > until) {
            break;
        }
    }
    pthread_mutex_lock(&lock);
    /* seq_cst: either the owner, who opens the gate first, sees a sleeper, or the worker sees the gate */
    atomic_fetch_add(&pool.sleepers, 1);
    uint64_t gate;
    while ((gate = atomic_load(&pool.gate)) >> GATE_GENERATION == seen && !atomic_load(&pool.stop)) {
        pthread_cond_wait(&wake, &lock);
    }
    atomic_fetch_sub(&pool.sleepers, 1);
    pthread_mutex_unlock(&lock);
    return gate;
}

static void *worker(void *born)
{
    uint64_t seen = (uint64_t)(uintptr_t)born;
    struct place place = {0};
    is_alone = true;
    while (!atomic_load(&pool.stop)) {
        uint64_t gate = wait_for_work(seen);
        seen = gate >> GATE_GENERATION;
        if (!enter(gate)) {
            continue;
        }
        const struct job *job = &pool.job; /* stands until this worker leaves */
        move_to(job->placement, &place);
        take_modes(job);
        intptr_t first, last;
        bool has_worked = false;
        while (!load_relaxed(&pool.halted) && take_slice(job, &first, &last)) {
            job->work(job->context, first, last);
            has_worked = true;
        }
        if (has_worked) {
            atomic_fetch_or_explicit(&pool.raised, fetestexcept(FE_ALL_EXCEPT), memory_order_relaxed);
        }
        leave();
    }
    return NULL;
}

/* Start threads until there are this many, or the operating system refuses. Under `busy`. */
static void grow(int wanted)
{
    if (atomic_load(&pool.refusal) || atomic_load(&pool.started) >= wanted) {
        return;
    }
    sigset_t all, before;
    pthread_attr_t attributes;
    /* Workers inherit the mask: signals go to the program's threads, but for those that a worker's own instructions cause.
     * These end the process where they are blocked, without a word of faulthandler's. */
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    sigfillset(&all);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        sigdelset(&all, own[i]);
    }
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_attr_init(&attributes) == 0) {
        pthread_attr_setstacksize(&attributes, STACK_BYTES);
        int started = atomic_load(&pool.started), refusal = 0;
        const uintptr_t seen = (uintptr_t)(atomic_load(&pool.gate) >> GATE_GENERATION);
        while (started < wanted && !refusal) {
            refusal = pthread_create(&pool.threads[started], &attributes, worker, (void *)seen);
            if (!refusal) {
#ifdef __linux__
                char name[24];
                snprintf(name, sizeof name, "autotune-%d", started & 1023); /* Linux takes 15 letters */
                pthread_setname_np(pool.threads[started], name);
#endif
                started++;
            }
        }
        atomic_store(&pool.started, started);
        atomic_store(&pool.refusal, refusal);
        pthread_attr_destroy(&attributes);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* --- fork ------------------------------------------------------------------------------------------------ */

/* Forget the threads: they are the parent's. */
static void forget_threads(bool owned)
{
    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&wake, NULL);
    pthread_cond_init(&done, NULL);
    uint64_t generation = (atomic_load(&pool.gate) >> GATE_GENERATION) + 1;
    atomic_store(&pool.gate, generation << GATE_GENERATION);
    atomic_store(&pool.sleepers, 0);
    atomic_store(&pool.owner_sleeps, false);
    atomic_store(&pool.started, 0);
    atomic_store(&pool.refusal, 0);
    atomic_store(&pool.stop, false);
    atomic_store(&pool.process, getpid());
    atomic_store(&pool.busy, owned ? self() : 0);
}

static bool try_busy(void)
{
    uintptr_t none = 0;
    return atomic_compare_exchange_strong_explicit(&pool.busy, &none, self(), memory_order_acquire,
                                                   memory_order_relaxed);
}

static void take_busy(void)
{
    while (!try_busy()) {
        struct timespec nap = {0, 20000};
        nanosleep(&nap, NULL);
    }
}

static void free_busy(void) { atomic_store_explicit(&pool.busy, 0, memory_order_release); }

static bool fork_owned; /* written by the thread that forks, which then has `busy` */

/* No job is in flight while the process forks. If the forking thread owns one (a signal handler forks in
 * the middle of a slice), its workers finish their slices and leave, and parent and child both go on alone. */
static void before_fork(void)
{
    if (!is_owner()) {
        take_busy();
        return;
    }
    fork_owned = true;
    atomic_store(&pool.halted, true);
    atomic_fetch_and(&pool.gate, ~GATE_OPEN);
    while (atomic_load(&pool.gate) & GATE_INSIDE) {
        PAUSE();
    }
}

static void after_fork_in_parent(void)
{
    if (!fork_owned) {
        free_busy();
    }
    fork_owned = false;
}

static void after_fork_in_child(void)
{
    forget_threads(fork_owned);
    fork_owned = false;
}

static void prepare(void) { pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child); }

static pthread_once_t prepared = PTHREAD_ONCE_INIT;

/* --- jobs ------------------------------------------------------------------------------------------------ */

/* Take the pool for one job; false: another caller has it, or there is none. */
static bool take_pool(void)
{
    pthread_once(&prepared, prepare);
    pid_t here = getpid();
    if (atomic_load(&pool.process) != here) {
        /* the first job, or a child that was made without fork(): by clone, or by a libc without pthread_atfork */
        pid_t other = atomic_load(&pool.process);
        if (atomic_compare_exchange_strong(&pool.process, &other, here) && other != 0) {
            forget_threads(false);
        }
    }
    return !atomic_load(&pool.closed) && try_busy();
}

static void open_gate(int places)
{
    uint64_t generation = (atomic_load(&pool.gate) >> GATE_GENERATION) + 1;
    /* seq_cst: released to workers that enter; ordered before the look at `sleepers` */
    atomic_store(&pool.gate, generation << GATE_GENERATION | GATE_OPEN | (uint64_t)places * GATE_PLACE);
    int asleep = atomic_load(&pool.sleepers);
    if (asleep > 0) {
        pthread_mutex_lock(&lock);
        for (int woken = 0; woken < places && woken < asleep; woken++) {
            pthread_cond_signal(&wake);
        }
        pthread_mutex_unlock(&lock);
    }
}

/* Let no further worker in, and wait for those inside. */
static void close_gate(void)
{
    uint64_t gate = atomic_fetch_and(&pool.gate, ~GATE_OPEN);
    if (!(gate & GATE_INSIDE)) {
        return;
    }
    const int64_t until = pool_clock() + OWNER_SPINS_NS;
    for (unsigned turn = 1; atomic_load_explicit(&pool.gate, memory_order_acquire) & GATE_INSIDE; turn++) {
        PAUSE();
        if (turn % 64 == 0 && pool_clock() > until) {
            pthread_mutex_lock(&lock);
            atomic_store(&pool.owner_sleeps, true);
            while (atomic_load(&pool.gate) & GATE_INSIDE) {
                pthread_cond_wait(&done, &lock);
            }
            atomic_store(&pool.owner_sleeps, false);
            pthread_mutex_unlock(&lock);
            return;
        }
    }
}

int pool_run(pool_work *work, void *context, intptr_t count, intptr_t chunk, int workers, int placement)
{
    const int limit = load_relaxed(&pool.limit);
    if (workers > limit) {
        workers = limit;
    }
    if (workers < 2 || chunk < 1 || chunk >= count || is_alone || is_owner() || !take_pool()) {
        work(context, 0, count);
        return 1;
    }
    grow(workers - 1);
    int helpers = atomic_load(&pool.started);
    if (helpers > workers - 1) {
        helpers = workers - 1;
    }
    if (helpers < 1) {
        free_busy();
        work(context, 0, count);
        return 1;
    }
    pool.job = (struct job){work, context, count, chunk, placement, .control = control_word()};
    fegetenv(&pool.job.modes);
    const struct job job = pool.job;
    atomic_store_explicit(&pool.next, 0, memory_order_relaxed);
    atomic_store_explicit(&pool.raised, 0, memory_order_relaxed);
    atomic_store_explicit(&pool.halted, false, memory_order_relaxed);
    open_gate(helpers);
    intptr_t first, last;
    bool has_worked = false;
    while (take_slice(&job, &first, &last)) {
        work(context, first, last);
        has_worked = true;
    }
    close_gate();
    const int raised = load_relaxed(&pool.raised) | (has_worked ? fetestexcept(FE_ALL_EXCEPT) : 0);
    free_busy();
    /* What the threads that worked have left: some loops clear all flags, those of casts before them, too. */
    feclearexcept(FE_ALL_EXCEPT);
    feraiseexcept(raised);
    return 1 + helpers;
}

void pool_limit(int threads)
{
    atomic_store(&pool.limit, threads < 1 ? 1 : threads > POOL_LARGEST ? POOL_LARGEST : threads);
    atomic_store(&pool.refusal, 0);
}

void pool_stop(bool for_good)
{
    if (for_good) {
        atomic_store(&pool.closed, true);
    }
    if (atomic_load(&pool.process) != getpid() || is_owner()) {
        return; /* no threads, or those of a parent */
    }
    take_busy();
    atomic_store(&pool.stop, true);
    pthread_mutex_lock(&lock);
    pthread_cond_broadcast(&wake);
    pthread_mutex_unlock(&lock);
    for (int n = atomic_load(&pool.started); n > 0; n--) {
        pthread_join(pool.threads[n - 1], NULL);
    }
    atomic_store(&pool.started, 0);
    atomic_store(&pool.stop, false);
    free_busy();
}

int pool_place(const int *cpus, int count)
{
#ifdef __linux__
    int largest = 0;
    for (int i = 0; i < count; i++) {
        if (cpus[i] < 0 || cpus[i] >= POOL_CPUS) {
            return -1;
        }
        largest = cpus[i] > largest ? cpus[i] : largest;
    }
    cpu_set_t *set = CPU_ALLOC(largest + 1);
    const size_t size = CPU_ALLOC_SIZE(largest + 1);
    if (set == NULL) {
        return -1;
    }
    CPU_ZERO_S(size, set);
    for (int i = 0; i < count; i++) {
        CPU_SET_S(cpus[i], size, set);
    }
    const int known = atomic_load(&placed); /* callers of this function hold the GIL or a lock of their own */
    for (int i = 1; i < known; i++) {
        if (placements[i].size == size && memcmp(placements[i].cpus, set, size) == 0) {
            CPU_FREE(set);
            return i;
        }
    }
    if (known == POOL_PLACEMENTS) {
        CPU_FREE(set);
        return -1;
    }
    placements[known] = (struct placement){size, set};
    atomic_store(&placed, known + 1);
    return known;
#else
    return -1;
#endif
}

struct pool_status pool_status(void)
{
    const bool here = atomic_load(&pool.process) == getpid();
    return (struct pool_status){
        .limit = atomic_load(&pool.limit),
        .threads = here ? atomic_load(&pool.started) : 0,
        .refusal = here ? atomic_load(&pool.refusal) : 0,
        .stopped = atomic_load(&pool.closed),
    };
}
