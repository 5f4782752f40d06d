/* See learning.h. Fields of a lesson are atomic, since loops read and write them without the GIL; any mixture of old and new
 * values gives right results, so that the order is relaxed where nothing else is said. */
#include "learning.h"
#include "pool.h"
#include "switch.h"

#include <pthread.h>
#include <stdatomic.h>

enum { LESSONS = 512, SHORT_CALLS = 64 };

/* Shorter loops are left alone: threads take as long to start (LEARNED_FROM_SECONDS in runtime/lesson.py). */
static const int64_t LEAST_NS = 20000;

enum { EMPTY, FILLING, FULL };

/* A call that has ended, for the callback. `state` belongs to the thread that took it from EMPTY to FILLING, later to the
 * reader: acquire, and release at the end. */
struct told {
    atomic_int state;
    unsigned generation;
    int64_t spent;
    npy_intp n;
    bool is_trial, control, disturbed;
};

static struct lesson {
    atomic_uint key; /* 0: free */
    atomic_bool is_over, is_listed;
    atomic_int workers, slices;      /* of every call; workers 1: NumPy's own loop */
    atomic_int trial, trial_slices;  /* of the next call alone; 0: as the others */
    atomic_bool control;             /* the next call runs with one worker */
    atomic_uint pause, short_calls;
    _Atomic(unsigned long long) count;
    _Atomic(long long) nanoseconds;
    struct told ordered, plain; /* the latest trial or control, and the latest other call that was not told yet */
    struct lesson *next;        /* of those with news */
    PyObject *calls;            /* under the GIL; NULL: not decided yet */
} lessons[LESSONS];

static PyObject *decider;
static atomic_bool is_on, is_scheduled;
static atomic_uint generation; /* of lessons: a loop that began under former ones does not count */
static atomic_uint begun, in_progress;
static struct lesson *_Atomic news; /* a stack; its only reader takes all of it */

/* Slot, kind, layout and magnitude of the elements as one word, never 0. */
static unsigned key_of(int slot, bool reduces, enum layout layout, npy_intp n)
{
    const unsigned magnitude = 63u - (unsigned)__builtin_clzll((unsigned long long)n | 1);
    return ((unsigned)slot << 12 | (unsigned)reduces << 11 | (unsigned)layout << 8 | magnitude) + 1;
}

static struct lesson *find(unsigned key)
{
    unsigned place = key * 2654435769u >> 23; /* Fibonacci hashing (Knuth 6.4): the upper 9 bits */
    for (int tries = 0; tries < 32; tries++, place = (place + 1) % LESSONS) {
        unsigned now = load_relaxed(&lessons[place].key);
        if (now == key || (now == 0 && atomic_compare_exchange_strong(&lessons[place].key, &now, key)) || now == key) {
            return &lessons[place];
        }
    }
    return NULL;
}

void learning_begin(struct learning *learning, int slot, bool reduces, enum layout layout, npy_intp n)
{
    *learning = (struct learning){.workers = 1, .slices = 1};
    if (!load_relaxed(&is_on)) {
        return;
    }
    learning->generation = atomic_load_explicit(&generation, memory_order_acquire); /* before its lesson is looked up */
    struct lesson *lesson = find(key_of(slot, reduces, layout, n));
    if (lesson == NULL || load_relaxed(&lesson->is_over)) {
        return;
    }
    learning->lesson = lesson;
    learning->n = n;
    learning->control =
        load_relaxed(&lesson->control) && atomic_exchange_explicit(&lesson->control, false, memory_order_relaxed);
    const bool has_trial = load_relaxed(&lesson->trial) && !learning->control;
    const int trial = has_trial ? atomic_exchange_explicit(&lesson->trial, 0, memory_order_relaxed) : 0;
    learning->is_trial = trial > 0;
    if (trial > 0) {
        learning->workers = trial;
        learning->slices = load_relaxed(&lesson->trial_slices);
    } else if (!learning->control) {
        learning->workers = load_relaxed(&lesson->workers);
        learning->slices = load_relaxed(&lesson->slices);
    }
    learning->workers = learning->workers > 1 ? learning->workers : 1;
    learning->slices = learning->slices > 1 ? learning->slices : 1;
    learning->disturbed = atomic_fetch_add_explicit(&in_progress, 1, memory_order_relaxed) > 0;
    learning->begun = 1 + atomic_fetch_add_explicit(&begun, 1, memory_order_relaxed);
    learning->start = pool_clock();
}

static int tell_news(void *unused);

static void announce(struct lesson *lesson)
{
    if (!atomic_exchange(&lesson->is_listed, true)) {
        lesson->next = atomic_load(&news);
        while (!atomic_compare_exchange_weak(&news, &lesson->next, lesson)) {
        }
    }
    if (!atomic_exchange(&is_scheduled, true) && Py_AddPendingCall(tell_news, NULL) < 0) {
        atomic_store(&is_scheduled, false); /* the interpreter's queue is full: the next call tries again */
    }
}

/* Is this loop too short to report? After many that were, no more is learned; a long call among them, which another
 * program may have disturbed, makes up for half of them. */
static bool is_short(struct lesson *lesson, int64_t spent)
{
    if (spent >= LEAST_NS) {
        const unsigned calls = load_relaxed(&lesson->short_calls);
        atomic_store_explicit(&lesson->short_calls, calls / 2, memory_order_relaxed);
        return false;
    }
    const bool has_choice = load_relaxed(&lesson->workers) > 1;
    if (atomic_fetch_add_explicit(&lesson->short_calls, 1, memory_order_relaxed) >= SHORT_CALLS && !has_choice) {
        atomic_store(&lesson->is_over, true);
    }
    return true;
}

void learning_end(struct learning *learning, bool ran_as_ordered)
{
    struct lesson *lesson = learning->lesson;
    if (lesson == NULL) {
        return;
    }
    const int64_t spent = pool_clock() - learning->start;
    atomic_fetch_sub_explicit(&in_progress, 1, memory_order_relaxed);
    if (learning->generation != load_relaxed(&generation)) {
        return;
    }
    const bool is_ordered = learning->is_trial || learning->control;
    atomic_fetch_add_explicit(&lesson->count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&lesson->nanoseconds, spent, memory_order_relaxed);
    if (!is_ordered) {
        unsigned pause = load_relaxed(&lesson->pause);
        if (is_short(lesson, spent) ||
            (pause > 0 && atomic_compare_exchange_strong(&lesson->pause, &pause, pause - 1))) {
            return;
        }
    }
    struct told *told = is_ordered ? &lesson->ordered : &lesson->plain;
    int empty = EMPTY;
    if (!atomic_compare_exchange_strong(&told->state, &empty, FILLING)) {
        if (empty == FULL) {
            announce(lesson); /* not told yet; in case the interpreter's queue was full, or an exception ended the telling */
        }
        return;
    }
    told->generation = learning->generation;
    told->spent = spent;
    told->n = learning->n;
    told->is_trial = learning->is_trial;
    told->control = learning->control;
    told->disturbed = learning->disturbed || !ran_as_ordered || learning->begun != load_relaxed(&begun);
    atomic_store_explicit(&told->state, FULL, memory_order_release);
    announce(lesson);
}

/* --- under the GIL ------------------------------------------------------------------------------------------------ */

/* Ask for the Calls of a lesson. Returns whether there are some; an exception may be set if not. */
static bool decide(struct lesson *lesson, npy_intp n)
{
    const unsigned key = atomic_load(&lesson->key) - 1, before = atomic_load(&generation);
    PyObject *callback = Py_NewRef(decider);
    const int slot = (int)(key >> 12);
    PyObject *calls = PyObject_CallFunction(callback, "iiin", loops_class(slot, key >> 11 & 1), (int)loops_rounds(slot),
                                            (int)(key >> 8 & 7), (Py_ssize_t)n);
    Py_DECREF(callback);
    if (calls == NULL) {
        cleared_exhaustion(); /* it is asked for again */
    } else if (before != atomic_load(&generation)) { /* another thread has begun to learn anew, or has ended it */
        Py_DECREF(calls);
        return false;
    } else if (!is_calls(calls) || lesson->calls != NULL) {
        Py_DECREF(calls);
        atomic_store(&lesson->is_over, lesson->calls == NULL);
    } else {
        lesson->calls = calls;
    }
    return lesson->calls != NULL;
}

/* Tell of a call, and take over what is ordered. Returns false, with an exception set, if one was raised. */
static bool tell(struct lesson *lesson, struct told *told)
{
    if (atomic_load_explicit(&told->state, memory_order_acquire) != FULL) {
        return true;
    }
    const struct told call = {.generation = told->generation, .spent = told->spent, .n = told->n,
                              .is_trial = told->is_trial, .control = told->control, .disturbed = told->disturbed};
    atomic_store_explicit(&told->state, EMPTY, memory_order_release);
    if (decider == NULL || call.generation != atomic_load(&generation)) {
        return true;
    }
    if (lesson->calls == NULL && !decide(lesson, call.n)) {
        return !PyErr_Occurred();
    }
    Calls *calls = (Calls *)Py_NewRef(lesson->calls);
    calls->count = atomic_load(&lesson->count);
    calls->nanoseconds = atomic_load(&lesson->nanoseconds);
    calls->elements = call.n;
    calls->pause = 0;
    const bool well = (!calls->learns && calls->threads == 0) ||
                      switch_tell(calls, call.spent, call.control, call.is_trial, call.disturbed);
    if (lesson->calls == (PyObject *)calls) {
        atomic_store(&lesson->workers, calls->threads);
        atomic_store(&lesson->slices, calls->slices);
        if (calls->trial) { /* else one that was ordered before may still be waiting */
            atomic_store(&lesson->trial_slices, calls->trial_slices);
            atomic_store(&lesson->trial, calls->trial);
        }
        if (calls->control) {
            atomic_store(&lesson->control, true);
        }
        atomic_store(&lesson->pause, calls->pause);
        atomic_store(&lesson->is_over, !calls->learns && calls->threads == 0);
        calls->trial = 0, calls->control = 0;
    }
    Py_DECREF((PyObject *)calls);
    return well;
}

static int tell_news(void *unused)
{
    atomic_store(&is_scheduled, false);
    if (!is_main_interpreter()) { /* Python 3.11 runs it where the call was; a later one of the main interpreter tries again */
        return 0;
    }
    bool well = true;
    for (struct lesson *lesson = atomic_exchange(&news, NULL), *next; lesson != NULL; lesson = next) {
        next = lesson->next;
        atomic_store(&lesson->is_listed, false);
        /* the trial first: a call that began before it may have ended after it */
        well = well && tell(lesson, &lesson->ordered) && tell(lesson, &lesson->plain);
    }
    return well ? 0 : -1;
}

/* Begin a generation: what calls in flight will tell is passed over. */
static void begin_generation(void)
{
    atomic_fetch_add(&generation, 1);
    for (int i = 0; i < LESSONS; i++) {
        atomic_store(&lessons[i].trial, 0);
        atomic_store(&lessons[i].control, false);
        atomic_store(&lessons[i].count, 0);
    }
}

/* No other thread is left that could hold a lesson's news, or be in the middle of the list. */
static void after_fork_in_child(void)
{
    begin_generation();
    atomic_store(&in_progress, 0);
    atomic_store(&news, NULL);
    atomic_store(&is_scheduled, false);
    for (int i = 0; i < LESSONS; i++) {
        atomic_store(&lessons[i].is_listed, false);
        atomic_store(&lessons[i].ordered.state, EMPTY);
        atomic_store(&lessons[i].plain.state, EMPTY);
    }
}

void learning_decide(PyObject *decide)
{
    PyObject *before = decider;
    atomic_store(&is_on, false);
    begin_generation(); /* the list of news and its states stay: threads that end a loop may be writing to them */
    Py_XINCREF(decide);
    decider = decide;
    for (int i = 0; i < LESSONS; i++) {
        struct lesson *lesson = &lessons[i];
        PyObject *calls = lesson->calls;
        lesson->calls = NULL;
        atomic_store(&lesson->workers, 1);
        atomic_store(&lesson->pause, 0);
        atomic_store(&lesson->short_calls, 0);
        atomic_store(&lesson->nanoseconds, 0);
        atomic_store(&lesson->is_over, false);
        atomic_store(&lesson->key, 0);
        Py_XDECREF(calls);
    }
    atomic_store(&is_on, decide != NULL);
    Py_XDECREF(before);
}

void learning_start(void) { pthread_atfork(NULL, NULL, after_fork_in_child); }
