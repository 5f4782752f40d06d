/* Where the address of a compiled function lies: in the PyMethodDef that NumPy's, SciPy's or Cython's code gave to Python.
 *
 * To exchange that address meets every call of the function, by whatever name, and changes no object. */
#ifndef AUTOTUNE_DEFINITION_H
#define AUTOTUNE_DEFINITION_H

#include "numpy_api.h"
#include <stdbool.h>

/* The definition of a built-in function, a method of arrays or ufuncs, or a function of Cython, whose C function can be
 * exchanged; else NULL. */
PyMethodDef *definition_of(PyObject *target);

/* Is this the address of memory that can be written? It need not be an address at all. */
bool is_writable(void *place);

#endif
