/* The BLAS thread count of each single call: set before it, put back after it, shared by calls at once.
 *
 * A library with one count for the whole process: a call alone gets its own count. Calls at once get the largest
 * that one of them has, but no more than an equal share of the CPUs: 8 CPUs, a call for 1 thread at the same time as one
 * for 8, give both a count of 4.
 * A library that counts by thread: each call gets its own count out of the CPUs that the others have left, at
 * least one.
 * Several libraries (NumPy's wheels and SciPy's bring one each): calls at once are counted together.
 *
 * The count is read before each change. If it is not the one that was set here last, other code set it, and it
 * is left alone until they put that one back. Scopes go before: while one is active (`aside`) nothing is switched.
 *
 * Everything here runs under the GIL. */
#ifndef AUTOTUNE_SWITCH_H
#define AUTOTUNE_SWITCH_H

#include "numpy_api.h"
#include <stdbool.h>
#include <stdint.h>

/* All calls of one operation at one size: what they get, and how many there were. */
typedef struct {
    PyObject_HEAD
    PyObject *operation, *dtype, *sizes;
    PyObject *watched;        /* what the live guard knows about them; NULL: nothing */
    int threads;              /* BLAS threads, 0: as many as at rest; of a loop: workers, 0: NumPy's own loop */
    char covered;             /* does an entry of a profile cover them? */
    char control;             /* does the guard want the next one to run with the default? */
    char learns;              /* are they timed and reported to the guard, although they have no count of their own? */
    int trial;                /* threads of the next one alone, while they learn; 0: as the others */
    int slices, trial_slices; /* of a loop: slices for each of the threads */
    long long elements;       /* of the loop that is reported; 1 for linear algebra */
    unsigned int pause;       /* number of long calls that are not reported to the guard */
    unsigned long long count;
    long long nanoseconds;    /* of those that were timed */
    struct record_row *row;   /* of the recording; NULL: they have none */
} Calls;

/* The count of a library for the calls that are in flight. */
typedef struct Switch {
    PyObject_HEAD
    int (*get)(void);
    int (*put)(intptr_t);
    char per_thread;       /* has each thread a count of its own? */
    char returns_previous; /* does `put` return what has to be put to undo it? */
    char aside;            /* scopes are active */
    int usable;            /* CPUs */
    int rest;              /* the count while no call is in flight; 0: not known yet */
    int set;               /* what was set last; 0: not known */
    int placed[2];         /* counts that this core set; any other was set by other code */
    int control;           /* threads of a live control; 0: as at rest */
    struct Switch *next;   /* of all libraries */
} Switch;

/* One call in flight. Not on the stack of its thread: NumPy may call Python within it (a warning, an override), and a greenlet that
 * takes over there moves that stack away. */
struct flight {
    struct flight *previous, *next;
    Switch *through;
    Calls *calls;
    uintptr_t thread;
    int wanted;
    int placed, undo; /* of a library that counts by thread: what was set, and what has to be put afterwards */
    int trial;
    bool timed, control;
    bool alone;     /* no other call was in flight meanwhile */
    bool is_python; /* begun by Switch.begin(), and ended by Switch.end() */
    int64_t start;
};

/* Begin a call. Returns NULL without memory: it runs as at rest. */
struct flight *switch_begin(Switch *through, Calls *calls);

/* End a call, unless `flight` is NULL, that returned this result; NULL: that raised an exception. Returns the result, or NULL with an exception set:
 * the call's own goes before any of the live guard's. */
PyObject *switch_return(struct flight *flight, PyObject *result);

/* Make the types known to a module. */
int switch_types(PyObject *module);
bool is_calls(PyObject *object);
bool is_switch(PyObject *object);

/* Let `callback(calls, seconds, control, trial)` look at calls that took at least so long, and at live controls and
 * trials; those that learn are looked at from `learn_nanoseconds` on, with negative seconds if another call was in flight.
 * So are those that raised an exception.
 * NULL: none. */
void switch_guard(PyObject *callback, int64_t long_nanoseconds, int64_t learn_nanoseconds);

/* Let the callback look at a call that has ended, and at its nanoseconds. `disturbed`: another call was in flight, or
 * it raised. Returns false, with an exception set, if the callback or a signal handler in it raised one. */
bool switch_tell(Calls *calls, int64_t spent, bool control, int trial, bool disturbed);

/* For how long BLAS threads spin after a call. */
void switch_spin(int64_t nanoseconds);

/* The core is loaded by the main interpreter, and calls its functions there only; NumPy's are shared by all. */
bool is_main_interpreter(void);

/* Was an exception set for want of stack or memory? It is cleared then: the call goes on without a choice. */
bool cleared_exhaustion(void);

#endif
