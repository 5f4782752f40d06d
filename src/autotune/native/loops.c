/* See loops.h. Stubs run with or without the GIL, in any thread, and never touch a Python object. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* dladdr */
#endif
#include "loops.h"
#include "learning.h"
#include "pool.h"

#include <dlfcn.h>
#include <fenv.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Read by stubs in other threads while it is written. All fields are atomic, and any mixture of an old and a
 * new plan gives right results, so that readers need no lock (relaxed order throughout). */
struct plan {
    atomic_int count;
    struct {
        _Atomic(npy_intp) elements, chunk;
        atomic_int workers, placement;
    } ranges[LOOP_RANGES];
};

static struct class {
    npy_intp threshold;              /* shorter loops are NumPy's at once. Under the GIL, as the next one */
    npy_intp learns_from;            /* longer loops that no plan covers are learned about */
    _Atomic(npy_intp) after_blas;    /* longer loops gain while BLAS threads spin, too */
    struct plan plans[LAYOUTS];
} classes[LOOP_CLASSES];

/* Ways in which one of NumPy's loops is called; its time for an element differs between them. */
enum way { WAY_EACH, WAY_REDUCTION, WAY_ROWS, WAYS };

/* Powers of four of the elements of a call: its time for an element differs in and out of the caches. */
enum { MAGNITUDES = 8 };

/* What the calls so far have shown. Relaxed. */
struct pace {
    _Atomic(int64_t) element; /* picoseconds of NumPy's own loop for an element; 0: unknown */
    _Atomic(int64_t) series;  /* nanoseconds of the latest series that began with such a call */
};

static struct slot {
    /* What a stub reads at every call. `original` does not change while a stub may be called, which is for
     * ever: an extension that replaced the stub may have kept its address. */
    _Atomic(npy_intp) threshold;
    PyUFuncGenericFunction original;
    struct class *_Atomic class, *_Atomic reduce_class; /* relaxed: either plan gives right results */
    PyUFuncObject *ufunc; /* a reference that is kept for as long as the process */
    atomic_int reduction;
    int nin, nargs, types[LOOP_OPERANDS];
    npy_intp sizes[LOOP_OPERANDS]; /* bytes of an element */
    atomic_bool in_force;
    struct pace paces[WAYS][MAGNITUDES];
    enum trial trial; /* under the GIL */
    int next;         /* slot of the same ufunc; -1: none */
} slots[LOOP_SLOTS];

static int used;

enum { LOOP_UFUNCS = 512 }; /* NumPy 2 has 110 */

/* The latest slot of each ufunc, under the GIL: open addressing, by the ufunc's address. */
static struct {
    const PyUFuncObject *ufunc; /* NULL: free */
    int slot;
} ufuncs[LOOP_UFUNCS];

_Atomic(npy_intp) loops_rows_from = NPY_MAX_INTP;

static _Thread_local struct rows *begun_rows;

static atomic_bool rounded;
static atomic_int usable = 1, callers, blas_threads;
static _Atomic(int64_t) spinning_until;
static atomic_ullong cut, alone[LOOP_REASONS];

/* A series: loops that a plan would cut, each of which begins before the threads that ran the one before would sleep. Times
 * are of pool_clock(). Relaxed: threads that call at once may mix their series, and the worst that follows is that sleeping
 * threads are woken, or are not. */
static struct {
    _Atomic(int64_t) worth; /* nanoseconds of plain loops for which sleeping threads are woken; 0: any */
    _Atomic(int64_t) end;   /* of the latest loop */
    _Atomic(int64_t) spent; /* that NumPy's own loops take for this series so far */
    struct pace *_Atomic first; /* of the call that it began with */
} series;

static loop_observer *observer; /* set before the threshold that has it called */
static _Atomic(npy_intp) observed_from = NPY_MAX_INTP;

static void run_long(struct slot *slot, char **args, const npy_intp *dimensions, const npy_intp *steps,
                     void *data);

/* --- stubs: NumPy does not tell a loop which ufunc it serves, so each slot has its own function ---------------- */

#define STUB(n)                                                                                              \
    static void stub_##n(char **args, const npy_intp *dimensions, const npy_intp *steps, void *data)         \
    {                                                                                                        \
        if (dimensions[0] < load_relaxed(&slots[0x##n].threshold)) {                                         \
            slots[0x##n].original(args, dimensions, steps, data);                                            \
        } else {                                                                                             \
            run_long(&slots[0x##n], args, dimensions, steps, data);                                          \
        }                                                                                                    \
    }
#define NAME(n) stub_##n,
#define SIXTEENS(do, n)                                                                                      \
    DIGITS(do, n##0) DIGITS(do, n##1) DIGITS(do, n##2) DIGITS(do, n##3) DIGITS(do, n##4) DIGITS(do, n##5)    \
    DIGITS(do, n##6) DIGITS(do, n##7) DIGITS(do, n##8) DIGITS(do, n##9) DIGITS(do, n##A) DIGITS(do, n##B)    \
    DIGITS(do, n##C) DIGITS(do, n##D) DIGITS(do, n##E) DIGITS(do, n##F)
#define ALL(do)                                                                                              \
    SIXTEENS(do, 0) SIXTEENS(do, 1) SIXTEENS(do, 2) SIXTEENS(do, 3)                                          \
    SIXTEENS(do, 4) SIXTEENS(do, 5) SIXTEENS(do, 6) SIXTEENS(do, 7)

ALL(STUB)
static const PyUFuncGenericFunction stubs[] = {ALL(NAME)};

_Static_assert(sizeof stubs / sizeof *stubs == LOOP_SLOTS, "one stub a slot");

/* --- whether a loop may be cut ----------------------------------------------------------------------------- */

/* The bytes that an operand of n elements spans. */
static void span(const char *first, npy_intp step, npy_intp size, npy_intp n, const char **low,
                 const char **high)
{
    const npy_intp reach = step * (n - 1);
    *low = reach < 0 ? first + reach : first;
    *high = (reach < 0 ? first : first + reach) + size;
}

/* Is no element of an output read or written by a slice that computes others?
 *
 * An output may be an input itself, element by element. np.add.accumulate calls its loop with an output that
 * is an input shifted by one element, and is wrong if that is cut. */
static bool is_cuttable(const struct slot *slot, char **args, const npy_intp *steps, npy_intp n)
{
    for (int out = slot->nin; out < slot->nargs; out++) {
        const npy_intp step = steps[out] < 0 ? -steps[out] : steps[out];
        if (step < slot->sizes[out]) {
            return false;
        }
        const char *low, *high;
        span(args[out], steps[out], slot->sizes[out], n, &low, &high);
        for (int other = 0; other < slot->nargs; other++) {
            if (other == out) {
                continue;
            }
            const bool same = other < slot->nin && args[other] == args[out] && steps[other] == steps[out] &&
                              slot->sizes[other] == slot->sizes[out];
            const char *other_low, *other_high;
            span(args[other], steps[other], slot->sizes[other], n, &other_low, &other_high);
            if (!same && other_low < high && low < other_high) {
                return false;
            }
        }
    }
    return true;
}

static enum layout layout_of(const struct slot *slot, const npy_intp *steps)
{
    enum layout layout = LAYOUT_CONTIGUOUS;
    for (int i = 0; i < slot->nargs; i++) {
        if (i < slot->nin && steps[i] == 0) {
            layout = LAYOUT_BROADCAST;
        } else if (steps[i] != slot->sizes[i]) {
            return LAYOUT_STRIDED;
        }
    }
    return layout;
}

static bool is_reduction(const struct slot *slot, char **args, const npy_intp *steps)
{
    return slot->nin == 2 && slot->nargs == 3 && args[0] == args[2] && steps[0] == 0 && steps[2] == 0;
}

/* The plan's setting for n elements; workers 1: none. */
static struct loop_range chosen(const struct class *class, enum layout layout, npy_intp n)
{
    const struct plan *plan = &class->plans[layout];
    struct loop_range range = {0, n, 1, 0};
    const int count = load_relaxed(&plan->count);
    for (int i = 0; i < count; i++) {
        const npy_intp elements = load_relaxed(&plan->ranges[i].elements);
        if (elements > n) {
            break;
        }
        range.elements = elements;
        range.chunk = load_relaxed(&plan->ranges[i].chunk);
        range.workers = load_relaxed(&plan->ranges[i].workers);
        range.placement = load_relaxed(&plan->ranges[i].placement);
    }
    return range;
}

/* Slices begin at multiples of this number of elements, as the array does within a vector register and a cache line,
 * and none is shorter: which of two NaNs a loop returns depends on the position in a register, and on whether that is
 * filled. */
enum { LANES = 64 };

/* The chunk near this one that gives every worker equally many slices: four workers take as long for five slices
 * as for eight. */
static npy_intp evened(npy_intp chunk, int workers, npy_intp n)
{
    const npy_intp each = n / workers;
    const npy_intp turns = chunk >= each ? 1 : (each + chunk / 2) / chunk;
    return (each / turns / LANES + 1) * LANES;
}

/* Workers for a call, with `others` in flight: an equal share of the CPUs that BLAS leaves. */
static int share(int workers, int others)
{
    const int cpus = load_relaxed(&usable) - load_relaxed(&blas_threads);
    const int mine = cpus / (others + 1);
    return workers < mine ? workers : mine;
}

/* --- element-wise loops ------------------------------------------------------------------------------------ */

struct call {
    const struct slot *slot;
    char **args;
    const npy_intp *steps;
    void *data;
    npy_intp n;
    char *partial;           /* of a reduction: one element a block */
    npy_intp blocks;
    atomic_bool *is_decided; /* any() has met a true, all() a false value, or rows two NaNs */
    struct rows *rows;       /* NULL: one loop */
    npy_intp length;         /* of the pieces of a row */
    bool only_looks;         /* for two NaNs, and computes nothing */
};

/* The elements of all slices; the last slice takes the rest, too. */
static npy_intp whole_lanes(const struct call *call) { return call->n - call->n % LANES; }

static void run_slice(void *context, intptr_t first, intptr_t last)
{
    const struct call *call = context;
    char *args[LOOP_OPERANDS];
    for (int i = 0; i < call->slot->nargs; i++) {
        args[i] = call->args[i] + first * call->steps[i];
    }
    const npy_intp n = (last == whole_lanes(call) ? call->n : last) - first;
    call->slot->original(args, &n, call->steps, call->data);
}

/* --- rows: several inner loops of one call ----------------------------------------------------------------- */

static npy_intp pieces_of_row(const struct call *call)
{
    return (call->rows->shape[0] + call->length - 1) / call->length;
}

/* has_nan: is there a NaN among values? In vector registers, since it is asked of an operand of each such call.
 * different_nans: are two NaNs with different bits the operands of one element? */
#define NANS(type, bits)                                                                                     \
    static bool has_nan_##type(const type *values, npy_intp n)                                               \
    {                                                                                                        \
        typedef type vector __attribute__((vector_size(16), aligned(sizeof(type)), may_alias));              \
        typedef bits mask __attribute__((vector_size(16)));                                                  \
        enum { WIDTH = 16 / sizeof(type) };                                                                  \
        mask are_nans = {0};                                                                                 \
        bool is_met = false;                                                                                 \
        npy_intp i = 0;                                                                                      \
        for (; i + 4 * WIDTH <= n; i += 4 * WIDTH) {                                                         \
            const vector *some = (const vector *)(values + i);                                               \
            are_nans |= (mask)(some[0] != some[0]) | (mask)(some[1] != some[1]) |                            \
                        (mask)(some[2] != some[2]) | (mask)(some[3] != some[3]);                             \
        }                                                                                                    \
        for (int lane = 0; lane < WIDTH; lane++) {                                                           \
            is_met = is_met || are_nans[lane] != 0;                                                          \
        }                                                                                                    \
        for (; i < n; i++) {                                                                                 \
            is_met = is_met || values[i] != values[i];                                                       \
        }                                                                                                    \
        return is_met;                                                                                       \
    }                                                                                                        \
    static bool different_nans_##type(char **args, const npy_intp *steps, npy_intp n)                        \
    {                                                                                                        \
        const type *a = (const type *)args[0], *b = (const type *)args[1];                                   \
        const npy_intp a_step = steps[0] != 0, b_step = steps[1] != 0;                                       \
        if (!has_nan_##type(b, b_step ? n : 1)) {                                                            \
            return false;                                                                                    \
        }                                                                                                    \
        for (npy_intp i = 0; i < n; i++) {                                                                   \
            const type x = a[i * a_step], y = b[i * b_step];                                                 \
            if (x != x && y != y && memcmp(&x, &y, sizeof x) != 0) {                                         \
                return true;                                                                                 \
            }                                                                                                \
        }                                                                                                    \
        return false;                                                                                        \
    }
NANS(float, int32_t)
NANS(double, int64_t)

/* Would NumPy choose a result of this piece by its position? Asked before the piece is computed, which brings its operands into
 * the cache. */
static bool depends_on_position(const struct call *call, char **args, npy_intp n)
{
    const npy_intp *steps = call->rows->strides[0];
    return call->rows->picks_nan &&
           (load_relaxed(call->is_decided) || (call->slot->types[0] == NPY_FLOAT ? different_nans_float(args, steps, n)
                                                                                 : different_nans_double(args, steps, n)));
}

/* Run pieces first to last-1 of all rows. */
static void run_pieces(void *context, intptr_t first, intptr_t last)
{
    const struct call *call = context;
    const struct rows *rows = call->rows;
    const int operands = call->slot->nargs;
    const npy_intp *steps = rows->strides[0], pieces = pieces_of_row(call);
    npy_intp index[LOOP_AXES], row = first / pieces, piece = first % pieces;
    char *begin[LOOP_OPERANDS];
    memcpy(begin, rows->first, sizeof begin);
    for (int axis = 1; axis < rows->axes; axis++) {
        index[axis] = row % rows->shape[axis];
        row /= rows->shape[axis];
        for (int i = 0; i < operands; i++) {
            begin[i] += index[axis] * rows->strides[axis][i];
        }
    }
    for (intptr_t item = first; item < last; item++) {
        const npy_intp from = piece * call->length, left = rows->shape[0] - from;
        const npy_intp n = left < call->length ? left : call->length;
        char *args[LOOP_OPERANDS];
        for (int i = 0; i < operands; i++) {
            args[i] = begin[i] + from * steps[i];
        }
        if (depends_on_position(call, args, n)) {
            atomic_store_explicit(call->is_decided, true, memory_order_relaxed);
            return;
        }
        if (!call->only_looks) {
            call->slot->original(args, &n, steps, call->data);
        }
        if (++piece < pieces) {
            continue;
        }
        piece = 0;
        for (int axis = 1; axis < rows->axes; axis++) {
            const bool is_end = ++index[axis] == rows->shape[axis];
            for (int i = 0; i < operands; i++) {
                begin[i] += rows->strides[axis][i] * (is_end ? 1 - rows->shape[axis] : 1);
            }
            if (!is_end) {
                break;
            }
            index[axis] = 0;
        }
    }
}

/* Share rows, or pieces of long ones, among the workers. Returns whether several threads had a part. Where a result depends on
 * its position, NumPy's own call does all of it, and tells of its floating-point errors. */
static bool share_rows(struct call *call, struct loop_range range, int workers)
{
    atomic_bool is_decided = false;
    call->is_decided = &is_decided;
    const npy_intp chunk = evened(range.chunk, workers, call->n), row = call->rows->shape[0];
    call->length = chunk < row ? chunk : row;
    const npy_intp items = call->n / row * pieces_of_row(call), pieces = (chunk + call->length - 1) / call->length;
    if (call->rows->picks_nan && call->rows->is_in_place) {
        /* operands that are overwritten could not be given to NumPy's own call any more */
        call->only_looks = true;
        pool_run(run_pieces, call, items, pieces, workers, range.placement);
        call->only_looks = false;
        call->rows->picks_nan = load_relaxed(&is_decided);
    }
    const bool is_shared = pool_run(run_pieces, call, items, pieces, workers, range.placement) > 1;
    if (load_relaxed(&is_decided)) {
        call->rows->is_run = false;
        feclearexcept(FE_ALL_EXCEPT);
        return false;
    }
    return is_shared;
}

/* --- reductions -------------------------------------------------------------------------------------------- */

/* Reduce n elements from `from` on into the element `into`. */
static void reduce_into(const struct call *call, char *into, char *from, npy_intp n)
{
    char *args[] = {into, from, into};
    const npy_intp steps[] = {0, call->steps[1], 0};
    if (n > 0) {
        call->slot->original(args, &n, steps, call->data);
    }
}

/* Is the result known, whatever the other elements are? */
static bool is_final(const struct slot *slot, const char *truth)
{
    return (slot->reduction == REDUCE_ANY && *truth) || (slot->reduction == REDUCE_ALL && !*truth);
}

/* Reduce blocks first to last-1, each beginning with its first element, so that no identity is needed. The
 * last block of all holds half to one and a half of the others' elements. */
static void run_blocks(void *context, intptr_t first, intptr_t last)
{
    const struct call *call = context;
    const npy_intp step = call->steps[1], size = call->slot->sizes[2];
    for (intptr_t block = first; block < last; block++) {
        char *from = call->args[1] + block * LOOP_BLOCK * step, *into = call->partial + block * size;
        const npy_intp n = block == call->blocks - 1 ? call->n - block * LOOP_BLOCK : LOOP_BLOCK;
        memcpy(into, from, (size_t)size);
        if (load_relaxed(call->is_decided)) {
            continue; /* what a decided any() or all() holds elsewhere changes nothing */
        }
        reduce_into(call, into, from + step, n - 1);
        if (is_final(call->slot, into)) {
            atomic_store_explicit(call->is_decided, true, memory_order_relaxed);
        }
    }
}

static bool is_nan(const struct slot *slot, const char *value)
{
    float single;
    double number;
    switch (slot->types[2]) {
    case NPY_FLOAT:
        memcpy(&single, value, sizeof single);
        return single != single;
    case NPY_DOUBLE:
        memcpy(&number, value, sizeof number);
        return number != number;
    default:
        return false;
    }
}

/* Reduce by fixed blocks, combined in a fixed tree: neighbours first, two by two.
 *
 * The tree depends on the number of elements only, so that workers, chunks and load change no bit. NumPy's loop adds up a
 * block pairwise, with an error that grows as the logarithm of its length; a tree over blocks goes on as the same
 * logarithm. Sums are as exact as NumPy's, and not equal to them to the last bit. */
static bool reduce(struct call *call, struct loop_range range, int workers)
{
    const struct slot *slot = call->slot;
    const npy_intp size = slot->sizes[2];
    char before[2 * sizeof(npy_double)];
    atomic_bool decided = false;
    call->is_decided = &decided;
    call->blocks = (call->n + LOOP_BLOCK / 2) / LOOP_BLOCK;
    memcpy(before, call->args[0], (size_t)size);
    if (slot->reduction >= REDUCE_ANY) {
        /* most often the first elements decide, and no thread is needed */
        reduce_into(call, call->args[0], call->args[1], LOOP_BLOCK);
        if (is_final(slot, call->args[0])) {
            return false;
        }
    }
    call->partial = malloc((size_t)(call->blocks * size));
    if (call->partial == NULL) { /* NumPy's own order, and its last bits */
        reduce_into(call, call->args[0], call->args[1], call->n);
        return false;
    }
    const npy_intp chunk = range.chunk / LOOP_BLOCK > 0 ? range.chunk / LOOP_BLOCK : 1;
    const bool is_cut = pool_run(run_blocks, call, call->blocks, chunk, workers, range.placement) > 1;
    for (npy_intp distance = 1; distance < call->blocks; distance *= 2) {
        for (npy_intp i = 0; i + distance < call->blocks; i += 2 * distance) {
            reduce_into(call, call->partial + i * size, call->partial + (i + distance) * size, 1);
        }
    }
    reduce_into(call, call->args[0], call->partial, 1);
    free(call->partial);
    if (slot->reduction == REDUCE_EXACT && is_nan(slot, call->args[0])) {
        /* which of several NaNs minimum and maximum return depends on the order */
        memcpy(call->args[0], before, (size_t)size);
        reduce_into(call, call->args[0], call->args[1], call->n);
    }
    return is_cut;
}

/* --- long loops --------------------------------------------------------------------------------------------- */

/* Why a loop is not cut whatever is planned. Floating-point sums also need the program's consent (run_long). */
static enum loop_reason obstacle(const struct slot *slot, char **args, const npy_intp *steps, npy_intp n, bool reduces)
{
    if (!reduces) {
        return is_cuttable(slot, args, steps, n) ? LOOP_MAY_BE_CUT : LOOP_OVERLAPS;
    }
    return slot->reduction == REDUCE_NEVER       ? LOOP_OVERLAPS
           : n < LOOP_BLOCK + LOOP_BLOCK / 2 ? LOOP_IS_SHORT
                                             : LOOP_MAY_BE_CUT;
}

/* The rows that this loop stands for, whose operands have no values; NULL: it is a loop of its own. */
static struct rows *rows_of(const struct slot *slot, char **args)
{
    struct rows *rows = begun_rows;
    return rows != NULL && args[slot->nin] >= rows->memory && args[slot->nin] < rows->end ? rows : NULL;
}

/* Is this the loop that runs all rows? Then NumPy calls no other one for them. They are forgotten first: an error handler
 * may switch to another greenlet, which overwrites the stack that holds them. */
static bool begins_rows(struct rows *rows, const struct slot *slot, npy_intp n)
{
    rows->is_run = slot == &slots[rows->slot] && n == rows->elements;
    if (rows->is_run) {
        begun_rows = NULL;
    }
    return rows->is_run && !rows->is_trial;
}

/* Why the CPUs may not be shared for this call; LOOP_MAY_BE_CUT if they may. */
static enum loop_reason refusal(const struct class *class, npy_intp n, bool learns)
{
    if (pool_is_alone()) {
        return LOOP_IS_NESTED;
    }
    const int64_t until = load_relaxed(&spinning_until);
    const bool waits = !learns && until != 0 && n < load_relaxed(&class->after_blas) && pool_clock() < until;
    return waits ? LOOP_WAITS : LOOP_MAY_BE_CUT;
}

/* Nanoseconds of n elements at a pace. */
static int64_t time_at(const struct pace *pace, npy_intp n)
{
    return (int64_t)((double)load_relaxed(&pace->element) * (double)n / 1000);
}

static struct pace *pace_of(struct slot *slot, enum way way, npy_intp n)
{
    const int magnitude = (63 - __builtin_clzll((unsigned long long)n | 1)) / 2 - 4; /* 0 below 1,024 elements */
    return &slot->paces[way][magnitude < 0 ? 0 : magnitude < MAGNITUDES ? magnitude : MAGNITUDES - 1];
}

/* Begin a series with a loop that begins now, or go on with one. Returns the pace of its first loop. */
static struct pace *begin_or_continue(struct pace *pace, int64_t now)
{
    struct pace *first = load_relaxed(&series.first);
    if (first != NULL && now - load_relaxed(&series.end) <= pool_spin_time()) {
        return first;
    }
    if (first != NULL) {
        store_relaxed(&first->series, load_relaxed(&series.spent));
    }
    store_relaxed(&series.first, pace);
    store_relaxed(&series.spent, 0);
    return pace;
}

/* Is waking the threads worth it for this loop, or for its series? That is expected to last as long as the latest one that
 * began with such a loop, and, once it has lasted as long as is worth waking for, to last as long again (ski-rental problem;
 * Karlin, Manasse, Rudolph and Sleator 1988). A pace that is unknown says yes. */
static bool is_worth_waking(const struct pace *first, const struct pace *pace, npy_intp n)
{
    const int64_t worth = load_relaxed(&series.worth), own = time_at(pace, n);
    return own == 0 || own >= worth || load_relaxed(&series.spent) >= worth || load_relaxed(&first->series) >= worth;
}

/* Learn a pace from a loop: its time, on at most `threads`. */
static void note_pace(struct pace *pace, npy_intp n, int64_t nanoseconds, int threads)
{
    const int64_t before = load_relaxed(&pace->element);
    const int64_t now = (int64_t)((double)nanoseconds * threads * 1000 / (double)n) + 1;
    if (before == 0 || now < before) {
        store_relaxed(&pace->element, now);
    } else if (threads == 1) { /* exponential moving average: a slow call may have lost its CPU */
        store_relaxed(&pace->element, before + (now - before) / 8);
    }
}

/* Add a loop to the series. */
static void note_series(const struct pace *pace, npy_intp n, int64_t end)
{
    store_relaxed(&series.spent, load_relaxed(&series.spent) + time_at(pace, n));
    store_relaxed(&series.end, end);
}

static void count_alone(enum loop_reason reason)
{
    atomic_fetch_add_explicit(&alone[reason], 1, memory_order_relaxed);
}

/* Returns whether several threads had a part. */
static bool run_call(struct call *call, bool reduces, struct loop_range range, int workers)
{
    if (call->rows != NULL) {
        return share_rows(call, range, workers);
    }
    if (reduces && (workers > 1 || call->slot->reduction == REDUCE_ROUNDED)) {
        return reduce(call, range, workers);
    }
    if (workers > 1) {
        const npy_intp chunk = evened(range.chunk, workers, call->n);
        return pool_run(run_slice, call, whole_lanes(call), chunk, workers, range.placement) > 1;
    }
    call->slot->original(call->args, &call->n, call->steps, call->data);
    return false;
}

static void run_long(struct slot *slot, char **args, const npy_intp *dimensions, const npy_intp *steps,
                     void *data)
{
    struct rows *rows = rows_of(slot, args);
    const npy_intp n = dimensions[0];
    if (rows != NULL && !begins_rows(rows, slot, n)) {
        return;
    }
    const bool reduces = rows == NULL && is_reduction(slot, args, steps);
    enum loop_reason reason = rows != NULL ? LOOP_MAY_BE_CUT : obstacle(slot, args, steps, n, reduces);
    if (reason != LOOP_MAY_BE_CUT) {
        slot->original(args, dimensions, steps, data);
        count_alone(reason);
        return;
    }
    const bool rounds = reduces && slot->reduction == REDUCE_ROUNDED;
    const struct class *class = load_relaxed(reduces ? &slot->reduce_class : &slot->class);
    const enum layout layout = rows != NULL                 ? LAYOUT_ROWS
                               : !reduces                   ? layout_of(slot, steps)
                               : steps[1] == slot->sizes[1] ? LAYOUT_CONTIGUOUS
                                                            : LAYOUT_STRIDED;
    /* acquire: the observer, which was set before */
    if (rows == NULL && n >= atomic_load_explicit(&observed_from, memory_order_acquire) && !pool_is_alone()) {
        observer((int)(class - classes), layout, rounds, n);
    }
    if (rounds && !load_relaxed(&rounded)) {
        slot->original(args, dimensions, steps, data);
        count_alone(LOOP_OVERLAPS);
        return;
    }
    /* NumPy copies the first element of a minimum or maximum, so that its loop has one less than the array */
    struct loop_range range = chosen(class, layout, n + reduces);
    struct learning learning = {.lesson = NULL};
    if (range.elements == 0) { /* no plan covers it */
        learning_begin(&learning, (int)(slot - slots), reduces, layout, n);
        range.workers = learning.lesson == NULL ? 1 : learning.workers;
        range.chunk = learning.lesson == NULL ? n : n / ((npy_intp)learning.workers * learning.slices) + 1;
    }
    const int others = atomic_fetch_add_explicit(&callers, 1, memory_order_relaxed);
    int workers = share(range.workers, others > 0 ? others : 0);
    reason = range.workers < 2 ? LOOP_IS_UNPLANNED : refusal(class, n, learning.lesson != NULL);
    if (reason == LOOP_MAY_BE_CUT && workers < 2) {
        reason = LOOP_IS_CROWDED;
    }
    const bool is_timed = reason == LOOP_MAY_BE_CUT && learning.lesson == NULL && load_relaxed(&series.worth) > 0;
    const int64_t start = is_timed ? pool_clock() : 0;
    struct pace *pace = pace_of(slot, rows != NULL ? WAY_ROWS : reduces ? WAY_REDUCTION : WAY_EACH, n);
    if (is_timed && !is_worth_waking(begin_or_continue(pace, start), pace, n) && pool_sleeps()) {
        reason = LOOP_IS_ISOLATED;
    }
    workers = reason == LOOP_MAY_BE_CUT ? workers : 1;
    struct call call = {slot, args, steps, data, n, NULL, 0, NULL, rows, 0, false};
    bool is_cut = false;
    const bool ran_as_ordered = workers == range.workers;
    if (rows != NULL && workers < 2 && learning.lesson == NULL) {
        rows->is_run = false; /* NumPy's own call does it */
    } else {
        is_cut = run_call(&call, reduces, range, workers);
    }
    atomic_fetch_sub_explicit(&callers, 1, memory_order_relaxed);
    const bool is_done = rows == NULL || rows->is_run;
    if (is_timed) {
        const int64_t now = pool_clock();
        if (is_done && !(reduces && slot->reduction >= REDUCE_ANY)) { /* these may end at the first element */
            note_pace(pace, n, now - start, is_cut ? workers : 1);
        }
        note_series(pace, n, is_done ? now : now + time_at(pace, n)); /* NumPy's own call ends later */
    }
    learning_end(&learning, is_done && ran_as_ordered && is_cut == (workers > 1));
    if (is_cut) {
        atomic_fetch_add_explicit(&cut, 1, memory_order_relaxed);
    } else {
        /* rows that were begun and not done: two NaNs, one of which is chosen by its position */
        count_alone(reason != LOOP_MAY_BE_CUT ? reason : is_done ? LOOP_IS_REFUSED : LOOP_OVERLAPS);
    }
}

/* --- what Python sets; under the GIL ------------------------------------------------------------------------ */

static npy_intp first_concerned(const struct class *class)
{
    return class->threshold < class->learns_from ? class->threshold : class->learns_from;
}

/* Where the straight path ends: below it no plan has anything to say, and nothing is learned. */
static void settle(struct slot *slot)
{
    npy_intp threshold = NPY_MAX_INTP;
    if (atomic_load(&slot->in_force)) {
        const struct class *class = atomic_load(&slot->class), *reduce_class = atomic_load(&slot->reduce_class);
        threshold = first_concerned(class);
        if (slot->reduction != REDUCE_NEVER && first_concerned(reduce_class) < threshold) {
            threshold = first_concerned(reduce_class);
        }
        if (slot->reduction == REDUCE_ROUNDED && atomic_load(&rounded) && threshold > LOOP_BLOCK) {
            threshold = LOOP_BLOCK;
        }
        if (atomic_load(&observed_from) < threshold) {
            threshold = atomic_load(&observed_from);
        }
    }
    atomic_store(&slot->threshold, threshold);
}

static void settle_class(const struct class *class)
{
    for (int i = 0; i < used; i++) {
        if (atomic_load(&slots[i].class) == class || atomic_load(&slots[i].reduce_class) == class) {
            settle(&slots[i]);
        }
    }
}

static npy_intp rows_from(const struct class *class)
{
    const struct plan *plan = &class->plans[LAYOUT_ROWS];
    const npy_intp first = load_relaxed(&plan->count) > 0 ? load_relaxed(&plan->ranges[0].elements) : NPY_MAX_INTP;
    return first < class->learns_from ? first : class->learns_from;
}

static void settle_rows(void)
{
    npy_intp least = NPY_MAX_INTP;
    for (int i = 0; i < LOOP_CLASSES; i++) {
        const npy_intp first = rows_from(&classes[i]);
        least = first < least ? first : least;
    }
    atomic_store(&loops_rows_from, least);
}

static PyUFuncGenericFunction in_force(const PyUFuncObject *ufunc, const int *types)
{
    for (int i = 0; i < ufunc->ntypes; i++) {
        int same = 0;
        while (same < ufunc->nargs && ufunc->types[i * ufunc->nargs + same] == types[same]) {
            same++;
        }
        if (same == ufunc->nargs) {
            return ufunc->functions[i];
        }
    }
    return NULL;
}

/* Is this loop part of NumPy? Another extension's may keep a state, or need the GIL, and is never cut.
 *
 * A search by dladdr takes 10 us. A loader maps the code of a library into one piece, so what lies between two functions of
 * NumPy is NumPy's, and of 500 loops some ten are searched for. The GIL is held. */
static bool is_numpys(PyUFuncGenericFunction loop)
{
    static Dl_info numpy;
    static uintptr_t first = UINTPTR_MAX, last = 0;
    const uintptr_t place = (uintptr_t)loop;
    Dl_info its;
    if (first <= place && place <= last) {
        return true;
    }
    if ((numpy.dli_fbase == NULL && !dladdr(PyUFunc_API[0], &numpy)) || !dladdr((void *)loop, &its) ||
        its.dli_fbase != numpy.dli_fbase) {
        return false;
    }
    first = place < first ? place : first;
    last = place > last ? place : last;
    return true;
}

/* The group of a loop by its types; -1: it has none. */
static int group_of(const struct slot *slot)
{
    npy_intp largest = 0;
    bool is_complex = false, is_double = false;
    for (int i = 0; i < slot->nargs; i++) {
        is_complex = is_complex || PyTypeNum_ISCOMPLEX(slot->types[i]);
        is_double = is_double || slot->types[i] == NPY_CDOUBLE;
        largest = slot->sizes[i] > largest ? slot->sizes[i] : largest;
    }
    if (is_complex) {
        return is_double ? 5 : 4;
    }
    return largest == 1 ? 0 : largest == 2 ? 1 : largest == 4 ? 2 : largest == 8 ? 3 : -1;
}

/* What holds for the types of this loop, of what holds for its ufunc. */
static enum reduction reduction_of(const struct slot *slot, enum reduction reduction)
{
    const int type = slot->types[0];
    if (slot->nargs != 3 || slot->types[1] != type || slot->types[2] != type) {
        return REDUCE_NEVER;
    }
    if (PyTypeNum_ISBOOL(type)) {
        return reduction >= REDUCE_ANY ? reduction : REDUCE_NEVER;
    }
    switch (reduction) {
    case REDUCE_ROUNDED:
        return PyTypeNum_ISINTEGER(type) ? REDUCE_EXACT : REDUCE_ROUNDED;
    case REDUCE_EXACT: /* which of two complex numbers is the larger may depend on NaNs in their halves */
        return PyTypeNum_ISCOMPLEX(type) ? REDUCE_NEVER : REDUCE_EXACT;
    default:
        return REDUCE_NEVER;
    }
}

/* The place of a ufunc in the table; that of another means that the table is full. */
static int place_of(const PyUFuncObject *ufunc)
{
    int place = (int)((uintptr_t)ufunc >> 5 ^ (uintptr_t)ufunc >> 14) & (LOOP_UFUNCS - 1);
    for (int tries = 0; tries < LOOP_UFUNCS && ufuncs[place].ufunc != NULL && ufuncs[place].ufunc != ufunc; tries++) {
        place = (place + 1) % LOOP_UFUNCS;
    }
    return place;
}

/* The latest slot of a ufunc; -1: it has none. */
static int latest_of(const PyUFuncObject *ufunc)
{
    const int place = place_of(ufunc);
    return ufuncs[place].ufunc == ufunc ? ufuncs[place].slot : -1;
}

/* The slot of a loop, used before or new; NULL: none is left, or the loop is not one to be met. */
static struct slot *slot_for(PyUFuncObject *ufunc, const int *types, PyUFuncGenericFunction now)
{
    const int place = place_of(ufunc), latest = latest_of(ufunc);
    for (int i = latest; i >= 0; i = slots[i].next) {
        if (memcmp(slots[i].types, types, (size_t)ufunc->nargs * sizeof *types) == 0) {
            return &slots[i];
        }
    }
    if (used == LOOP_SLOTS || !is_numpys(now) || (ufuncs[place].ufunc != NULL && ufuncs[place].ufunc != ufunc)) {
        return NULL;
    }
    struct slot *slot = &slots[used];
    slot->nin = ufunc->nin;
    slot->nargs = ufunc->nargs;
    for (int i = 0; i < ufunc->nargs; i++) {
        PyArray_Descr *type = PyArray_DescrFromType(types[i]);
        if (type == NULL) {
            PyErr_Clear();
            return NULL;
        }
        slot->types[i] = types[i];
        slot->sizes[i] = PyDataType_ELSIZE(type);
        Py_DECREF(type);
    }
    if (group_of(slot) < 0) {
        return NULL;
    }
    slot->original = now;
    atomic_store(&slot->threshold, NPY_MAX_INTP);
    slot->ufunc = (PyUFuncObject *)Py_NewRef((PyObject *)ufunc);
    slot->next = latest;
    ufuncs[place].ufunc = ufunc;
    ufuncs[place].slot = used++;
    return slot;
}

int loops_meet(PyUFuncObject *ufunc, uint32_t wanted, int kind, int reduce_kind, enum reduction reduction)
{
    int met = 0;
    for (int i = 0; i < ufunc->ntypes && ufunc->nargs <= LOOP_OPERANDS; i++) {
        int types[LOOP_OPERANDS];
        bool is_wanted = true;
        for (int j = 0; j < ufunc->nargs; j++) {
            types[j] = ufunc->types[i * ufunc->nargs + j];
            is_wanted = is_wanted && types[j] < 32 && (wanted >> types[j] & 1);
        }
        /* NumPy takes the first of equal types */
        const PyUFuncGenericFunction now = ufunc->functions[i];
        struct slot *slot = is_wanted && in_force(ufunc, types) == now ? slot_for(ufunc, types, now) : NULL;
        if (slot == NULL) {
            continue;
        }
        const int group = group_of(slot);
        atomic_store(&slot->class, &classes[kind * LOOP_GROUPS + group]);
        atomic_store(&slot->reduce_class, &classes[reduce_kind * LOOP_GROUPS + group]);
        atomic_store(&slot->reduction, (int)reduction_of(slot, reduction));
        /* Another extension's loop that took the stub's place stays: it may call the stub, and to call it from the
         * stub in turn would never end. */
        if (now == slot->original && PyUFunc_ReplaceLoopBySignature(ufunc, stubs[slot - slots], types, NULL) < 0) {
            continue;
        }
        atomic_store(&slot->in_force, true);
        settle(slot);
        met++;
    }
    return met;
}

int loops_release(void (*released_ufunc)(PyUFuncObject *))
{
    int released = 0;
    if (observer != NULL) {
        return 0; /* a recording goes on until the process ends */
    }
    for (int i = 0; i < used; i++) {
        struct slot *slot = &slots[i];
        if (!atomic_exchange(&slot->in_force, false)) {
            continue;
        }
        settle(slot);
        released_ufunc(slot->ufunc);
        released += in_force(slot->ufunc, slot->types) == stubs[i] &&
                    PyUFunc_ReplaceLoopBySignature(slot->ufunc, slot->original, slot->types, NULL) == 0;
    }
    return released;
}

int loops_slot_for_rows(const PyUFuncObject *ufunc, const int *types)
{
    for (int i = latest_of(ufunc); i >= 0; i = slots[i].next) {
        const struct slot *slot = &slots[i];
        if (memcmp(slot->types, types, (size_t)slot->nin * sizeof *types) == 0) {
            const bool is_ours = atomic_load(&slot->in_force) && in_force(ufunc, slot->types) == stubs[i];
            return is_ours && slot->trial != TRIAL_FAILED ? i : -1;
        }
    }
    return -1;
}

bool loops_cover_rows(int slot, npy_intp elements) { return elements >= rows_from(atomic_load(&slots[slot].class)); }

void loops_tell_rows(int slot, npy_intp elements)
{
    if (observer != NULL && elements >= load_relaxed(&observed_from)) {
        observer(loops_class(slot, false), LAYOUT_ROWS, false, elements);
    }
}

static bool is_among(const char *name, const char *const *names)
{
    while (*names != NULL && strcmp(name, *names) != 0) {
        names++;
    }
    return *names != NULL;
}

bool loops_give_same_bits(int number, const npy_intp *steps)
{
    static const char *const with_number[] = {"add", "subtract", "multiply", "divide", NULL};
    static const char *const by_position[] = {"maximum", "minimum", "fmax", "fmin", "clip", NULL};
    const struct slot *slot = &slots[number];
    const int type = slot->types[slot->nin];
    const char *name = slot->ufunc->name;
    const bool is_exact = PyTypeNum_ISINTEGER(type) || PyTypeNum_ISBOOL(type);
    const bool takes_number = is_exact || (PyTypeNum_ISFLOAT(type) && is_among(name, with_number));
    const bool adds = PyTypeNum_ISCOMPLEX(type) && (slot->nin > 1 || strcmp(name, "square") == 0);
    if (!is_exact && (is_among(name, by_position) || adds)) {
        return false;
    }
    for (int i = 0; i < slot->nargs; i++) {
        if (steps[i] != slot->sizes[i] && !(steps[i] == 0 && i < slot->nin && takes_number)) {
            return false;
        }
    }
    return true;
}

/* Is there a NaN among the elements of an operand? */
static bool operand_has_nan(const struct rows *rows, int operand, bool is_single)
{
    const npy_intp n = rows->strides[0][operand] == 0 ? 1 : rows->shape[0];
    npy_intp index[LOOP_AXES] = {0};
    const char *row = rows->first[operand];
    bool is_met = false;
    for (int axis = 0; !is_met && axis < rows->axes;) {
        is_met = is_single ? has_nan_float((const float *)row, n) : has_nan_double((const double *)row, n);
        for (axis = 1; axis < rows->axes; axis++) {
            const npy_intp stride = rows->strides[axis][operand];
            if (stride != 0 && ++index[axis] < rows->shape[axis]) {
                row += stride;
                break;
            }
            row -= stride * (index[axis] - 1);
            index[axis] = 0;
        }
    }
    return is_met;
}

bool loops_pick_nan(const struct rows *rows)
{
    enum { FEW = 16 }; /* an operand that is broadcast is looked through before the call */
    static const char *const commutative[] = {"add", "multiply", NULL};
    const struct slot *slot = &slots[rows->slot];
    const bool is_single = slot->types[0] == NPY_FLOAT;
    bool picks = PyTypeNum_ISFLOAT(slot->types[0]) && is_among(slot->ufunc->name, commutative);
    for (int i = 0; picks && i < slot->nin; i++) {
        npy_intp own = 1;
        for (int axis = 0; axis < rows->axes; axis++) {
            own *= rows->strides[axis][i] == 0 ? 1 : rows->shape[axis];
        }
        picks = own > rows->elements / FEW || operand_has_nan(rows, i, is_single);
    }
    return picks;
}

int loops_result_type(int slot) { return slots[slot].types[slots[slot].nin]; }

struct rows *loops_begin_rows(struct rows *rows)
{
    struct rows *before = begun_rows;
    begun_rows = rows;
    return before;
}

enum trial loops_trial(int slot) { return slots[slot].trial; }

void loops_note_trial(int slot, bool has_passed) { slots[slot].trial = has_passed ? TRIAL_PASSED : TRIAL_FAILED; }

int loops_class(int slot, bool reduces)
{
    return (int)(atomic_load(reduces ? &slots[slot].reduce_class : &slots[slot].class) - classes);
}

bool loops_rounds(int slot) { return atomic_load(&slots[slot].reduction) == REDUCE_ROUNDED; }

void loops_plan(int class_number, enum layout layout, const struct loop_range *ranges, int count)
{
    struct class *class = &classes[class_number];
    struct plan *plan = &class->plans[layout];
    atomic_store(&plan->count, 0);
    for (int i = 0; i < count; i++) {
        atomic_store(&plan->ranges[i].elements, ranges[i].elements);
        atomic_store(&plan->ranges[i].chunk, ranges[i].chunk < 1 ? 1 : ranges[i].chunk);
        atomic_store(&plan->ranges[i].workers, ranges[i].workers);
        atomic_store(&plan->ranges[i].placement, ranges[i].placement);
    }
    atomic_store(&plan->count, count);
    class->threshold = NPY_MAX_INTP;
    for (int i = 0; i < LAYOUTS; i++) {
        const npy_intp first = atomic_load(&class->plans[i].ranges[0].elements);
        if (atomic_load(&class->plans[i].count) > 0 && first <= class->threshold) {
            class->threshold = first - 1; /* see run_long */
        }
    }
    settle_class(class);
    if (layout == LAYOUT_ROWS) {
        settle_rows();
    }
}

void loops_learn(int class_number, npy_intp elements)
{
    classes[class_number].learns_from = elements;
    settle_class(&classes[class_number]);
    settle_rows();
}

void loops_after_blas(int class_number, npy_intp elements)
{
    atomic_store(&classes[class_number].after_blas, elements);
}

void loops_reductions(bool may_round)
{
    atomic_store(&rounded, may_round);
    for (int i = 0; i < used; i++) {
        settle(&slots[i]);
    }
}

void loops_observe(loop_observer *function, npy_intp elements)
{
    observer = function;
    atomic_store(&observed_from, elements);
    for (int i = 0; i < used; i++) {
        settle(&slots[i]);
    }
}

void loops_wake_from(int64_t nanoseconds) { atomic_store(&series.worth, nanoseconds); }

void loops_cpus(int cpus) { atomic_store(&usable, cpus); }

/* Both relaxed, since each call of BLAS stores them: a loop that reads an old value is computed by fewer or more threads
 * than it might be, and is right. */
void loops_wait_until(int64_t nanoseconds)
{
    atomic_store_explicit(&spinning_until, nanoseconds, memory_order_relaxed);
}

void loops_blas_threads(int threads) { atomic_store_explicit(&blas_threads, threads, memory_order_relaxed); }

/* In a forked child no other thread's call is in flight. */
static void after_fork_in_child(void)
{
    atomic_store(&callers, 0);
    atomic_store(&blas_threads, 0);
}

void loops_start(void)
{
    pthread_atfork(NULL, NULL, after_fork_in_child);
    for (int i = 0; i < LOOP_CLASSES; i++) {
        classes[i].threshold = classes[i].learns_from = NPY_MAX_INTP;
        atomic_store(&classes[i].after_blas, NPY_MAX_INTP);
    }
}

struct loop_counts loops_counts(void)
{
    struct loop_counts counts = {.cut = atomic_load(&cut)};
    for (int i = 0; i < LOOP_REASONS; i++) {
        counts.alone[i] = atomic_load(&alone[i]);
    }
    return counts;
}
