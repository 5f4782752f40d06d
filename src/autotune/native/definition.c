/* See definition.h. */
#include "definition.h"

#include <unistd.h>

/* The beginning of CPython's PyCFunctionObject and PyMethodDescrObject, which the limited API hides; the same from
 * Python 3.8 to 3.14. What is read is compared with the API's answer before it is used. */
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

/* Have the kernel read these bytes and write them back: it returns an error where this process would be killed. */
static bool is_accessible(void *place, size_t bytes, bool writable)
{
    int ends[2];
    if (pipe(ends) != 0) {
        return false;
    }
    const bool is_readable = write(ends[1], place, bytes) == (ssize_t)bytes;
    const bool is_written = is_readable && writable && read(ends[0], place, bytes) == (ssize_t)bytes;
    close(ends[0]);
    close(ends[1]);
    return writable ? is_written : is_readable;
}

bool is_writable(void *place) { return is_accessible(place, sizeof(void *), true); }

static bool has_name(const PyMethodDef *definition, PyObject *name)
{
    return name != NULL && PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, definition->ml_name) == 0;
}

/* Functions of Cython begin as CPython's do, and call what their definition says at the time. Those that were compiled for
 * the limited API begin otherwise: nothing is taken for a definition that cannot be read as such. */
static PyMethodDef *cython_definition(PyObject *target)
{
    PyObject *type = PyType_GetName(Py_TYPE(target)), *name = NULL;
    PyMethodDef *definition = NULL;
    if (type != NULL && PyUnicode_CompareWithASCIIString(type, "cython_function_or_method") == 0) {
        name = PyObject_GetAttrString(target, "__name__");
        definition = ((struct builtin *)target)->definition;
        if (!is_accessible(definition, sizeof *definition, false) ||
            !is_accessible((void *)(uintptr_t)definition->ml_name, 1, false) || !has_name(definition, name)) {
            definition = NULL;
        }
    }
    PyErr_Clear();
    Py_XDECREF(type);
    Py_XDECREF(name);
    return definition;
}

PyMethodDef *definition_of(PyObject *target)
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
        if (descriptor->type != &PyArray_Type && descriptor->type != &PyUFunc_Type) {
            return NULL;
        }
        definition = descriptor->definition;
        if (!has_name(definition, descriptor->name)) {
            return NULL;
        }
    } else {
        definition = cython_definition(target);
    }
    return definition != NULL && is_writable(&definition->ml_meth) ? definition : NULL;
}

int way_of(int flags)
{
    const int ways[WAYS] = {METH_FASTCALL, METH_FASTCALL | METH_KEYWORDS, METH_VARARGS, METH_VARARGS | METH_KEYWORDS};
    int way = WAYS - 1;
    while (way >= 0 && ways[way] != flags) {
        way--;
    }
    return way;
}
