/* Functions of other libraries, SciPy's: an object stands for one, and calls it within a switch. */
#ifndef AUTOTUNE_MET_H
#define AUTOTUNE_MET_H

#include "numpy_api.h"

/* Make the type known to a module. */
int met_types(PyObject *module);

#endif
