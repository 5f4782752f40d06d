/* Calls of ufuncs whose operands lie in several inner loops of equal length: broadcast along an axis, or a part of a larger
 * array. NumPy runs one loop after the other; here the loops of one call ("rows") are shared by the threads of the pool.
 *
 * Each call of a ufunc that is met passes here, through the vectorcall pointer that NumPy keeps in the ufunc. A call in rows is given to NumPy
 * as one loop over its whole result; that loop's stub runs the rows. So NumPy goes on to choose the loop by the types, to
 * release the GIL, and to report floating-point errors. Calls that need casting, buffers, masks or subclasses are NumPy's. */
#ifndef AUTOTUNE_ROWS_H
#define AUTOTUNE_ROWS_H

#include "definition.h"
#include "numpy_api.h"
#include <stdbool.h>

/* Call a ufunc, in rows where a plan covers them, else as NumPy does. Under the GIL, as all here. */
PyObject *rows_call(PyObject *ufunc, PyObject *const *args, size_t flagged, PyObject *names);

/* Does NumPy run a call in several loops, as far as the shapes of its operands tell? */
bool rows_are_needed(PyObject *const *args, size_t count);

/* While on, also pass this thread's calls in rows to the observer of loops_observe(). */
void rows_observe(bool on);

/* Let `function`, which ends in rows_call, take the place of NumPy's function that calls this ufunc, or of rows_call. False
 * if another extension's has it. */
bool rows_meet(PyUFuncObject *ufunc, vectorcall *function);

/* Put NumPy's own function back where rows_call has its place. */
void rows_release(PyUFuncObject *ufunc);
#endif
