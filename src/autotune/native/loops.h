/* Whole-array loops: inner loops of NumPy's ufuncs, exchanged for stubs that cut long ones into slices.
 *
 * A stub calls NumPy's own loop: at once below its threshold, else on slices, by the threads of the pool. Calls with
 * several inner loops come from rows.h. What is computed for an element, and the casting, buffering, masks, error
 * handling and overlap rules around a loop, stay NumPy's. */
#ifndef AUTOTUNE_LOOPS_H
#define AUTOTUNE_LOOPS_H

#include "numpy_api.h"
#include <stdbool.h>
#include <stdint.h>

enum { LOOP_SLOTS = 2048, LOOP_CLASSES = 256, LOOP_RANGES = 16, LOOP_OPERANDS = 5, LOOP_AXES = 8 };

/* Loops of one kind differ by their types: the largest has 1, 2, 4 or 8 bytes, or one is complex64 or complex128.
 * The class of a loop is its kind times LOOP_GROUPS, plus its group (autotune.intercept.array_loops has the same). */
enum { LOOP_GROUPS = 6 };

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
    LAYOUT_ROWS,       /* in several inner loops of equal length */
    LAYOUTS,
};

/* A call of several inner loops of equal length. The first axis is the loop; the others count loops, the
 * fastest first. */
struct rows {
    int slot, axes;
    npy_intp elements, shape[LOOP_AXES], strides[LOOP_AXES][LOOP_OPERANDS]; /* strides in bytes */
    char *first[LOOP_OPERANDS];
    const char *memory, *end; /* of the result of the loop that stands for them */
    bool picks_nan;   /* what loops_pick_nan tells */
    bool is_in_place; /* the result is the memory of an operand */
    bool is_trial;    /* nothing is to be computed */
    bool is_run;      /* set by the stub; false at the end: NumPy's own call has to do it */
};

/* From `elements` on, until the next range begins. */
struct loop_range {
    npy_intp elements;
    npy_intp chunk;
    int workers;
    int placement;
};

/* Why a loop that is long enough for some plan was computed by the caller alone. */
enum loop_reason {
    LOOP_IS_UNPLANNED, /* no plan for its class, layout and size, or one worker there */
    LOOP_IS_SHORT,     /* a reduction of less than one and a half blocks */
    LOOP_OVERLAPS,     /* a result overlaps an operand, or depends on an order or on the position in a vector register */
    LOOP_IS_NESTED,    /* in a worker that is one of several */
    LOOP_WAITS,        /* for BLAS threads that spin */
    LOOP_IS_CROWDED,   /* other loops or BLAS calls have the CPUs */
    LOOP_IS_ISOLATED,  /* the threads sleep, and it, or its series, is too short to wake them for */
    LOOP_IS_REFUSED,   /* another loop has the pool, or no thread could be started */
    LOOP_REASONS,
    LOOP_MAY_BE_CUT = LOOP_REASONS,
};

struct loop_counts {
    unsigned long long cut; /* calls cut into slices for several threads */
    unsigned long long alone[LOOP_REASONS];
};

/* Exchange the loops of this ufunc all of whose types are among `types`, a set of type numbers by their bits. `reduction` is
 * that of the types for which it holds: sums of whole numbers are exact, and no order of complex numbers is. Returns how
 * many were exchanged: not those of another extension, nor any once no slot is left. The caller holds the GIL, as for every
 * function below. */
int loops_meet(PyUFuncObject *ufunc, uint32_t types, int kind, int reduce_kind, enum reduction reduction);

/* Put NumPy's own loops back. If another extension has replaced a stub since, its loop stays, and the stub, which that loop
 * may call, only passes on. `released_ufunc` is called with the ufunc of each. Returns how many could be put back. */
int loops_release(void (*released_ufunc)(PyUFuncObject *));

/* Number of the class of a slot's loop, or of its reductions. */
int loops_class(int slot, bool reduces);

/* May the order of a reduction change the last bits of its result? */
bool loops_rounds(int slot);

/* What calls of a class get. Ranges ascend; none: NumPy's own loop at once. Any values give right results. */
void loops_plan(int class_number, enum layout layout, const struct loop_range *ranges, int count);

/* From how many elements on loops of a class that no plan covers are learned about (`learning.h`); the initial value: never. */
void loops_learn(int class_number, npy_intp elements);

/* From how many elements on loops of a class gain even while BLAS threads spin; the initial value: never. */
void loops_after_blas(int class_number, npy_intp elements);

/* May sums and products of floating-point numbers be cut? */
void loops_reductions(bool rounded);

/* Wake sleeping threads only for loops, or series of loops, that take NumPy this long; 0, the initial value: for any. */
void loops_wake_from(int64_t nanoseconds);

/* CPUs that calls at once share. */
void loops_cpus(int usable);

/* Until this time of pool_clock() the CPUs are taken by BLAS threads that spin. */
void loops_wait_until(int64_t nanoseconds);

/* Threads of BLAS calls in flight, which leave fewer CPUs for loops. */
void loops_blas_threads(int threads);

struct loop_counts loops_counts(void);

/* Receives each loop of n elements that may be cut: its class, its layout, and whether it is a sum that only fixed blocks
 * cut. Called without the GIL, in any thread. */
typedef void loop_observer(int class_number, enum layout layout, bool rounds, npy_intp n);

/* Pass every such loop of at least this many elements to the observer. From then on loops_release() does nothing. */
void loops_observe(loop_observer *observer, npy_intp elements);

/* Fewest elements of calls in rows that any class covers. */
extern _Atomic(npy_intp) loops_rows_from;

/* The slot of the loop for inputs of these types; -1: none that may run rows. */
int loops_slot_for_rows(const PyUFuncObject *ufunc, const int *types);

/* Are calls in rows of this number of elements covered there? */
bool loops_cover_rows(int slot, npy_intp elements);

/* Pass a call in rows to the observer. */
void loops_tell_rows(int slot, npy_intp elements);

/* Type number of the result of a slot's loop. */
int loops_result_type(int slot);

/* Does the loop give the same bits with these steps as with contiguous operands? NumPy may copy rows into a contiguous
 * buffer, for which its loops have separate code. In the code for gaps, functions may differ in the last bit, and a sum of
 * two NaNs may return the other one. Maxima choose between two zeros, and complex sums and products between two NaNs, by the
 * position in a vector register. */
bool loops_give_same_bits(int slot, const npy_intp *steps);

/* May an element be one of two NaNs, which sums and products choose by the position in a vector register? Where two are met,
 * NumPy's own call does all rows. */
bool loops_pick_nan(const struct rows *rows);

/* From now on this thread's next long loop whose result lies in rows->memory runs these rows; NULL: none does. Returns the
 * rows that were set before, which the caller restores: garbage collection may call another ufunc within this call. */
struct rows *loops_begin_rows(struct rows *rows);

/* What a trial has shown about a slot: does NumPy choose its loop for operands of its types? */
enum trial { TRIAL_NONE, TRIAL_PASSED, TRIAL_FAILED };
enum trial loops_trial(int slot);
void loops_note_trial(int slot, bool has_passed);

/* Before all others, once. */
void loops_start(void);
#endif
