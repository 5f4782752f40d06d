/* The pool of threads that works on slices of one array at a time.
 *
 * One pool a process. It takes no GIL and needs none: every function here may be called with or without it,
 * from any thread, and calls nothing of Python's. */
#ifndef AUTOTUNE_POOL_H
#define AUTOTUNE_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Read what other threads may write meanwhile, in no order with other accesses. */
#define load_relaxed(place) atomic_load_explicit(place, memory_order_relaxed)
#define store_relaxed(place, value) atomic_store_explicit(place, value, memory_order_relaxed)

enum { POOL_LARGEST = 1024, POOL_PLACEMENTS = 64, POOL_CPUS = 4096 };

/* Work on items [first, last). Called by several threads at once, with the caller's floating-point modes. */
typedef void pool_work(void *context, intptr_t first, intptr_t last);

struct pool_status {
    int limit;    /* threads that a job may have, the caller included */
    int threads;  /* threads that exist now, the caller excluded */
    int refusal;  /* errno of the last thread that could not be started; 0: none */
    bool stopped; /* the process is ending */
};

/* Do items 0 to count-1 in slices of `chunk`, with up to `workers` threads, the caller being one of them.
 *
 * Returns when all are done and no thread is at work any more. If another caller has the pool, if it is stopped
 * or if no thread can be started, the caller does all of it. Exception flags that any thread raised
 * are raised in the caller. `placement` is a number that pool_place returned; 0 leaves threads where they are.
 * Returns how many threads it was offered to, the caller included. */
int pool_run(pool_work *work, void *context, intptr_t count, intptr_t chunk, int workers, int placement);

/* Let jobs have up to this many threads; a refusal of the operating system is forgotten. */
void pool_limit(int threads);

/* How long an idle thread spins before it sleeps. */
void pool_spin(int64_t nanoseconds);

int64_t pool_spin_time(void);

/* Do all threads sleep, or is none started? A job then pays for their waking. */
bool pool_sleeps(void);

/* A number for this set of CPUs, each below POOL_CPUS; -1 if there is no room for more sets, or no way to move a thread. */
int pool_place(const int *cpus, int count);

/* End and join all threads. With `for_good`, later jobs are done by their callers. */
void pool_stop(bool for_good);

struct pool_status pool_status(void);

/* From now on the calling thread does its work alone: it is one of several that work side by side. Returns
 * what held before. */
bool pool_alone(bool alone);
bool pool_is_alone(void);

/* Nanoseconds of the monotonic clock. */
int64_t pool_clock(void);

#endif
