/* What Python sees of the core: autotune.native._core. Its callers are autotune.native and autotune.intercept. */
#define AUTOTUNE_IMPORTS_NUMPY
#include "calls.h"
#include "learning.h"
#include "loops.h"
#include "met.h"
#include "pool.h"
#include "recorder.h"
#include "rows.h"
#include "switch.h"

#include <errno.h>

/* --- the pool ------------------------------------------------------------------------------------------------------ */

static PyObject *configure(PyObject *module, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"cpus", "spin_ns", NULL};
    int cpus;
    long long spin = 50000;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "i|$L", names, &cpus, &spin)) {
        return NULL;
    }
    pool_limit(cpus);
    pool_spin(spin);
    loops_cpus(cpus);
    Py_RETURN_NONE;
}

static PyObject *place(PyObject *module, PyObject *cpus)
{
    int numbers[POOL_CPUS], count = 0;
    PyObject *iterator = PyObject_GetIter(cpus), *item;
    if (iterator == NULL) {
        return NULL;
    }
    while (count < POOL_CPUS && (item = PyIter_Next(iterator)) != NULL) {
        const long number = PyLong_AsLong(item);
        Py_DECREF(item);
        if (PyErr_Occurred()) {
            break;
        }
        numbers[count++] = number < 0 || number >= POOL_CPUS ? -1 : (int)number;
    }
    Py_DECREF(iterator);
    if (PyErr_Occurred()) {
        return NULL;
    }
    const int placement = pool_place(numbers, count);
    return PyLong_FromLong(placement < 0 ? 0 : placement);
}

static PyObject *stop(PyObject *module, PyObject *for_good)
{
    const int truth = PyObject_IsTrue(for_good);
    if (truth < 0) {
        return NULL;
    }
    if (truth) {
        learning_decide(NULL); /* loops of daemon threads may end when there is no interpreter to be told */
    }
    /* without the GIL: a thread that has the pool may need it to come to an end */
    Py_BEGIN_ALLOW_THREADS
    pool_stop(truth);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *status(PyObject *module, PyObject *unused)
{
    const struct pool_status pool = pool_status();
    const struct loop_counts loops = loops_counts();
    const unsigned long long *counts = loops.alone;
    return Py_BuildValue("{s:i,s:i,s:i,s:N,s:K,s:{s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K}}", "limit", pool.limit, "threads",
                         pool.threads, "refusal", pool.refusal, "stopped", PyBool_FromLong(pool.stopped), "cut", loops.cut,
                         "alone", "unplanned", counts[LOOP_IS_UNPLANNED], "short", counts[LOOP_IS_SHORT], "overlapping",
                         counts[LOOP_OVERLAPS], "nested", counts[LOOP_IS_NESTED], "waiting", counts[LOOP_WAITS], "crowded",
                         counts[LOOP_IS_CROWDED], "isolated", counts[LOOP_IS_ISOLATED], "refused", counts[LOOP_IS_REFUSED]);
}

static PyObject *alone(PyObject *module, PyObject *value)
{
    const int truth = PyObject_IsTrue(value);
    return truth < 0 ? NULL : PyBool_FromLong(pool_alone(truth));
}

/* --- whole-array loops --------------------------------------------------------------------------------------------- */

static PyObject *meet_loops(PyObject *module, PyObject *args)
{
    PyObject *ufunc;
    const char *characters;
    int kind, reduce_kind, reduction;
    uint32_t types = 0;
    if (!PyArg_ParseTuple(args, "Osiii", &ufunc, &characters, &kind, &reduce_kind, &reduction)) {
        return NULL;
    }
    if (!PyObject_TypeCheck(ufunc, &PyUFunc_Type)) {
        PyErr_SetString(PyExc_TypeError, "Loops are those of a ufunc.");
        return NULL;
    }
    const int kinds = LOOP_CLASSES / LOOP_GROUPS;
    if (((PyUFuncObject *)ufunc)->core_enabled || kind < 0 || kind >= kinds || reduce_kind < 0 ||
        reduce_kind >= kinds || reduction < REDUCE_NEVER || reduction > REDUCE_ALL) {
        PyErr_SetString(PyExc_ValueError, "This ufunc has no such loops, or the core no such class.");
        return NULL;
    }
    for (; *characters != '\0'; characters++) {
        PyArray_Descr *descriptor = PyArray_DescrFromType(*characters);
        if (descriptor == NULL) {
            return NULL;
        }
        const int type = descriptor->type_num;
        Py_DECREF(descriptor);
        if (!PyTypeNum_ISBOOL(type) && !PyTypeNum_ISNUMBER(type)) {
            PyErr_SetString(PyExc_ValueError, "Loops of objects, times and user types keep the GIL.");
            return NULL;
        }
        types |= UINT32_C(1) << type;
    }
    const int met = loops_meet((PyUFuncObject *)ufunc, types, kind, reduce_kind, (enum reduction)reduction);
    if (met > 0) {
        rows_meet((PyUFuncObject *)ufunc, rows_call);
    }
    return PyLong_FromLong(met);
}

static PyObject *release_loops(PyObject *module, PyObject *unused)
{
    return PyLong_FromLong(loops_release(rows_release));
}

static PyObject *plan(PyObject *module, PyObject *args)
{
    struct loop_range ranges[LOOP_RANGES];
    PyObject *rows;
    int class_number, layout;
    if (!PyArg_ParseTuple(args, "iiO!", &class_number, &layout, &PyList_Type, &rows)) {
        return NULL;
    }
    const Py_ssize_t count = PyList_Size(rows);
    if (class_number < 0 || class_number >= LOOP_CLASSES || layout < 0 || layout >= LAYOUTS || count > LOOP_RANGES) {
        PyErr_SetString(PyExc_ValueError, "No class or layout has this number, or as many ranges.");
        return NULL;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_ssize_t elements, chunk;
        if (!PyArg_ParseTuple(PyList_GetItem(rows, i), "nnii", &elements, &chunk, &ranges[i].workers,
                              &ranges[i].placement)) {
            return NULL;
        }
        if (elements < 1 || chunk < 1 || ranges[i].workers < 1 || ranges[i].placement < 0 ||
            ranges[i].placement >= POOL_PLACEMENTS || (i > 0 && elements <= ranges[i - 1].elements)) {
            PyErr_SetString(PyExc_ValueError, "Ranges ascend; sizes, chunks and workers begin at one.");
            return NULL;
        }
        ranges[i].elements = elements;
        ranges[i].chunk = chunk;
    }
    loops_plan(class_number, (enum layout)layout, ranges, (int)count);
    Py_RETURN_NONE;
}

/* Sets a threshold of a class of loops, in elements, from (class, elements). */
static PyObject *set_threshold(PyObject *args, void (*set)(int class_number, npy_intp elements))
{
    int class_number;
    Py_ssize_t elements;
    if (!PyArg_ParseTuple(args, "in", &class_number, &elements)) {
        return NULL;
    }
    if (class_number < 0 || class_number >= LOOP_CLASSES || elements < 1) {
        PyErr_SetString(PyExc_ValueError, "No class has this number; sizes begin at one.");
        return NULL;
    }
    set(class_number, elements);
    Py_RETURN_NONE;
}

static PyObject *after_blas(PyObject *module, PyObject *args)
{
    return set_threshold(args, loops_after_blas);
}

static PyObject *learn_from(PyObject *module, PyObject *args)
{
    return set_threshold(args, loops_learn);
}

static PyObject *learn_loops(PyObject *module, PyObject *decide)
{
    if (decide != Py_None && !PyCallable_Check(decide)) {
        PyErr_SetString(PyExc_TypeError, "Lessons are decided by a function, or there are none.");
        return NULL;
    }
    learning_decide(decide == Py_None ? NULL : decide);
    Py_RETURN_NONE;
}

static PyObject *reductions(PyObject *module, PyObject *value)
{
    const int truth = PyObject_IsTrue(value);
    if (truth < 0) {
        return NULL;
    }
    loops_reductions(truth);
    Py_RETURN_NONE;
}

/* --- calls ---------------------------------------------------------------------------------------------------------- */

static PyObject *meet_call(PyObject *module, PyObject *args)
{
    PyObject *target, *decide, *through;
    if (!PyArg_ParseTuple(args, "OOO", &target, &decide, &through)) {
        return NULL;
    }
    if (!PyCallable_Check(decide) || (through != Py_None && !is_switch(through))) {
        PyErr_SetString(PyExc_TypeError, "Calls are met with a function, and a Switch or None.");
        return NULL;
    }
    const int number = calls_meet(target, decide, through == Py_None ? NULL : through);
    return number < 0 ? NULL : PyLong_FromLong(number);
}

static PyObject *release_call(PyObject *module, PyObject *number)
{
    const long hook = PyLong_AsLong(number);
    if (hook < 0 || hook >= calls_used()) {
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "No call has this number.");
    }
    return PyBool_FromLong(calls_release((int)hook));
}

/* At least none, and at most a century, which NaN is taken for: int64_t holds all of it. */
static int64_t nanoseconds(double seconds)
{
    const double century = 3e9;
    return seconds <= 0 ? 0 : (int64_t)((seconds < century ? seconds : century) * 1e9);
}

static PyObject *watch_calls(PyObject *module, PyObject *args)
{
    PyObject *callback;
    double seconds = 0, learning = 0;
    if (!PyArg_ParseTuple(args, "O|dd", &callback, &seconds, &learning)) {
        return NULL;
    }
    switch_guard(callback == Py_None ? NULL : callback, nanoseconds(seconds), nanoseconds(learning));
    Py_RETURN_NONE;
}

static PyObject *blas_spins(PyObject *module, PyObject *value)
{
    const double seconds = PyFloat_AsDouble(value);
    if (PyErr_Occurred()) {
        return NULL;
    }
    switch_spin(nanoseconds(seconds));
    if (seconds <= 0) {
        loops_wait_until(0);
        loops_blas_threads(0);
    }
    Py_RETURN_NONE;
}

static PyObject *wake_from(PyObject *module, PyObject *value)
{
    const double seconds = PyFloat_AsDouble(value);
    if (PyErr_Occurred()) {
        return NULL;
    }
    loops_wake_from(nanoseconds(seconds));
    Py_RETURN_NONE;
}

/* --- recording ------------------------------------------------------------------------------------------------------ */

static PyObject *record(PyObject *module, PyObject *args)
{
    const char *path;
    if (!PyArg_ParseTuple(args, "s", &path)) {
        return NULL;
    }
    errno = recorder_open(path);
    if (errno != 0) {
        return PyErr_SetFromErrnoWithFilename(PyExc_OSError, path);
    }
    Py_RETURN_NONE;
}

static PyObject *record_ends(PyObject *module, PyObject *unused)
{
    recorder_close();
    Py_RETURN_NONE;
}

static PyObject *record_function(PyObject *module, PyObject *args)
{
    PyObject *target;
    const char *name;
    int kind;
    if (!PyArg_ParseTuple(args, "OsC", &target, &name, &kind)) {
        return NULL;
    }
    const bool is_ufunc = PyObject_TypeCheck(target, &PyUFunc_Type);
    return PyBool_FromLong(is_ufunc ? recorder_meet_ufunc(target) : recorder_meet_function(target, name, (char)kind));
}

static PyObject *record_loops(PyObject *module, PyObject *elements)
{
    const Py_ssize_t least = PyLong_AsSsize_t(elements);
    if (PyErr_Occurred()) {
        return NULL;
    }
    loops_observe(recorder_see_loop, least);
    Py_RETURN_NONE;
}

static PyObject *record_indexing(PyObject *module, PyObject *unused)
{
    return PyBool_FromLong(recorder_meet_indexing());
}

static PyObject *record_calls(PyObject *module, PyObject *args)
{
    PyObject *calls;
    const char *name, *types;
    long long sizes[4] = {-1, -1, -1, -1};
    if (!PyArg_ParseTuple(args, "Oss|LLLL", &calls, &name, &types, sizes, sizes + 1, sizes + 2, sizes + 3)) {
        return NULL;
    }
    if (!is_calls(calls)) {
        PyErr_SetString(PyExc_TypeError, "What is recorded is Calls.");
        return NULL;
    }
    const int64_t key[4] = {sizes[0], sizes[1], sizes[2], sizes[3]};
    ((Calls *)calls)->row = recorder_row(name, types, key);
    Py_RETURN_NONE;
}

/* --- the module ----------------------------------------------------------------------------------------------------- */

static PyMethodDef functions[] = {
    {"configure", (PyCFunction)(void (*)(void))configure, METH_VARARGS | METH_KEYWORDS,
     "configure(cpus, *, spin_ns=50000)\n--\n\nSet how many CPUs loops share, and how long idle workers spin."},
    {"place", place, METH_O, "Return a number for a set of CPUs; 0 if threads cannot be moved there."},
    {"stop", stop, METH_O, "stop(for_good)\n--\n\nEnd and join the workers."},
    {"status", status, METH_NOARGS, "Return the state of the pool and counts of long loops."},
    {"alone", alone, METH_O,
     "alone(value)\n--\n\nLet loops of the calling thread run on it alone, or not. Return what held before."},
    {"meet_loops", meet_loops, METH_VARARGS,
     "meet_loops(ufunc, types, kind, reduce_kind, reduction)\n--\n\n"
     "Exchange the loops of a ufunc that have no other types. Return how many."},
    {"release_loops", release_loops, METH_NOARGS, "Put all loops back. Return how many could be."},
    {"plan", plan, METH_VARARGS,
     "plan(class, layout, [(elements, chunk, workers, placement), ...])\n--\n\nSet what loops of a class get."},
    {"after_blas", after_blas, METH_VARARGS,
     "after_blas(class, elements)\n--\n\nSet from how many elements on loops are cut while BLAS threads spin."},
    {"learn_from", learn_from, METH_VARARGS,
     "learn_from(class, elements)\n--\n\nSet from how many elements on loops that no plan covers are learned about."},
    {"learn_loops", learn_loops, METH_O,
     "learn_loops(decide)\n--\n\n"
     "Learn about loops: decide(class, rounds, layout, elements) returns the Calls of each lesson. None: forget them."},
    {"reductions", reductions, METH_O, "Allow sums of floating-point numbers to be cut, or not."},
    {"meet_call", meet_call, METH_VARARGS,
     "meet_call(target, decide, switch)\n--\n\nMeet calls of a ufunc, built-in function or method. Return a number."},
    {"release_call", release_call, METH_O, "Put a function back. Return whether it could be."},
    {"watch_calls", watch_calls, METH_VARARGS,
     "watch_calls(callback, seconds=0, learning=0)\n--\n\n"
     "Let the live guard look at calls that take at least so long, and at calls that learn."},
    {"wake_from", wake_from, METH_O,
     "Set for how many seconds of NumPy's own loops sleeping threads are woken; 0, the initial value: for any."},
    {"blas_spins", blas_spins, METH_O, "Set for how many seconds BLAS threads spin after a call; 0: not at all."},
    {"record", record, METH_VARARGS, "record(path)\n--\n\nRecord calls into a new file, until the process ends."},
    {"record_ends", record_ends, METH_NOARGS, "Note that the process ends in order."},
    {"record_function", record_function, METH_VARARGS,
     "record_function(target, name, kind)\n--\n\n"
     "Record calls of a ufunc, built-in function or method. Return whether they can be."},
    {"record_loops", record_loops, METH_O,
     "record_loops(elements)\n--\n\nRecord the inner loops of at least this many elements, of ufuncs that are met."},
    {"record_indexing", record_indexing, METH_NOARGS,
     "Record assignments to parts, reads by indices, and the freeing of arrays. Return whether they can be."},
    {"record_calls", record_calls, METH_VARARGS,
     "record_calls(calls, name, types, *sizes)\n--\n\nRecord what Met objects of these Calls do."},
    {NULL, NULL, 0, NULL},
};

static int start(PyObject *module)
{
    if (PyInterpreterState_GetID(PyInterpreterState_Get()) != 0) {
        PyErr_SetString(PyExc_ImportError, "The core serves the main interpreter only.");
        return -1;
    }
    if (PyArray_ImportNumPyAPI() < 0 || PyUFunc_ImportUFuncAPI() < 0) {
        return -1;
    }
    static bool started;
    if (!started) {
        loops_start();
        learning_start();
        if (switch_types(module) < 0 || met_types(module) < 0) {
            return -1;
        }
        started = true;
        return 0;
    }
    PyErr_SetString(PyExc_ImportError, "The core is loaded once a process.");
    return -1;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, start},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "autotune.native._core",
    .m_doc = "A pool of threads, whole-array loops and switched BLAS calls; used through autotune.native.",
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&definition); }
