/* See met.h. */
#include "met.h"
#include "recorder.h"
#include "switch.h"

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

/* A new reference; NULL with an exception if the garbage collector has cleared the object. */
static PyObject *function_of(const Met *self)
{
    if (self->function == NULL) {
        PyErr_SetString(PyExc_ReferenceError, "The function that was met is gone.");
    }
    return Py_XNewRef(self->function);
}

static PyObject *met_call(PyObject *object, PyObject *args, PyObject *keywords)
{
    Met *self = (Met *)object;
    PyObject *function = function_of(self);
    if (function == NULL) {
        return NULL;
    }
    self->calls->count++;
    struct record record = {0};
    if (self->calls->row != NULL && recorder_is_on()) {
        record_begin(&record, self->calls->row, 1);
    }
    struct flight *flight = self->through == NULL ? NULL : switch_begin(self->through, self->calls);
    PyObject *result = switch_return(flight, PyObject_Call(function, args, keywords));
    record_end(&record);
    Py_DECREF(function);
    return result;
}

/* What SciPy reads from a routine: `typecode`, `dtype`, `prefix`, `module_name`, ... */
static PyObject *met_attribute(PyObject *object, PyObject *name)
{
    PyObject *function = function_of((Met *)object);
    PyObject *value = function == NULL ? NULL : PyObject_GetAttr(function, name);
    Py_XDECREF(function);
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

int met_types(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&met_spec);
    if (type == NULL) {
        return -1;
    }
    const int status = PyModule_AddObjectRef(module, "Met", type);
    Py_DECREF(type);
    return status;
}
