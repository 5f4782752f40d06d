/* See calls.h. */
#include "calls.h"
#include "definition.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { HOOKS = 64, FUNCTIONS = 16, MOST_SHAPES = 4096 }; /* hooks of functions and methods are among the first ones */

/* Fields that distinguish calls: the dtype and the last two sizes of each matrix. -1: there is no such axis. */
struct key {
    npy_intp sizes[4];
    int type;
};

struct table {
    struct row {
        struct key key;
        Calls *calls; /* NULL: empty */
    } *rows;
    size_t capacity, used; /* the capacity is a power of two */
};

enum kind { UFUNC, FUNCTION, METHOD };

static struct hook {
    PyObject *target; /* a reference that is kept for as long as the process */
    enum kind kind;
    _Atomic(void *) *place; /* where the address of the C function lies */
    void *original, *stub;  /* `original` does not change: the code that replaced the stub may still call it */
    int flags;              /* METH_... of a function or method */
    bool is_binary;         /* of a ufunc: does a second operand tell calls apart? */
    bool in_force;
    unsigned generation;    /* of `decide`: an answer of an earlier one is not kept */
    PyObject *decide;
    Switch *through;
    struct table table;
} hooks[HOOKS];

static int used;

/* --- shapes that are known ------------------------------------------------------------------------------------ */

static void clear(struct table *table)
{
    struct table before = *table;
    *table = (struct table){0};
    for (size_t i = 0; i < before.capacity; i++) {
        Py_XDECREF((PyObject *)before.rows[i].calls);
    }
    free(before.rows);
}

/* A sum of products, whose upper half is the hash (multilinear hashing: Carter and Wegman; Lemire and Kaser 2014). The products do not
 * wait for one another. */
static size_t hash(const struct key *key)
{
    const uint64_t h = UINT64_C(0x9E3779B97F4A7C15) * (uint64_t)key->sizes[0] +
                       UINT64_C(0xBF58476D1CE4E5B9) * (uint64_t)key->sizes[1] +
                       UINT64_C(0x94D049BB133111EB) * (uint64_t)key->sizes[2] +
                       UINT64_C(0xD6E8FEB86659FD93) * (uint64_t)key->sizes[3] +
                       UINT64_C(0xFF51AFD7ED558CCD) * (uint64_t)key->type;
    return (size_t)(h >> 32);
}

static bool same(const struct key *a, const struct key *b)
{
    return a->sizes[0] == b->sizes[0] && a->sizes[1] == b->sizes[1] && a->sizes[2] == b->sizes[2] &&
           a->sizes[3] == b->sizes[3] && a->type == b->type;
}

static struct row *find(const struct table *table, const struct key *key)
{
    size_t i = hash(key) & (table->capacity - 1);
    while (table->rows[i].calls != NULL && !same(&table->rows[i].key, key)) {
        i = (i + 1) & (table->capacity - 1);
    }
    return &table->rows[i];
}

/* Keep what is called for a shape, if need be in place of all others. Without memory it is asked for again. */
static void keep(struct table *table, const struct key *key, Calls *calls)
{
    if (table->used >= MOST_SHAPES) {
        clear(table);
    }
    if (table->used * 2 >= table->capacity) {
        struct table larger = {.capacity = table->capacity ? table->capacity * 2 : 16, .used = table->used};
        larger.rows = calloc(larger.capacity, sizeof *larger.rows);
        if (larger.rows == NULL) {
            return;
        }
        for (size_t i = 0; i < table->capacity; i++) {
            if (table->rows[i].calls != NULL) {
                *find(&larger, &table->rows[i].key) = table->rows[i];
            }
        }
        free(table->rows);
        *table = larger;
    }
    struct row *row = find(table, key);
    if (row->calls == NULL) {
        *row = (struct row){*key, calls};
        Py_INCREF((PyObject *)calls);
        table->used++;
    }
}

static bool last_sizes(PyObject *object, npy_intp *sizes)
{
    if (!PyArray_Check(object)) {
        return false;
    }
    PyArrayObject *array = (PyArrayObject *)object;
    const int axes = PyArray_NDIM(array);
    sizes[0] = axes > 1 ? PyArray_DIM(array, axes - 2) : -1;
    sizes[1] = axes > 0 ? PyArray_DIM(array, axes - 1) : -1;
    return axes > 0;
}

/* The type code of what BLAS computes with; 0 for other types. */
static int blas_code(int type)
{
    switch (type) {
    case NPY_FLOAT:
        return 'f';
    case NPY_DOUBLE:
        return 'd';
    case NPY_CFLOAT:
        return 'F';
    case NPY_CDOUBLE:
        return 'D';
    default:
        return 0;
    }
}

/* Ask Python what such calls get, and keep the answer. As known(). */
static Calls *ask(struct hook *hook, const struct key *key, int code, bool *failed)
{
    const npy_intp *sizes = key->sizes;
    const unsigned generation = hook->generation;
    PyObject *decide = Py_NewRef(hook->decide);
    PyObject *answer = PyObject_CallFunction(decide, "C(nn)(nn)", code, sizes[0], sizes[1], sizes[2], sizes[3]);
    Py_DECREF(decide);
    if (answer == NULL) {
        /* for want of stack or memory the call runs without a choice; what a signal handler raised goes on */
        *failed = !cleared_exhaustion();
        return NULL;
    }
    if (!is_calls(answer)) {
        Py_DECREF(answer);
        return NULL;
    }
    if (hook->in_force && hook->generation == generation) {
        keep(&hook->table, key, (Calls *)answer);
    }
    return (Calls *)answer;
}

/* What a call with these operands is. Returns a new reference; NULL: nothing that was measured, or `*failed`. Operands
 * of two types are converted to a third, which only NumPy knows: they are no call that was measured. */
static Calls *known(struct hook *hook, PyObject *a, PyObject *b, bool *failed)
{
    struct key key = {{-1, -1, -1, -1}, 0};
    *failed = false;
    if (!hook->in_force || !last_sizes(a, key.sizes)) {
        return NULL;
    }
    key.type = PyArray_TYPE((PyArrayObject *)a);
    const int code = blas_code(key.type);
    if (code == 0 || (b != NULL && (!last_sizes(b, key.sizes + 2) || PyArray_TYPE((PyArrayObject *)b) != key.type))) {
        return NULL;
    }
    if (hook->table.capacity) {
        Calls *calls = find(&hook->table, &key)->calls;
        if (calls != NULL) {
            return (Calls *)Py_NewRef((PyObject *)calls);
        }
    }
    return hook->decide == NULL || !is_main_interpreter() ? NULL : ask(hook, &key, code, failed);
}

/* --- around a call -------------------------------------------------------------------------------------------- */

/* Begin a call with these operands; no flight: it is none that is switched. Returns false with an exception set if the call is not to
 * be made. */
static bool begin(struct hook *hook, PyObject *a, PyObject *b, struct flight **flight)
{
    bool failed;
    Calls *calls = known(hook, a, b, &failed);
    *flight = NULL;
    if (calls != NULL) {
        calls->count++;
        if (hook->through != NULL) {
            *flight = switch_begin(hook->through, calls);
        }
        Py_DECREF((PyObject *)calls);
    }
    return !failed;
}

static PyObject *call_ufunc(int number, PyObject *self, PyObject *const *args, size_t flagged, PyObject *names)
{
    struct hook *hook = &hooks[number];
    vectorcall *original = (vectorcall *)hook->original;
    const size_t count = arguments_of(flagged);
    struct flight *flight;
    if (count < (hook->is_binary ? 2 : 1)) {
        return original(self, args, flagged, names);
    }
    if (!begin(hook, args[0], hook->is_binary ? args[1] : NULL, &flight)) {
        return NULL;
    }
    return switch_return(flight, original(self, args, flagged, names));
}

/* The operands of a function or method: dot(a, b) or a.dot(b). False if they are not all given by place. */
static bool operands(const struct hook *hook, PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject **a,
                     PyObject **b)
{
    const Py_ssize_t first = hook->kind == METHOD ? 0 : 1;
    if (count <= first) {
        return false;
    }
    *a = first ? args[0] : self;
    *b = args[first];
    return true;
}

static PyObject *call_fast(int number, PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names,
                           bool has_names)
{
    struct hook *hook = &hooks[number];
    PyObject *a, *b;
    struct flight *flight = NULL;
    if (operands(hook, self, args, count, &a, &b) && !begin(hook, a, b, &flight)) {
        return NULL;
    }
    return switch_return(flight, has_names ? ((fastcall_keywords *)hook->original)(self, args, count, names)
                                           : ((fastcall *)hook->original)(self, args, count));
}

static PyObject *call_tuple(int number, PyObject *self, PyObject *args, PyObject *keywords, bool has_keywords)
{
    struct hook *hook = &hooks[number];
    PyObject *a, *b, *given[2];
    struct flight *flight = NULL;
    const Py_ssize_t count = PyTuple_Size(args) < 2 ? PyTuple_Size(args) : 2;
    for (Py_ssize_t i = 0; i < count; i++) {
        given[i] = PyTuple_GetItem(args, i);
    }
    if (operands(hook, self, given, count, &a, &b) && !begin(hook, a, b, &flight)) {
        return NULL;
    }
    return switch_return(flight, has_keywords ? ((call_keywords *)hook->original)(self, args, keywords)
                                              : ((PyCFunction)hook->original)(self, args));
}

/* --- stubs ------------------------------------------------------------------------------------------------------ */

#define UFUNC_STUB(n)                                                                                        \
    static PyObject *ufunc_##n(PyObject *self, PyObject *const *args, size_t count, PyObject *names)         \
    {                                                                                                        \
        return call_ufunc(0x##n, self, args, count, names);                                                  \
    }
DIGITS(UFUNC_STUB, 0) DIGITS(UFUNC_STUB, 1) DIGITS(UFUNC_STUB, 2) DIGITS(UFUNC_STUB, 3)
DIGITS(FUNCTION_STUBS, 0)

#define UFUNC_NAME(n) ufunc_##n,
static vectorcall *const ufunc_stubs[HOOKS] = {DIGITS(UFUNC_NAME, 0) DIGITS(UFUNC_NAME, 1) DIGITS(UFUNC_NAME, 2)
                                                   DIGITS(UFUNC_NAME, 3)};
static void *const function_stubs[FUNCTIONS][WAYS] = {DIGITS(STUBS_BY_WAY, 0)};

static void *stub_of(enum kind kind, int flags, int number)
{
    if (kind == UFUNC) {
        return (void *)ufunc_stubs[number];
    }
    const int way = way_of(flags);
    return number < FUNCTIONS && way >= 0 ? function_stubs[number][way] : NULL;
}

/* --- what Python calls ------------------------------------------------------------------------------------------ */

/* Find where the address of the target's C function lies. Returns false with an exception set. */
static bool look_at(struct hook *hook)
{
    if (PyObject_TypeCheck(hook->target, &PyUFunc_Type)) {
        hook->kind = UFUNC;
        hook->is_binary = ((PyUFuncObject *)hook->target)->nin > 1;
        hook->place = (_Atomic(void *) *)&((PyUFuncObject *)hook->target)->vectorcall;
        return true;
    }
    PyMethodDef *definition = definition_of(hook->target);
    if (definition == NULL) {
        PyErr_Format(PyExc_TypeError, "%R is not built as it is known to be, or its C function cannot be exchanged.",
                     hook->target);
        return false;
    }
    hook->kind = Py_TYPE(hook->target) == &PyMethodDescr_Type ? METHOD : FUNCTION;
    hook->flags = definition->ml_flags;
    hook->place = (_Atomic(void *) *)&definition->ml_meth;
    return true;
}

int calls_meet(PyObject *target, PyObject *decide, PyObject *through)
{
    int number = 0;
    while (number < used && hooks[number].target != target) {
        number++;
    }
    if (number == HOOKS) {
        PyErr_SetString(PyExc_RuntimeError, "No more functions can be met.");
        return -1;
    }
    struct hook *hook = &hooks[number];
    if (number == used) {
        struct hook new = {.target = target};
        if (!look_at(&new)) {
            return -1;
        }
        new.original = atomic_load(new.place);
        new.stub = stub_of(new.kind, new.flags, number);
        if (new.stub == NULL || new.original == NULL) {
            PyErr_Format(PyExc_TypeError, "%R is called in another way than it is known to be.", target);
            return -1;
        }
        *hook = new;
        Py_INCREF(target);
        used++;
    }
    Py_INCREF(decide);
    Py_XINCREF(through);
    struct table before = hook->table;
    PyObject *decided = hook->decide, *switched = (PyObject *)hook->through;
    hook->table = (struct table){0};
    hook->decide = decide;
    hook->through = (Switch *)through;
    hook->generation++;
    hook->in_force = true;
    /* a function that another extension put in the stub's place stays: it may call the stub */
    void *expected = hook->original;
    atomic_compare_exchange_strong(hook->place, &expected, hook->stub);
    clear(&before);
    Py_XDECREF(decided);
    Py_XDECREF(switched);
    return number;
}

bool calls_release(int number)
{
    struct hook *hook = &hooks[number];
    void *expected = hook->stub;
    const bool restored = atomic_compare_exchange_strong(hook->place, &expected, hook->original);
    struct table before = hook->table;
    PyObject *decided = hook->decide, *switched = (PyObject *)hook->through;
    hook->table = (struct table){0};
    hook->decide = NULL;
    hook->through = NULL;
    hook->generation++;
    hook->in_force = false;
    clear(&before);
    Py_XDECREF(decided);
    Py_XDECREF(switched);
    return restored;
}

int calls_used(void) { return used; }
