/* The recording of a process: calls of NumPy and SciPy, and the seconds that they took, in a file that is mapped into
 * memory. What was counted is in the file at once: os._exit(), SIGKILL and a crash lose nothing.
 *
 * Calls are intercepted as `calls.c` does: at the `vectorcall` member of a ufunc, and at the C function of a built-in
 * function's PyMethodDef. Nothing of a call changes. Rows are created under the GIL; counters are atomic.
 *
 * The seconds of a call are its own: those of recorded calls that it makes are theirs. */
#ifndef AUTOTUNE_RECORDER_H
#define AUTOTUNE_RECORDER_H

#include "loops.h"
#include "numpy_api.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { RECORD_VERSION = 4, RECORD_ROWS = 512, RECORD_HEADER = 4096, SPINS = 3 };

/* One kind of calls. The layout is that of the file; recording/ledger.py reads it. */
struct record_row {
    char name[48];
    char kind;     /* u: ufunc, r: a ufunc's method, g: products and linear algebra, s: SciPy's, f: other functions;
                    * l: the timed calls of another row in whose inner loops other CPUs can take part */
    char layout;   /* C: contiguous operands, S: strided ones, -: unknown */
    char types[6]; /* type codes of the first operands */
    /* g: the last two sizes of both operands; s: the operation's; l: the number of the other row, class, layout and rounding
     * of the longest loop, log2 of its elements; others: log2 of the elements; u: 1 if shapes may make several loops; -1 */
    int64_t sizes[4];
    _Atomic(uint64_t) calls, timed, nanoseconds, elements; /* nanoseconds: of the timed ones. l: loops and their elements */
    /* l: nanoseconds of calls that began within SPIN_NS[i] after a call of BLAS */
    _Atomic(uint64_t) after_blas[SPINS];
};

/* Inner loops of a call that may be cut. */
struct record_loops {
    int64_t count, elements, longest;
    int form; /* of the longest: class, layout and rounding */
    int64_t rows; /* elements of a call in rows; 0: it is none */
    int rows_form;
};

/* A call in progress; lies on the stack of its thread, and no other object points to it: a greenlet may move that stack. */
struct record {
    struct record_row *row; /* NULL: not timed */
    unsigned forks; /* of the process when it began */
    uint64_t number, around; /* of this call, and of the one that made it, among the timed calls of the thread */
    int64_t start, outer;
    struct record_loops loops; /* of the call around it, so far */
};

/* Record into this new file from now on. Returns 0, or the number of an error. */
int recorder_open(const char *path);

/* The process ends in order. */
void recorder_close(void);

bool recorder_is_on(void);

/* The row of SciPy's calls of an operation; NULL while nothing is recorded. */
struct record_row *recorder_row(const char *name, const char *types, const int64_t sizes[4]);

void record_begin(struct record *record, struct record_row *row, uint64_t elements);
void record_end(struct record *record);

/* Record calls of this ufunc, or of this function or method (`kind` as in the row). Returns false if they cannot be. */
bool recorder_meet_ufunc(PyObject *ufunc);
bool recorder_meet_function(PyObject *target, const char *name, char kind);

/* Tell the call in progress of an inner loop, as `loops_observe` describes it. */
void recorder_see_loop(int class_number, enum layout layout, bool rounds, npy_intp n);

/* Record assignments to parts of arrays, reads by arrays of indices, and the freeing of large arrays. Returns false if
 * the type is not built as it is known to be. */
bool recorder_meet_indexing(void);
#endif
