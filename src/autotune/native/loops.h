/* Whole-array loops: inner loops of NumPy's ufuncs, exchanged for stubs that cut long ones into slices.
 *
 * A stub calls NumPy's own loop: at once below its threshold, else on slices, by the threads of the pool. What is
 * computed for an element, the casting, buffering, masks, error handling and overlap rules around a loop stay
 * NumPy's. */
#ifndef AUTOTUNE_LOOPS_H
#define AUTOTUNE_LOOPS_H

#include "numpy_api.h"
#include <stdbool.h>
#include <stdint.h>

enum { LOOP_SLOTS = 2048, LOOP_CLASSES = 256, LOOP_RANGES = 16, LOOP_OPERANDS = 5 };

/* Floating-point sums and products are cut into blocks of this many elements, whatever was measured: the
 * block decides the bits of the result (autotune.parallel.reductions has the same). */
enum { LOOP_BLOCK = 65536 };

/* What may be done if a loop is called for a reduction. */
enum reduction {
    REDUCE_NEVER,
    REDUCE_EXACT,   /* any order gives the same result: whole numbers, minimum and maximum */
    REDUCE_ROUNDED, /* the order decides the bits: only where the program asked for it */
    REDUCE_ANY,     /* of truth values; ends at the first that is true */
    REDUCE_ALL,     /* ends at the first that is false */
};

/* How the elements of a loop's operands lie in memory. */
enum layout {
    LAYOUT_STRIDED,    /* with gaps, or backwards */
    LAYOUT_CONTIGUOUS, /* one after the other */
    LAYOUT_BROADCAST,  /* contiguous, with an input that is one element for all */
    LAYOUTS,
};

/* From `elements` on, until the next range begins. */
struct loop_range {
    npy_intp elements;
    npy_intp chunk;
    int workers;
    int placement;
};

struct loop_counts {
    unsigned long long cut;   /* calls cut into slices for several threads */
    unsigned long long alone; /* long enough, but computed by the caller alone */
};

/* Exchange the loop of this ufunc for these types. Returns the number of its slot; -1: the ufunc has no such loop, or
 * another extension's, -2: no slot is left. The caller holds the GIL, as for every function below. */
int loops_meet(PyUFuncObject *ufunc, const int *types, int class_number, int reduce_class,
               enum reduction reduction);

/* Put NumPy's own loop back. If another extension has replaced the stub since, its loop stays, and the stub,
 * which that loop may call, only passes on. Returns whether it could be put back. */
bool loops_release(int slot);

/* What calls of a class get. Ranges ascend; none: NumPy's own loop at once. Any values give right results. */
void loops_plan(int class_number, enum layout layout, const struct loop_range *ranges, int count);

/* From how many elements on loops of a class that no plan covers are learned about (`learning.h`); the initial value: never. */
void loops_learn(int class_number, npy_intp elements);

/* From how many elements on loops of a class gain even while BLAS threads spin; the initial value: never. */
void loops_after_blas(int class_number, npy_intp elements);

/* May sums and products of floating-point numbers be cut? */
void loops_reductions(bool rounded);

/* CPUs that calls at once share. */
void loops_cpus(int usable);

/* Until this time of pool_clock() the CPUs are taken by BLAS threads that spin. */
void loops_wait_until(int64_t nanoseconds);

/* Threads of BLAS calls in flight, which leave fewer CPUs for loops. */
void loops_blas_threads(int threads);

struct loop_counts loops_counts(void);

/* How many slots have been used. */
int loops_used(void);

/* Before all others, once. */
void loops_start(void);
#endif
