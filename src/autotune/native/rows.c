/* See rows.h. */
#include "rows.h"
#include "loops.h"
#include "pool.h"

#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

static vectorcall *plain; /* NumPy's own function, the same for all ufuncs */
static PyObject *out_only; /* names of keyword arguments */
static _Thread_local bool is_observed;

/* --- whether a call has rows: asked at each call, without a call of the C API ------------------------------------------ */

enum { CONTIGUOUS = NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_F_CONTIGUOUS };

static PyTypeObject *array_type; /* a copy of NumPy's pointer */

static inline bool is_array(PyObject *object) { return Py_TYPE(object) == array_type; }

static inline int axes_of(PyObject *object) { return is_array(object) ? PyArray_NDIM((PyArrayObject *)object) : 0; }

/* Are both of one shape, and contiguous in the same order? NumPy runs them in one loop. */
static inline bool are_alike(PyArrayObject *first, PyArrayObject *second, int axes)
{
    const npy_intp *shape = PyArray_DIMS(first), *other = PyArray_DIMS(second);
    bool is_same = (PyArray_FLAGS(first) & PyArray_FLAGS(second) & CONTIGUOUS) != 0;
    for (int axis = 0; is_same && axis < axes; axis++) {
        is_same = shape[axis] == other[axis];
    }
    return is_same;
}

/* Does NumPy need several loops, by the numbers of axes of the first two arguments (0: no array)? The second may be the array
 * for the result; then the answer may be a false yes, which describe_rows corrects. */
static inline bool need_rows(PyObject *const *args, int axes, int other_axes)
{
    if (axes < 2 && other_axes < 2) {
        return false;
    }
    if (axes == other_axes) {
        return !are_alike((PyArrayObject *)args[0], (PyArrayObject *)args[1], axes);
    }
    return (axes > 0 && other_axes > 0) || (PyArray_FLAGS((PyArrayObject *)args[axes > 0 ? 0 : 1]) & CONTIGUOUS) == 0;
}

/* Elements of the result, which has as many axes as the arrays. */
static npy_intp elements_of(PyObject *const *args, int count, int axes)
{
    npy_intp elements = 1;
    for (int axis = 1; axis <= axes; axis++) {
        npy_intp longest = 1;
        for (int i = 0; i < count; i++) {
            const int own = axes_of(args[i]);
            const npy_intp length = own < axis ? 1 : PyArray_DIM((PyArrayObject *)args[i], own - axis);
            longest = length > longest ? length : longest;
        }
        if (__builtin_mul_overflow(elements, longest, &elements)) {
            return 0; /* an error of NumPy's */
        }
    }
    return elements;
}

/* --- operands ------------------------------------------------------------------------------------------------------- */

/* Those of a call, with references. The last one is the result, NULL until it is made. */
struct operands {
    PyArrayObject *arrays[LOOP_OPERANDS];
    int count, types[LOOP_OPERANDS];
};

static void drop(struct operands *operands)
{
    for (int i = 0; i < operands->count; i++) {
        Py_XDECREF((PyObject *)operands->arrays[i]);
    }
}

/* Can the array's type hold this number exactly, or as a rounded float? Then NumPy assigns it without a warning. Other integers
 * are left to NumPy: 2.0 and 2.1 may promote them by value, and wrap around what is assigned. */
static bool holds(PyArrayObject *array, PyObject *number)
{
    const int type = PyArray_TYPE(array);
    if (PyFloat_CheckExact(number)) {
        const double value = PyFloat_AsDouble(number);
        return type == NPY_DOUBLE || (type == NPY_FLOAT && (!isfinite(value) || fabs(value) <= FLT_MAX));
    }
    if (!PyLong_CheckExact(number) || PyTypeNum_ISCOMPLEX(type)) {
        return false;
    }
    int overflow;
    const long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
    const int bits = type == NPY_FLOAT    ? FLT_MANT_DIG
                     : type == NPY_DOUBLE ? DBL_MANT_DIG
                                          : 8 * (int)PyArray_ITEMSIZE(array) - PyTypeNum_ISSIGNED(type);
    const long long above = value >> (bits < 63 ? bits : 63); /* -1: negative, and large enough */
    return overflow == 0 && (above == 0 || (above == -1 && !PyTypeNum_ISUNSIGNED(type)));
}

/* An array without axes; NULL without an error where NumPy has to decide what the number is. */
static PyArrayObject *array_of_number(PyObject *number, int type)
{
    if (!PyTypeNum_ISNUMBER(type) || PyTypeNum_ISBOOL(type)) {
        return NULL;
    }
    PyArrayObject *array = (PyArrayObject *)PyArray_ZEROS(0, NULL, type, 0);
    if (array == NULL || !holds(array, number) || PyArray_SETITEM(array, PyArray_BYTES(array), number) < 0) {
        PyErr_Clear();
        Py_XDECREF((PyObject *)array);
        return NULL;
    }
    return array;
}

/* A scalar of NumPy's as an array; NULL without an error if it is none, or of a subclass, which may override ufuncs. */
static PyArrayObject *array_of_scalar(PyObject *scalar)
{
    if (!PyArray_IsScalar(scalar, Number)) {
        return NULL;
    }
    PyArrayObject *array = (PyArrayObject *)PyArray_FromScalar(scalar, NULL);
    if (array == NULL || PyArray_DESCR(array)->typeobj != Py_TYPE(scalar)) {
        PyErr_Clear();
        Py_XDECREF((PyObject *)array);
        return NULL;
    }
    return array;
}

/* Take the inputs as arrays of the types that the loop is to have. False: NumPy's own call has to decide. */
static bool take_inputs(struct operands *operands, PyObject *const *args, int count)
{
    int type = -1; /* of Python's numbers, which have none of their own */
    for (int i = 0; i < count; i++) {
        PyArrayObject *array = is_array(args[i]) ? (PyArrayObject *)Py_NewRef(args[i]) : array_of_scalar(args[i]);
        operands->arrays[i] = array;
        operands->count = i + 1;
        type = array != NULL ? PyArray_TYPE(array) : type;
    }
    for (int i = 0; i < count; i++) {
        if (operands->arrays[i] == NULL) {
            operands->arrays[i] = array_of_number(args[i], type);
        }
        PyArrayObject *array = operands->arrays[i];
        if (array == NULL || !PyArray_ISALIGNED(array) || PyArray_ISBYTESWAPPED(array) ||
            PyDataType_METADATA(PyArray_DESCR(array)) != NULL) { /* which NumPy may give to the result */
            return false;
        }
        operands->types[i] = PyArray_TYPE(array);
    }
    return true;
}

static void span(PyArrayObject *array, const char **low, const char **high)
{
    *low = *high = PyArray_BYTES(array);
    for (int axis = 0; axis < PyArray_NDIM(array); axis++) {
        const npy_intp reach = PyArray_STRIDE(array, axis) * (PyArray_DIM(array, axis) - 1);
        *(reach < 0 ? low : high) += reach;
    }
    *high += PyArray_ITEMSIZE(array);
}

/* Is this the same part of memory in the same order, or memory apart? */
static bool is_same_or_apart(PyArrayObject *first, PyArrayObject *second)
{
    const size_t bytes = (size_t)PyArray_NDIM(first) * sizeof(npy_intp);
    if (PyArray_BYTES(first) == PyArray_BYTES(second) && PyArray_TYPE(first) == PyArray_TYPE(second) &&
        PyArray_NDIM(first) == PyArray_NDIM(second) &&
        memcmp(PyArray_DIMS(first), PyArray_DIMS(second), bytes) == 0 &&
        memcmp(PyArray_STRIDES(first), PyArray_STRIDES(second), bytes) == 0) {
        return true;
    }
    const char *low, *high, *other_low, *other_high;
    span(first, &low, &high);
    span(second, &other_low, &other_high);
    return high <= other_low || other_high <= low;
}

/* Has each element memory of its own? It has if a step along each axis, the shortest first, leads past all before. */
static bool has_own_elements(PyArrayObject *array)
{
    npy_intp steps[LOOP_AXES], lengths[LOOP_AXES], past = PyArray_ITEMSIZE(array);
    int axes = 0;
    for (int axis = 0; axis < PyArray_NDIM(array); axis++) {
        const npy_intp length = PyArray_DIM(array, axis), stride = PyArray_STRIDE(array, axis);
        const npy_intp step = stride < 0 ? -stride : stride;
        if (length < 2) {
            continue;
        }
        if (axes == LOOP_AXES) {
            return false;
        }
        int place = axes++;
        for (; place > 0 && steps[place - 1] > step; place--) {
            steps[place] = steps[place - 1], lengths[place] = lengths[place - 1];
        }
        steps[place] = step, lengths[place] = length;
    }
    for (int axis = 0; axis < axes; axis++) {
        if (steps[axis] < past) {
            return false;
        }
        past += steps[axis] * (lengths[axis] - 1);
    }
    return true;
}

/* Take the array that the caller gave for the result. False: NumPy's own call has to decide. */
static bool take_output(struct operands *operands, PyObject *output)
{
    PyArrayObject *array = (PyArrayObject *)output;
    if (!is_array(output) || PyArray_TYPE(array) != operands->types[operands->count] || !PyArray_ISBEHAVED(array) ||
        !has_own_elements(array)) {
        return false;
    }
    for (int i = 0; i < operands->count; i++) {
        if (!is_same_or_apart(array, operands->arrays[i])) {
            return false;
        }
    }
    operands->arrays[operands->count] = (PyArrayObject *)Py_NewRef(output);
    return true;
}

/* Is the result the memory of an operand? */
static bool is_in_place(const struct operands *operands)
{
    const int last = operands->count - 1;
    int i = 0;
    while (i < last && PyArray_BYTES(operands->arrays[i]) != PyArray_BYTES(operands->arrays[last])) {
        i++;
    }
    return i < last;
}

/* NumPy copies shorter rows into a buffer and runs one loop over many of them. Sharing them row by row on two threads is
 * slower. */
enum { SHORT_ROW = 16 };

/* --- the call ---------------------------------------------------------------------------------------------------------- */

/* Let NumPy's iterator order and merge the axes, and make the result where the caller gave none, as it does for a call of
 * its own. False: this is one loop, or NumPy's own call has to decide. */
static bool describe_rows(struct rows *rows, struct operands *operands)
{
    PyArray_Descr *types[LOOP_OPERANDS];
    npy_uint32 flags[LOOP_OPERANDS];
    const int last = operands->count, count = last + 1;
    const bool is_given = operands->arrays[last] != NULL;
    operands->count = count;
    for (int i = 0; i < count; i++) {
        types[i] = PyArray_DescrFromType(operands->types[i]);
        flags[i] = NPY_ITER_READONLY | NPY_ITER_ALIGNED | NPY_ITER_NBO;
    }
    flags[last] = NPY_ITER_WRITEONLY | NPY_ITER_ALIGNED | NPY_ITER_NBO | NPY_ITER_NO_BROADCAST | NPY_ITER_NO_SUBTYPE |
                  (is_given ? 0 : NPY_ITER_ALLOCATE);
    NpyIter *iterator = NpyIter_MultiNew(count, operands->arrays, NPY_ITER_EXTERNAL_LOOP | NPY_ITER_ZEROSIZE_OK, NPY_KEEPORDER,
                                         NPY_NO_CASTING, flags, types);
    for (int i = 0; i < count; i++) {
        Py_XDECREF((PyObject *)types[i]);
    }
    if (iterator == NULL) {
        PyErr_Clear();
        return false;
    }
    const size_t bytes = (size_t)count * sizeof(npy_intp);
    npy_intp shape[NPY_MAXDIMS];
    rows->axes = NpyIter_GetNDim(iterator);
    rows->elements = NpyIter_GetIterSize(iterator);
    /* without an index the iterator tells its own axes, the innermost first: it is asked, since no page says so */
    const bool has_rows = rows->axes > 1 && rows->axes <= LOOP_AXES && rows->elements > 0 &&
                          NpyIter_GetShape(iterator, shape) == NPY_SUCCEED && shape[0] >= SHORT_ROW &&
                          shape[0] == *NpyIter_GetInnerLoopSizePtr(iterator) &&
                          memcmp(NpyIter_GetAxisStrideArray(iterator, 0), NpyIter_GetInnerStrideArray(iterator), bytes) == 0;
    if (has_rows) {
        memcpy(rows->shape, shape, (size_t)rows->axes * sizeof *shape);
        memcpy(rows->first, NpyIter_GetInitialDataPtrArray(iterator), (size_t)count * sizeof *rows->first);
        for (int axis = 0; axis < rows->axes; axis++) {
            memcpy(rows->strides[axis], NpyIter_GetAxisStrideArray(iterator, axis), bytes);
        }
        if (!is_given) {
            operands->arrays[last] = (PyArrayObject *)Py_NewRef((PyObject *)NpyIter_GetOperandArray(iterator)[last]);
        }
    }
    NpyIter_Deallocate(iterator);
    return has_rows && PyArray_SIZE(operands->arrays[last]) == rows->elements;
}

/* Give rows to NumPy as one loop over the first element of each operand, which stands for it. Its result goes to memory that has
 * room for it; NULL: NumPy allocates some, which stays untouched. It is never an array of the caller's: if another thread takes
 * the loops off meanwhile, NumPy's own loop writes there, and meets no floating-point error that the call would not. */
static bool call_as_one_loop(PyUFuncObject *ufunc, struct rows *rows, const struct operands *operands, void *memory)
{
    PyObject *args[LOOP_OPERANDS] = {NULL}, *result = NULL;
    const int inputs = ufunc->nin;
    bool are_made = true;
    for (int i = 0; i < inputs; i++) {
        args[i] = PyArray_New(&PyArray_Type, 0, NULL, operands->types[i], NULL, rows->first[i], 0,
                              NPY_ARRAY_CARRAY_RO, NULL);
        are_made = are_made && args[i] != NULL;
    }
    args[inputs] = PyArray_New(&PyArray_Type, 1, &rows->elements, operands->types[inputs], NULL, memory, 0,
                               NPY_ARRAY_CARRAY, NULL);
    if (out_only == NULL) {
        out_only = Py_BuildValue("(s)", "out");
    }
    if (!are_made || args[inputs] == NULL || out_only == NULL) {
        PyErr_Clear(); /* no memory: NumPy's own call may need less */
    } else {
        rows->memory = PyArray_BYTES((PyArrayObject *)args[inputs]);
        rows->end = rows->memory + rows->elements * PyArray_ITEMSIZE((PyArrayObject *)args[inputs]);
        struct rows *outer = loops_begin_rows(rows);
        result = plain((PyObject *)ufunc, args, (size_t)inputs, out_only);
        loops_begin_rows(outer);
    }
    for (int i = 0; i <= inputs; i++) {
        Py_XDECREF(args[i]);
    }
    Py_XDECREF(result);
    return result != NULL;
}

/* Does NumPy choose the slot's loop for these types? Tried once, with memory for a result that is never touched: the loop
 * of another extension would write into it. */
static bool is_chosen(PyUFuncObject *ufunc, const struct rows *rows, const struct operands *operands)
{
    if (loops_trial(rows->slot) == TRIAL_NONE) {
        struct rows trial = *rows;
        trial.is_trial = true;
        const bool has_ended = call_as_one_loop(ufunc, &trial, operands, NULL);
        PyErr_Clear();
        loops_note_trial(rows->slot, has_ended && trial.is_run);
    }
    return loops_trial(rows->slot) == TRIAL_PASSED;
}

/* The array that the caller gave for the result; NULL in `output`: none. False: NumPy's own call has to decide. */
static bool find_output(const PyUFuncObject *ufunc, PyObject *const *args, size_t count, PyObject *names,
                        PyObject **output)
{
    const bool is_by_position = count == (size_t)ufunc->nargs;
    *output = is_by_position ? args[ufunc->nin] : NULL;
    if (count > (size_t)ufunc->nargs) {
        return false;
    }
    if (is_by_position && (strcmp(ufunc->name, "maximum") == 0 || strcmp(ufunc->name, "minimum") == 0)) {
        return false; /* NumPy warns of the third place */
    }
    if (names != NULL && PyTuple_Size(names) > 0) {
        if (is_by_position || PyTuple_Size(names) > 1 ||
            PyUnicode_CompareWithASCIIString(PyTuple_GetItem(names, 0), "out") != 0) {
            return false;
        }
        *output = args[count];
    }
    *output = *output == Py_None ? NULL : *output;
    return true;
}

/* The result of a call in rows. NULL: an error is set, or, where none is, NumPy's own call has to do it. */
static __attribute__((noinline)) PyObject *call_in_rows(PyUFuncObject *ufunc, PyObject *const *args, size_t count,
                                                        PyObject *names, npy_intp elements)
{
    struct operands operands = {.count = 0};
    struct rows rows = {.is_run = false};
    PyObject *output, *result = NULL;
    if (ufunc->nout != 1 || ufunc->core_enabled || ufunc->nargs > LOOP_OPERANDS ||
        !find_output(ufunc, args, count, names, &output)) {
        return NULL;
    }
    bool is_covered = false, are_described = false;
    if (take_inputs(&operands, args, ufunc->nin)) {
        rows.slot = loops_slot_for_rows(ufunc, operands.types);
        is_covered = rows.slot >= 0 && loops_cover_rows(rows.slot, elements);
        if (is_covered || (rows.slot >= 0 && is_observed)) {
            operands.types[ufunc->nin] = loops_result_type(rows.slot);
            are_described = (output == NULL || take_output(&operands, output)) && describe_rows(&rows, &operands) &&
                            loops_give_same_bits(rows.slot, rows.strides[0]);
            rows.picks_nan = are_described && loops_pick_nan(&rows);
            rows.is_in_place = are_described && is_in_place(&operands);
        }
    }
    if (are_described && is_observed) {
        loops_tell_rows(rows.slot, rows.elements);
    }
    if (are_described && is_covered && is_chosen(ufunc, &rows, &operands)) {
        PyArrayObject *array = operands.arrays[ufunc->nin];
        void *memory = output == NULL && PyArray_FLAGS(array) & CONTIGUOUS ? PyArray_BYTES(array) : NULL;
        if (call_as_one_loop(ufunc, &rows, &operands, memory) && rows.is_run) {
            result = Py_NewRef((PyObject *)array);
        }
    }
    drop(&operands);
    return result;
}

static __attribute__((noinline)) PyObject *call_with_axes(PyObject *self, PyObject *const *args, size_t flagged,
                                                          PyObject *names, int axes)
{
    PyUFuncObject *ufunc = (PyUFuncObject *)self;
    const size_t count = arguments_of(flagged);
    if (count < (size_t)ufunc->nin) {
        return plain(self, args, flagged, names); /* an error of NumPy's */
    }
    const npy_intp elements = elements_of(args, ufunc->nin, axes);
    if (elements >= load_relaxed(&loops_rows_from) || is_observed) {
        PyObject *result = call_in_rows(ufunc, args, count, names, elements);
        if (result != NULL || PyErr_Occurred()) {
            return result;
        }
    }
    return plain(self, args, flagged, names);
}

/* Arrays of one axis, and most others, are passed on without a call in between. */
PyObject *rows_call(PyObject *self, PyObject *const *args, size_t flagged, PyObject *names)
{
    const size_t count = arguments_of(flagged);
    const int axes = count > 0 ? axes_of(args[0]) : 0, other_axes = count > 1 ? axes_of(args[1]) : 0;
    return need_rows(args, axes, other_axes)
               ? call_with_axes(self, args, flagged, names, axes > other_axes ? axes : other_axes)
               : plain(self, args, flagged, names);
}

bool rows_are_needed(PyObject *const *args, size_t count)
{
    return need_rows(args, count > 0 ? axes_of(args[0]) : 0, count > 1 ? axes_of(args[1]) : 0);
}

void rows_observe(bool on) { is_observed = on; }

/* --- meeting ---------------------------------------------------------------------------------------------------------- */

static bool replace(PyUFuncObject *ufunc, vectorcall *before, vectorcall *after)
{
    void *expected = (void *)before;
    return atomic_compare_exchange_strong((_Atomic(void *) *)&ufunc->vectorcall, &expected, (void *)after);
}

bool rows_meet(PyUFuncObject *ufunc, vectorcall *function)
{
    if (plain == NULL) {
        /* a ufunc's that no other extension has seen */
        PyObject *fresh = PyUFunc_FromFuncAndData(NULL, NULL, NULL, 0, 1, 1, PyUFunc_None, "fresh", NULL, 0);
        if (fresh == NULL) {
            PyErr_Clear();
            return false;
        }
        plain = ((PyUFuncObject *)fresh)->vectorcall;
        array_type = &PyArray_Type;
        Py_DECREF(fresh);
    }
    return replace(ufunc, plain, function) || replace(ufunc, rows_call, function) || ufunc->vectorcall == function;
}

void rows_release(PyUFuncObject *ufunc) { replace(ufunc, rows_call, plain); }
