/* See switch.h. */
#include "switch.h"
#include "loops.h"
#include "pool.h"

#include <pthread.h>
#include <stddef.h>
#include <structmember.h>

static struct flight *first; /* calls in flight, the latest first */
static struct flight *spare; /* linked by `next`, to be used again */
static int in_flight;
static Switch *switches; /* of all libraries, each held by one reference */
static PyObject *guard;
static int64_t long_ns, learn_ns, spin_ns;
static PyTypeObject *calls_type, *switch_type;

bool cleared_exhaustion(void)
{
    if (PyErr_ExceptionMatches(PyExc_RecursionError) || PyErr_ExceptionMatches(PyExc_MemoryError)) {
        PyErr_Clear();
        return true;
    }
    return false;
}

void switch_guard(PyObject *callback, int64_t long_nanoseconds, int64_t learn_nanoseconds)
{
    PyObject *before = guard;
    Py_XINCREF(callback);
    guard = callback;
    long_ns = long_nanoseconds;
    learn_ns = learn_nanoseconds;
    Py_XDECREF(before);
}

void switch_spin(int64_t nanoseconds) { spin_ns = nanoseconds; }

/* --- one count for the process ------------------------------------------------------------------------------ */

static void change(Switch *self, int target)
{
    const int now = self->get();
    if (target < 1 || self->aside || (now != self->placed[0] && now != self->placed[1])) {
        return;
    }
    self->put(target);
    const int reached = target < now ? target : self->get(); /* it may grow less than it was asked to */
    self->placed[0] = self->placed[1] = self->set = reached;
}

/* Set this count, if the library does not have it. */
static void bring(Switch *self, int count)
{
    if (count != self->set && !self->per_thread) {
        change(self, count);
    }
}

/* Give this library, or all of them, the one count for the calls in flight, or their counts at rest. */
static void settle(Switch *only)
{
    int largest = 0;
    for (const struct flight *each = first; each != NULL; each = each->next) {
        largest = each->wanted > largest ? each->wanted : largest;
    }
    for (Switch *self = only ? only : switches; self != NULL; self = only ? NULL : self->next) {
        int target = largest;
        if (in_flight > 1) {
            const int share = self->usable / in_flight > 1 ? self->usable / in_flight : 1;
            target = share < largest ? share : largest;
        }
        bring(self, in_flight ? target : self->rest);
    }
}

/* --- a count for each thread ---------------------------------------------------------------------------------- */

static void undo(struct flight *flight)
{
    if (flight->placed && flight->through->get() == flight->placed) {
        flight->through->put(flight->undo);
    }
    flight->placed = 0;
}

static void set_here(struct flight *flight, int threads)
{
    Switch *self = flight->through;
    const int now = self->get();
    int left = self->usable;
    for (const struct flight *each = first; each != NULL; each = each->next) {
        left -= each->thread == flight->thread ? 0 : each->wanted;
    }
    int target = threads ? threads : now;
    target = target < left ? target : left;
    target = target > 1 ? target : 1;
    if (!self->aside && now == self->rest && target != now) {
        const int previous = self->put(target);
        flight->undo = self->returns_previous ? previous : now;
        flight->placed = self->get();
    }
    flight->wanted = target;
}

/* --- calls ------------------------------------------------------------------------------------------------------ */

static void forget_flight(const struct flight *flight)
{
    *(flight->previous ? &flight->previous->next : &first) = flight->next;
    if (flight->next != NULL) {
        flight->next->previous = flight->previous;
    }
    in_flight--;
}

/* In a forked child only the calls of the thread that forked are still in flight. This holds for forks of C code too, which may come
 * while another thread is linking or unlinking a call: `next` leads through all others at any moment, `previous` may not. */
static void forget_other_threads(void)
{
    const uintptr_t here = (uintptr_t)pthread_self();
    struct flight *previous = NULL, **place = &first;
    in_flight = 0;
    for (struct flight *each = first; each != NULL; each = each->next) {
        if (each->thread == here) {
            each->previous = previous;
            *place = previous = each;
            place = &each->next;
            in_flight++;
        }
    }
    *place = NULL;
}

static struct flight *new_flight(void)
{
    struct flight *flight = spare;
    if (flight == NULL) {
        return PyMem_Malloc(sizeof *flight);
    }
    spare = flight->next;
    return flight;
}

/* Ends what a flight holds, which is in no list any more. */
static void free_flight(struct flight *flight)
{
    Calls *calls = flight->calls;
    Switch *through = flight->through;
    flight->next = spare;
    spare = flight;
    Py_DECREF((PyObject *)calls);
    Py_DECREF((PyObject *)through);
}

struct flight *switch_begin(Switch *through, Calls *calls)
{
    struct flight *flight = new_flight();
    if (flight == NULL) {
        return NULL;
    }
    const bool chosen = calls->threads != 0;
    *flight = (struct flight){
        .next = first,
        .through = through,
        .calls = calls,
        .thread = (uintptr_t)pthread_self(),
        .timed = guard != NULL && (chosen || calls->learns),
        .control = guard != NULL && chosen && calls->control,
        .trial = guard != NULL && calls->learns ? calls->trial : 0,
        .alone = in_flight == 0,
    };
    const int threads = flight->control ? through->control : flight->trial ? flight->trial : calls->threads;
    Py_INCREF((PyObject *)calls);
    Py_INCREF((PyObject *)through);
    if (flight->control) {
        calls->control = 0;
    }
    if (flight->trial) {
        calls->trial = 0;
    }
    if (through->per_thread) {
        set_here(flight, threads);
    } else {
        flight->wanted = threads ? threads : through->rest ? through->rest : 1;
    }
    if (first != NULL) {
        first->previous = flight;
    }
    first = flight;
    in_flight++;
    if (in_flight > 1) {
        for (struct flight *each = first; each != NULL; each = each->next) {
            each->alone = false;
        }
        settle(NULL);
    } else if (flight->wanted != through->set) {
        settle(through);
    }
    if (spin_ns > 0) {
        loops_blas_threads(in_flight > 1 ? through->usable : flight->wanted);
    }
    if (flight->timed) {
        flight->start = pool_clock();
    }
    return flight;
}

bool is_main_interpreter(void) { return PyInterpreterState_GetID(PyInterpreterState_Get()) == 0; }

bool switch_tell(Calls *calls, int64_t spent, bool control, int trial, bool disturbed)
{
    PyObject *callback = guard;
    if (callback == NULL || !is_main_interpreter()) {
        return true;
    }
    Py_INCREF(callback);
    const double seconds = (disturbed ? -1e-9 : 1e-9) * (double)(spent > 0 ? spent : 1);
    PyObject *answer =
        PyObject_CallFunction(callback, "Odii", (PyObject *)calls, seconds, (int)control, trial);
    const bool well = answer != NULL || cleared_exhaustion();
    Py_XDECREF(answer);
    Py_DECREF(callback);
    return well;
}

/* `raised`: the call ended with an exception, and its time does not count.
 *
 * Returns false, with an exception set, if the live guard or a signal handler in it raised one. */
static bool end(struct flight *flight, bool raised)
{
    const int64_t now = flight->timed || (spin_ns > 0 && flight->wanted > 1) ? pool_clock() : 0;
    Switch *through = flight->through;
    Calls *calls = flight->calls;
    forget_flight(flight);
    if (through->per_thread) {
        undo(flight);
    }
    if (in_flight || through->set != through->rest || (switches != NULL && switches->next != NULL)) {
        settle(NULL);
    }
    if (spin_ns > 0) {
        loops_blas_threads(in_flight ? through->usable : 0);
        if (flight->wanted > 1) {
            loops_wait_until(now + spin_ns);
        }
    }
    const int64_t spent = now - flight->start;
    bool is_told = false;
    if (flight->timed) {
        calls->nanoseconds += spent;
        const bool is_ordered = flight->control || flight->trial;
        const bool is_long =
            calls->learns ? spent >= learn_ns : calls->threads && spent >= long_ns;
        is_told = is_ordered || (is_long && calls->pause == 0);
        calls->pause -= is_long && !is_ordered && calls->pause > 0;
    }
    const bool well = !is_told || switch_tell(calls, spent, flight->control, flight->trial,
                                              raised || (calls->learns && !flight->alone));
    free_flight(flight);
    return well;
}

PyObject *switch_return(struct flight *flight, PyObject *result)
{
    PyObject *type, *value, *trace;
    if (flight == NULL) {
        return result;
    }
    if (result != NULL) {
        if (!end(flight, false)) {
            Py_CLEAR(result);
        }
        return result;
    }
    PyErr_Fetch(&type, &value, &trace);
    if (!end(flight, true)) {
        PyErr_Clear();
    }
    PyErr_Restore(type, value, trace);
    return NULL;
}

/* --- Calls, as Python sees them -------------------------------------------------------------------------------- */

static int calls_init(PyObject *object, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"operation", "dtype", "sizes", "threads", "covered", NULL};
    Calls *self = (Calls *)object;
    PyObject *operation, *dtype, *sizes, *threads = Py_None;
    int covered = 0;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOO|$Op", names, &operation, &dtype, &sizes, &threads,
                                     &covered)) {
        return -1;
    }
    long count = threads == Py_None ? 0 : PyLong_AsLong(threads);
    if (PyErr_Occurred()) {
        return -1;
    }
    if (count < 0 || count > POOL_LARGEST) {
        count = 0; /* no library takes as many */
    }
    PyObject *before[] = {self->operation, self->dtype, self->sizes};
    Py_INCREF(operation), Py_INCREF(dtype), Py_INCREF(sizes);
    self->operation = operation, self->dtype = dtype, self->sizes = sizes;
    self->threads = (int)count;
    self->covered = (char)covered;
    self->slices = 1;
    self->elements = 1;
    for (int i = 0; i < 3; i++) {
        Py_XDECREF(before[i]);
    }
    return 0;
}

static void calls_dealloc(PyObject *object)
{
    Calls *self = (Calls *)object;
    PyTypeObject *type = Py_TYPE(object);
    Py_XDECREF(self->operation);
    Py_XDECREF(self->dtype);
    Py_XDECREF(self->sizes);
    Py_XDECREF(self->watched);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF((PyObject *)type);
}

static PyObject *calls_threads(PyObject *self, void *unused)
{
    const int threads = ((Calls *)self)->threads;
    return threads ? PyLong_FromLong(threads) : Py_NewRef(Py_None);
}

static int calls_set_threads(PyObject *self, PyObject *value, void *unused)
{
    const long threads = value == NULL || value == Py_None ? 0 : PyLong_AsLong(value);
    if (PyErr_Occurred()) {
        return -1;
    }
    ((Calls *)self)->threads = threads < 0 || threads > POOL_LARGEST ? 0 : (int)threads;
    return 0;
}

static PyMemberDef calls_members[] = {
    {"operation", T_OBJECT, offsetof(Calls, operation), READONLY,
     "A name of the catalogue; \"\" for calls that no entry of a profile could cover."},
    {"dtype", T_OBJECT, offsetof(Calls, dtype), READONLY, NULL},
    {"sizes", T_OBJECT, offsetof(Calls, sizes), READONLY, NULL},
    {"watched", T_OBJECT, offsetof(Calls, watched), 0, "What the live guard knows about them."},
    {"covered", T_BOOL, offsetof(Calls, covered), READONLY, "Does an entry of a profile cover them?"},
    {"control", T_BOOL, offsetof(Calls, control), 0, "Shall the next one run with the default?"},
    {"learns", T_BOOL, offsetof(Calls, learns), 0, "Are they reported to the guard without a count of their own?"},
    {"trial", T_INT, offsetof(Calls, trial), 0, "Threads of the next one alone; 0: as the others."},
    {"slices", T_INT, offsetof(Calls, slices), 0, "Of a loop: slices for each of the threads."},
    {"trial_slices", T_INT, offsetof(Calls, trial_slices), 0, "The same of the next one alone."},
    {"elements", T_LONGLONG, offsetof(Calls, elements), 0, "Of the loop that is reported; 1 for linear algebra."},
    {"pause", T_UINT, offsetof(Calls, pause), 0, "Number of long ones that are not reported to the guard."},
    {"count", T_ULONGLONG, offsetof(Calls, count), 0, "So far."},
    {"nanoseconds", T_LONGLONG, offsetof(Calls, nanoseconds), 0, "Of the calls that were timed."},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef calls_getset[] = {
    {"threads", calls_threads, calls_set_threads,
     "BLAS threads, or workers of a loop; None: as at rest.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot calls_slots[] = {
    {Py_tp_doc, "All calls of one operation at one size: what they get, and how many there were."},
    {Py_tp_init, calls_init},
    {Py_tp_dealloc, calls_dealloc},
    {Py_tp_members, calls_members},
    {Py_tp_getset, calls_getset},
    {0, NULL},
};

static PyType_Spec calls_spec = {
    .name = "autotune.native._core.Calls",
    .basicsize = sizeof(Calls),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = calls_slots,
};

/* --- Switch, as Python sees it ------------------------------------------------------------------------------------ */

static PyObject *switch_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"get", "put", "usable_cpus", "per_thread", "returns_previous", NULL};
    unsigned long long get, put;
    int usable, per_thread = 0, returns_previous = 0;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "KKi|$pp", names, &get, &put, &usable, &per_thread,
                                     &returns_previous)) {
        return NULL;
    }
    if (get == 0 || put == 0 || usable < 1) {
        PyErr_SetString(PyExc_ValueError, "A switch needs the addresses of two functions, and a CPU.");
        return NULL;
    }
    Switch *self = (Switch *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (self != NULL) {
        self->get = (int (*)(void))(uintptr_t)get;
        self->put = (int (*)(intptr_t))(uintptr_t)put;
        self->usable = usable;
        self->per_thread = (char)per_thread;
        self->returns_previous = (char)returns_previous;
        self->aside = 1;
        self->next = switches;
        switches = self;
        Py_INCREF((PyObject *)self);
    }
    return (PyObject *)self;
}

static void switch_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF((PyObject *)type);
}

/* A scope that begins in this thread finds the count as at rest. */
static void undo_here(const Switch *self)
{
    const uintptr_t here = (uintptr_t)pthread_self();
    for (struct flight *each = first; each != NULL; each = each->next) {
        if (each->through == self && each->thread == here) {
            undo(each);
        }
    }
}

static PyObject *switch_step_aside(PyObject *object, PyObject *unused)
{
    Switch *self = (Switch *)object;
    if (self->per_thread) {
        undo_here(self);
    } else {
        bring(self, self->rest);
    }
    self->aside = 1;
    Py_RETURN_NONE;
}

static PyObject *switch_come_back(PyObject *object, PyObject *unused)
{
    Switch *self = (Switch *)object;
    self->aside = 0;
    if (self->rest == 0) {
        const int now = self->get(); /* BLIS says -1 if its count was never set */
        self->rest = self->set = now > 1 ? now : 1;
        self->placed[0] = self->placed[1] = now;
    }
    Py_RETURN_NONE;
}

static PyObject *switch_stop(PyObject *object, PyObject *unused)
{
    PyObject *done = switch_step_aside(object, unused);
    Switch *self = (Switch *)object;
    for (struct flight *each = first, *next; each != NULL; each = next) {
        next = each->next;
        if (each->through == self && each->is_python) {
            forget_flight(each);
            free_flight(each); /* the caller holds another reference to the switch */
            next = first; /* the destructors of its Calls may have ended others */
        }
    }
    for (Switch **place = &switches; *place != NULL; place = &(*place)->next) {
        if (*place == (Switch *)object) {
            *place = (*place)->next;
            Py_DECREF(object); /* the caller holds another */
            break;
        }
    }
    return done;
}

static PyObject *switch_forget(PyObject *object, PyObject *unused)
{
    Switch *self = (Switch *)object;
    forget_other_threads();
    if (self->per_thread) {
        undo_here(self);
    } else {
        bring(self, self->rest);
    }
    Py_RETURN_NONE;
}

/* A flight of a caller that is Python. */
static PyObject *switch_python_begin(PyObject *object, PyObject *calls)
{
    if (!is_calls(calls)) {
        PyErr_SetString(PyExc_TypeError, "What begins is Calls.");
        return NULL;
    }
    struct flight *flight = switch_begin((Switch *)object, (Calls *)calls);
    if (flight == NULL) {
        return PyErr_NoMemory();
    }
    flight->is_python = true;
    Py_RETURN_NONE;
}

static PyObject *switch_python_end(PyObject *object, PyObject *unused)
{
    const uintptr_t here = (uintptr_t)pthread_self();
    struct flight *flight = first;
    while (flight != NULL &&
           !(flight->is_python && flight->thread == here && flight->through == (Switch *)object)) {
        flight = flight->next;
    }
    if (flight == NULL) {
        Py_RETURN_NONE; /* forgotten by a forked child */
    }
    return switch_return(flight, Py_NewRef(Py_None));
}

static PyObject *switch_rest(PyObject *self, void *unused)
{
    const int rest = ((Switch *)self)->rest;
    return rest ? PyLong_FromLong(rest) : Py_NewRef(Py_None);
}

static PyMethodDef switch_methods[] = {
    {"begin", switch_python_begin, METH_O, "Begin one of these calls in this thread."},
    {"end", switch_python_end, METH_NOARGS, "End the latest call that this thread began here."},
    {"step_aside", switch_step_aside, METH_NOARGS, "Leave the count, as it was at rest, to scopes."},
    {"come_back", switch_come_back, METH_NOARGS, "Switch again: the last scope has ended."},
    {"stop", switch_stop, METH_NOARGS, "Put back the count at rest, for good."},
    {"forget", switch_forget, METH_NOARGS, "Start anew in a forked child, where no other thread's call is in flight."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef switch_members[] = {
    {"control", T_INT, offsetof(Switch, control), 0, "Threads of a live control; 0: as at rest."},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef switch_getset[] = {
    {"rest", switch_rest, NULL, "The count while no call is in flight; None: not known yet.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot switch_slots[] = {
    {Py_tp_doc, "The count of a library for the calls that are in flight."},
    {Py_tp_new, switch_new},
    {Py_tp_dealloc, switch_dealloc},
    {Py_tp_methods, switch_methods},
    {Py_tp_members, switch_members},
    {Py_tp_getset, switch_getset},
    {0, NULL},
};

static PyType_Spec switch_spec = {
    .name = "autotune.native._core.Switch",
    .basicsize = sizeof(Switch),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = switch_slots,
};

bool is_calls(PyObject *object) { return Py_TYPE(object) == calls_type; }

bool is_switch(PyObject *object) { return Py_TYPE(object) == switch_type; }

int switch_types(PyObject *module)
{
    pthread_atfork(NULL, NULL, forget_other_threads);
    calls_type = (PyTypeObject *)PyType_FromSpec(&calls_spec);
    switch_type = (PyTypeObject *)PyType_FromSpec(&switch_spec);
    if (calls_type == NULL || switch_type == NULL) {
        return -1;
    }
    /* one reference stays here: objects of these types may outlive the module */
    return PyModule_AddObjectRef(module, "Calls", (PyObject *)calls_type) < 0 ||
                   PyModule_AddObjectRef(module, "Switch", (PyObject *)switch_type) < 0
               ? -1
               : 0;
}
