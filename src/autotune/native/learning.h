/* Long loops that no plan covers: timed, tried with other workers and slices, and run with what was learned.
 *
 * A lesson holds the calls of one loop (of a ufunc's loops, a layout, element-wise or reducing) whose elements lie between
 * two powers of two. Its orders are those of the same callback that learns about BLAS threads (`switch_guard`), told by a
 * pending call of the interpreter: a loop runs without the GIL, and its thread may not call Python. */
#ifndef AUTOTUNE_LEARNING_H
#define AUTOTUNE_LEARNING_H

#include "loops.h"

/* One long loop in progress; lies on the stack of its thread. */
struct learning {
    struct lesson *lesson; /* NULL: nothing is learned about it */
    unsigned generation, begun;
    int64_t start;
    npy_intp n;
    int workers, slices; /* what it is to run with; slices for each worker */
    bool is_trial, control, disturbed;
};

/* Begin a long loop. `workers` is 1 where nothing else was ordered or learned. */
void learning_begin(struct learning *learning, int slot, bool reduces, enum layout layout, npy_intp n);

/* `ran_as_ordered`: it had all workers that it was to have. */
void learning_end(struct learning *learning, bool ran_as_ordered);

/* Learn from now on: decide(class, rounds, layout, elements) returns the Calls of a lesson. NULL: forget all lessons. Under
 * the GIL. */
void learning_decide(PyObject *decide);

/* Before all others, once. */
void learning_start(void);
#endif
