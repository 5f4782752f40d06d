/* Calls of NumPy's compiled functions, met below the objects that a program names.
 *
 * A ufunc is met at its `vectorcall` member, which is part of NumPy's public structure; built-in functions
 * and methods (dot, inner, vdot, ndarray.dot) at the C function of their PyMethodDef. Objects, names,
 * signatures and overrides stay what they are. All of it runs under the GIL, before and after NumPy's own
 * function: there is no line at which a signal or the recursion limit could leave a result unwritten. */
#ifndef AUTOTUNE_CALLS_H
#define AUTOTUNE_CALLS_H

#include "numpy_api.h"
#include "switch.h"

/* Meet calls of this ufunc, built-in function or method descriptor. `decide(type, a, b)` is called once for each
 * dtype and shape, and returns a Calls object; `through` is a Switch, or NULL to count only. Returns the number of the
 * hook, or -1 with an exception set. */
int calls_meet(PyObject *target, PyObject *decide, PyObject *through);

/* Put NumPy's own function back; false if another extension has put its own there, which then stays. */
bool calls_release(int number);

/* How many hooks have been used. */
int calls_used(void);

#endif
