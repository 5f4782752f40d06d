/* NumPy's headers, with the tables of its C functions shared by all files of the extension. */
#ifndef AUTOTUNE_NUMPY_API_H
#define AUTOTUNE_NUMPY_API_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL autotune_array_api
#define PY_UFUNC_UNIQUE_SYMBOL autotune_ufunc_api
#ifndef AUTOTUNE_IMPORTS_NUMPY
#define NO_IMPORT_ARRAY
#define NO_IMPORT_UFUNC
#endif
#include <numpy/arrayobject.h>
#include <numpy/ufuncobject.h>

/* Sixteen stubs, numbered by a hexadecimal digit after `n`. */
#define DIGITS(do, n)                                                                                        \
    do(n##0) do(n##1) do(n##2) do(n##3) do(n##4) do(n##5) do(n##6) do(n##7)                                  \
    do(n##8) do(n##9) do(n##A) do(n##B) do(n##C) do(n##D) do(n##E) do(n##F)
#endif
