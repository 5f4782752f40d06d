/* Where the address of a compiled function lies: in the PyMethodDef that NumPy's, SciPy's or Cython's code gave to Python.
 *
 * Exchanging that address intercepts every call of the function, by whatever name, and changes no object. */
#ifndef AUTOTUNE_DEFINITION_H
#define AUTOTUNE_DEFINITION_H

#include "numpy_api.h"
#include <stdbool.h>

/* The definition of a built-in function, a method of arrays or ufuncs, or a function of Cython, whose C function can be
 * exchanged; else NULL. */
PyMethodDef *definition_of(PyObject *target);

/* Ways in which Python calls a C function. */
typedef PyObject *vectorcall(PyObject *, PyObject *const *, size_t, PyObject *);
typedef PyObject *fastcall(PyObject *, PyObject *const *, Py_ssize_t);
typedef PyObject *fastcall_keywords(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);
typedef PyObject *call_keywords(PyObject *, PyObject *, PyObject *);

/* The number of positional arguments of a vectorcall: PyVectorcall_NARGS, which the limited API hides. */
static inline size_t arguments_of(size_t flagged) { return flagged & ~((size_t)1 << (8 * sizeof(size_t) - 1)); }

/* Stubs for a function or method, one for each way of calling it: a C function is not told which definition it serves. They
 * call `call_fast` and `call_tuple` of the file that has them; names and keywords are NULL where the way has none. */
#define FUNCTION_STUBS(n)                                                                                    \
    static PyObject *fast_##n(PyObject *self, PyObject *const *args, Py_ssize_t count)                       \
    {                                                                                                        \
        return call_fast(0x##n, self, args, count, NULL, false);                                             \
    }                                                                                                        \
    static PyObject *fast_keywords_##n(PyObject *self, PyObject *const *args, Py_ssize_t count,              \
                                       PyObject *names)                                                      \
    {                                                                                                        \
        return call_fast(0x##n, self, args, count, names, true);                                             \
    }                                                                                                        \
    static PyObject *tuple_##n(PyObject *self, PyObject *args)                                               \
    {                                                                                                        \
        return call_tuple(0x##n, self, args, NULL, false);                                                   \
    }                                                                                                        \
    static PyObject *keywords_##n(PyObject *self, PyObject *args, PyObject *keywords)                        \
    {                                                                                                        \
        return call_tuple(0x##n, self, args, keywords, true);                                                \
    }
#define STUBS_BY_WAY(n) {(void *)fast_##n, (void *)fast_keywords_##n, (void *)tuple_##n, (void *)keywords_##n},
enum { WAYS = 4 };

/* The number of the stub, of the four of a function, for a way of calling by its METH_ flags; -1: none. */
int way_of(int flags);

/* Is this the address of memory that can be written? It need not be an address at all. */
bool is_writable(void *place);

#endif
