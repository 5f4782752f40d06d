/* See calls.h. */
#include "calls.h"
#include "recorder.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <structmember.h>
#include <unistd.h>

enum { HOOKS = 64, MOST_SHAPES = 4096 };

typedef PyObject *vectorcall(PyObject *, PyObject *const *, size_t, PyObject *);
typedef PyObject *fastcall(PyObject *, PyObject *const *, Py_ssize_t);
typedef PyObject *fastcall_keywords(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);
typedef PyObject *call_keywords(PyObject *, PyObject *, PyObject *);

/* What tells calls apart: the dtype and the last two sizes of each matrix. -1: there is no such axis. */
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
    bool in_force;
    unsigned generation;    /* of `decide`: an answer of an earlier one is not kept */
    PyObject *decide;
    Switch *through;
    struct table table;
} hooks[HOOKS];

static int used;
static int64_t home; /* the interpreter that the hooks belong to */

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

/* FNV-1a over words, with a last mixing step (Fowler, Noll, Vo; Murmur3's finaliser). */
static size_t hash(const struct key *key)
{
    uint64_t h = UINT64_C(14695981039346656037) ^ (uint64_t)key->type;
    for (int i = 0; i < 4; i++) {
        h = (h ^ (uint64_t)key->sizes[i]) * UINT64_C(1099511628211);
    }
    return (size_t)(h ^ h >> 29);
}

static struct row *find(const struct table *table, const struct key *key)
{
    size_t i = hash(key) & (table->capacity - 1);
    while (table->rows[i].calls != NULL &&
           (table->rows[i].key.type != key->type ||
            memcmp(table->rows[i].key.sizes, key->sizes, sizeof key->sizes) != 0)) {
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

static bool is_measured(int type)
{
    return type == NPY_DOUBLE || type == NPY_FLOAT || type == NPY_CDOUBLE || type == NPY_CFLOAT;
}

static bool is_home(void) { return PyInterpreterState_GetID(PyInterpreterState_Get()) == home; }

/* What a call with these operands is. Returns a new reference; NULL: nothing that was measured, or `*failed`. */
static Calls *known(struct hook *hook, PyObject *a, PyObject *b, bool *failed)
{
    struct key key = {{-1, -1, -1, -1}, 0};
    *failed = false;
    if (!hook->in_force || !last_sizes(a, key.sizes)) {
        return NULL;
    }
    key.type = PyArray_TYPE((PyArrayObject *)a);
    if (!is_measured(key.type)) {
        return NULL;
    }
    if (b != NULL) {
        if (!last_sizes(b, key.sizes + 2)) {
            return NULL;
        }
        if (hook->kind != UFUNC && PyArray_TYPE((PyArrayObject *)b) != key.type) {
            return NULL;
        }
    }
    LOCK();
    Calls *calls = hook->table.capacity ? find(&hook->table, &key)->calls : NULL;
    PyObject *decide = hook->decide;
    const unsigned generation = hook->generation;
    Py_XINCREF((PyObject *)calls);
    Py_XINCREF(calls == NULL ? decide : NULL);
    UNLOCK();
    if (calls != NULL || decide == NULL || !is_home()) {
        if (calls == NULL) {
            Py_XDECREF(decide);
        }
        return calls;
    }
    PyObject *answer = PyObject_CallFunction(decide, "C(nn)(nn)", "fdFD"[key.type == NPY_FLOAT ? 0 : key.type == NPY_DOUBLE ? 1 : key.type == NPY_CFLOAT ? 2 : 3], key.sizes[0],
                                             key.sizes[1], key.sizes[2], key.sizes[3]);
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
    LOCK();
    if (hook->in_force && hook->generation == generation) {
        keep(&hook->table, &key, (Calls *)answer);
    }
    UNLOCK();
    return (Calls *)answer;
}

/* --- around a call -------------------------------------------------------------------------------------------- */

struct around {
    Calls *calls; /* a reference; NULL: nothing is done */
    bool switched;
    struct flight flight;
};

/* Returns false with an exception set if the call is not to be made. */
static bool begin(struct around *around, struct hook *hook, PyObject *a, PyObject *b)
{
    bool failed;
    around->calls = known(hook, a, b, &failed);
    around->switched = false;
    if (around->calls != NULL) {
        LOCK();
        around->calls->count++;
        Switch *through = hook->through;
        UNLOCK();
        if (through != NULL) {
            around->switched = true;
            switch_begin(&around->flight, through, around->calls);
        }
    }
    return !failed;
}

static PyObject *end(struct around *around, PyObject *result)
{
    if (around->calls == NULL) {
        return result;
    }
    Py_DECREF((PyObject *)around->calls);
    if (!around->switched) {
        return result;
    }
    PyObject *type = NULL, *value = NULL, *trace = NULL;
    if (result == NULL) {
        PyErr_Fetch(&type, &value, &trace); /* of the call: it goes before any of the guard's */
    }
    const bool well = switch_end(&around->flight, result == NULL);
    if (result == NULL) {
        if (!well) {
            PyErr_Clear();
        }
        PyErr_Restore(type, value, trace);
    } else if (!well) {
        Py_CLEAR(result);
    }
    return result;
}

/* Has this ufunc a second operand that tells calls apart? Not qr_reduced's tau. */
static int operands_of(const struct hook *hook)
{
    const PyUFuncObject *ufunc = (PyUFuncObject *)hook->target;
    return ufunc->nin > 1 ? 2 : 1;
}

static PyObject *call_ufunc(struct hook *hook, PyObject *self, PyObject *const *args, size_t flagged, PyObject *names)
{
    vectorcall *original = (vectorcall *)hook->original;
    const size_t count = flagged & ~((size_t)1 << (8 * sizeof(size_t) - 1)); /* PyVectorcall_NARGS */
    const size_t operands = (size_t)operands_of(hook);
    struct around around;
    if (count < operands) {
        return original(self, args, flagged, names);
    }
    if (!begin(&around, hook, args[0], operands > 1 ? args[1] : NULL)) {
        return NULL;
    }
    return end(&around, original(self, args, flagged, names));
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

static bool tuple_operands(const struct hook *hook, PyObject *self, PyObject *args, PyObject **a, PyObject **b)
{
    PyObject *given[2];
    const Py_ssize_t count = PyTuple_Size(args) < 2 ? PyTuple_Size(args) : 2;
    for (Py_ssize_t i = 0; i < count; i++) {
        given[i] = PyTuple_GetItem(args, i);
    }
    return operands(hook, self, given, count, a, b);
}

static PyObject *call_fast(struct hook *hook, PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names,
                           bool has_names)
{
    PyObject *a, *b;
    struct around around = {0};
    if (operands(hook, self, args, count, &a, &b) && !begin(&around, hook, a, b)) {
        return NULL;
    }
    return end(&around, has_names ? ((fastcall_keywords *)hook->original)(self, args, count, names)
                                  : ((fastcall *)hook->original)(self, args, count));
}

static PyObject *call_tuple(struct hook *hook, PyObject *self, PyObject *args, PyObject *keywords, bool has_keywords)
{
    PyObject *a, *b;
    struct around around = {0};
    if (tuple_operands(hook, self, args, &a, &b) && !begin(&around, hook, a, b)) {
        return NULL;
    }
    return end(&around, has_keywords ? ((call_keywords *)hook->original)(self, args, keywords)
                                     : ((PyCFunction)hook->original)(self, args));
}

/* --- stubs ------------------------------------------------------------------------------------------------------ */

enum { FUNCTIONS = 8 }; /* hooks that a function or method may have: the first ones */

#define UFUNC_STUB(n)                                                                                        \
    static PyObject *ufunc_##n(PyObject *self, PyObject *const *args, size_t count, PyObject *names)         \
    {                                                                                                        \
        return call_ufunc(&hooks[n], self, args, count, names);                                              \
    }
#define FUNCTION_STUBS(n)                                                                                    \
    static PyObject *fast_##n(PyObject *self, PyObject *const *args, Py_ssize_t count)                       \
    {                                                                                                        \
        return call_fast(&hooks[n], self, args, count, NULL, false);                                         \
    }                                                                                                        \
    static PyObject *fast_keywords_##n(PyObject *self, PyObject *const *args, Py_ssize_t count,              \
                                       PyObject *names)                                                      \
    {                                                                                                        \
        return call_fast(&hooks[n], self, args, count, names, true);                                         \
    }                                                                                                        \
    static PyObject *tuple_##n(PyObject *self, PyObject *args)                                               \
    {                                                                                                        \
        return call_tuple(&hooks[n], self, args, NULL, false);                                               \
    }                                                                                                        \
    static PyObject *keywords_##n(PyObject *self, PyObject *args, PyObject *keywords)                        \
    {                                                                                                        \
        return call_tuple(&hooks[n], self, args, keywords, true);                                            \
    }
#define EIGHT(do) do(0) do(1) do(2) do(3) do(4) do(5) do(6) do(7)
#define OTHERS(do)                                                                                           \
    do(8) do(9) do(10) do(11) do(12) do(13) do(14) do(15) do(16) do(17) do(18) do(19) do(20) do(21) do(22)   \
    do(23) do(24) do(25) do(26) do(27) do(28) do(29) do(30) do(31) do(32) do(33) do(34) do(35) do(36) do(37) \
    do(38) do(39) do(40) do(41) do(42) do(43) do(44) do(45) do(46) do(47) do(48) do(49) do(50) do(51) do(52) \
    do(53) do(54) do(55) do(56) do(57) do(58) do(59) do(60) do(61) do(62) do(63)
EIGHT(UFUNC_STUB)
OTHERS(UFUNC_STUB)
EIGHT(FUNCTION_STUBS)

#define UFUNC_NAME(n) ufunc_##n,
#define FAST_NAME(n) fast_##n,
#define FAST_KEYWORDS_NAME(n) fast_keywords_##n,
#define TUPLE_NAME(n) tuple_##n,
#define KEYWORDS_NAME(n) keywords_##n,
static vectorcall *const ufunc_stubs[HOOKS] = {EIGHT(UFUNC_NAME) OTHERS(UFUNC_NAME)};
static fastcall *const fast_stubs[FUNCTIONS] = {EIGHT(FAST_NAME)};
static fastcall_keywords *const fast_keywords_stubs[FUNCTIONS] = {EIGHT(FAST_KEYWORDS_NAME)};
static PyCFunction const tuple_stubs[FUNCTIONS] = {EIGHT(TUPLE_NAME)};
static call_keywords *const keywords_stubs[FUNCTIONS] = {EIGHT(KEYWORDS_NAME)};

static void *stub_of(enum kind kind, int flags, int number)
{
    if (kind == UFUNC) {
        return (void *)ufunc_stubs[number];
    }
    if (number >= FUNCTIONS) {
        return NULL;
    }
    switch (flags) {
    case METH_FASTCALL:
        return (void *)fast_stubs[number];
    case METH_FASTCALL | METH_KEYWORDS:
        return (void *)fast_keywords_stubs[number];
    case METH_VARARGS:
        return (void *)tuple_stubs[number];
    case METH_VARARGS | METH_KEYWORDS:
        return (void *)keywords_stubs[number];
    default:
        return NULL;
    }
}

/* --- where a function's address lies ---------------------------------------------------------------------------- */

/* The beginning of CPython's PyCFunctionObject and PyMethodDescrObject, which the limited API hides; the same from
 * Python 3.8 to 3.14. What is read is compared with what the API tells before it is used. */
struct builtin {
    PyObject head;
    PyMethodDef *definition;
};

struct descriptor {
    PyObject head;
    PyTypeObject *type;
    PyObject *name, *qualified;
    PyMethodDef *definition;
};

/* Could a value be written here? The kernel writes what is there already, and tells instead of ending the process. */
bool calls_is_writable(void *place)
{
    int ends[2];
    if (pipe(ends) != 0) {
        return false;
    }
    const bool written = write(ends[1], place, sizeof(void *)) == sizeof(void *) &&
                         read(ends[0], place, sizeof(void *)) == sizeof(void *);
    close(ends[0]);
    close(ends[1]);
    return written;
}

/* Functions of Cython begin as CPython's do, and call what their definition says at the time. */
static PyMethodDef *cython_definition(PyObject *target)
{
    PyObject *type = PyType_GetName(Py_TYPE(target)), *name = NULL;
    PyMethodDef *definition = NULL;
    if (type != NULL && PyUnicode_CompareWithASCIIString(type, "cython_function_or_method") == 0) {
        name = PyObject_GetAttrString(target, "__name__");
        definition = ((struct builtin *)target)->definition;
        if (name == NULL || !PyUnicode_Check(name) ||
            PyUnicode_CompareWithASCIIString(name, definition->ml_name) != 0) {
            definition = NULL;
        }
    }
    PyErr_Clear();
    Py_XDECREF(type);
    Py_XDECREF(name);
    return definition;
}

PyMethodDef *calls_definition(PyObject *target)
{
    PyMethodDef *definition = NULL;
    if (PyCFunction_CheckExact(target)) {
        definition = ((struct builtin *)target)->definition;
        if (definition->ml_meth != PyCFunction_GetFunction(target) ||
            definition->ml_flags != PyCFunction_GetFlags(target)) {
            return NULL;
        }
    } else if (Py_TYPE(target) == &PyMethodDescr_Type) {
        const struct descriptor *descriptor = (struct descriptor *)target;
        if ((descriptor->type != &PyArray_Type && descriptor->type != &PyUFunc_Type) ||
            !PyUnicode_Check(descriptor->name)) {
            return NULL;
        }
        definition = descriptor->definition;
        if (PyUnicode_CompareWithASCIIString(descriptor->name, definition->ml_name) != 0) {
            return NULL;
        }
    } else {
        definition = cython_definition(target);
    }
    return definition != NULL && calls_is_writable(&definition->ml_meth) ? definition : NULL;
}

/* --- what Python calls ------------------------------------------------------------------------------------------ */

/* Find where the address of the target's C function lies. Returns false with an exception set. */
static bool look_at(struct hook *hook)
{
    if (PyObject_TypeCheck(hook->target, &PyUFunc_Type)) {
        hook->kind = UFUNC;
        hook->place = (_Atomic(void *) *)&((PyUFuncObject *)hook->target)->vectorcall;
        return true;
    }
    PyMethodDef *definition = calls_definition(hook->target);
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
        home = PyInterpreterState_GetID(PyInterpreterState_Get());
    }
    Py_INCREF(decide);
    Py_XINCREF(through);
    LOCK();
    struct table before = hook->table;
    PyObject *decided = hook->decide, *switched = (PyObject *)hook->through;
    hook->table = (struct table){0};
    hook->decide = decide;
    hook->through = (Switch *)through;
    hook->generation++;
    hook->in_force = true;
    UNLOCK();
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
    LOCK();
    struct table before = hook->table;
    PyObject *decided = hook->decide, *switched = (PyObject *)hook->through;
    hook->table = (struct table){0};
    hook->decide = NULL;
    hook->through = NULL;
    hook->generation++;
    hook->in_force = false;
    UNLOCK();
    clear(&before);
    Py_XDECREF(decided);
    Py_XDECREF(switched);
    return restored;
}

/* --- functions of other libraries: an object that stands for one and calls it within a switch ---------------------- */

typedef struct {
    PyObject_HEAD
    PyObject *function;
    Calls *calls;
    Switch *through; /* NULL: calls are counted */
} Met;

static PyObject *met_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"function", "calls", "through", NULL};
    PyObject *function, *calls, *through;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOO", names, &function, &calls, &through)) {
        return NULL;
    }
    if (!is_calls(calls) || (through != Py_None && !is_switch(through))) {
        PyErr_SetString(PyExc_TypeError, "Met takes a function, Calls, and a Switch or None.");
        return NULL;
    }
    Met *self = (Met *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (self != NULL) {
        Py_INCREF(function), Py_INCREF(calls);
        self->function = function;
        self->calls = (Calls *)calls;
        if (through != Py_None) {
            Py_INCREF(through);
            self->through = (Switch *)through;
        }
    }
    return (PyObject *)self;
}

static int met_traverse(PyObject *object, visitproc visit, void *arg)
{
    Met *self = (Met *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->function);
    return 0;
}

static int met_clear(PyObject *object)
{
    Py_CLEAR(((Met *)object)->function);
    return 0;
}

static void met_dealloc(PyObject *object)
{
    Met *self = (Met *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    Py_XDECREF(self->function);
    Py_XDECREF((PyObject *)self->calls);
    Py_XDECREF((PyObject *)self->through);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF((PyObject *)type);
}

static PyObject *met_call(PyObject *object, PyObject *args, PyObject *keywords)
{
    Met *self = (Met *)object;
    struct around around = {.calls = self->calls};
    PyObject *function = self->function;
    Py_INCREF((PyObject *)around.calls);
    Py_INCREF(function);
    self->calls->count++;
    struct record record = {0};
    if (self->calls->row != NULL && recorder_is_on()) {
        record_begin(&record, self->calls->row, 1);
    }
    if (self->through != NULL) {
        around.switched = true;
        switch_begin(&around.flight, self->through, self->calls);
    }
    PyObject *result = end(&around, PyObject_Call(function, args, keywords));
    record_end(&record);
    Py_DECREF(function);
    return result;
}

/* What SciPy reads from a routine: `typecode`, `dtype`, `prefix`, `module_name`, ... */
static PyObject *met_attribute(PyObject *object, PyObject *name)
{
    PyObject *value = PyObject_GetAttr(((Met *)object)->function, name);
    return value;
}

static PyType_Slot met_slots[] = {
    {Py_tp_doc, "A function that stands for another and calls it with the BLAS threads of its Calls."},
    {Py_tp_new, met_new},
    {Py_tp_dealloc, met_dealloc},
    {Py_tp_traverse, met_traverse},
    {Py_tp_clear, met_clear},
    {Py_tp_call, met_call},
    {Py_tp_getattro, met_attribute},
    {0, NULL},
};

static PyType_Spec met_spec = {
    .name = "autotune.native._core.Met",
    .basicsize = sizeof(Met),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = met_slots,
};

int calls_types(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&met_spec);
    if (type == NULL) {
        return -1;
    }
    const int status = PyModule_AddObjectRef(module, "Met", type);
    Py_DECREF(type);
    return status;
}

int calls_used(void) { return used; }
