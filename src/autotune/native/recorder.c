/* See recorder.h. */
#include "recorder.h"
#include "definition.h"
#include "pool.h"
#include "rows.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* How often calls are timed: each of the first ones, then each whose mean is so long that two readings of the clock
 * (50 ns) are at most 1.3 % of it, else one in EVERY.
 *
 * Short calls with SMALL operands are then not even described, which would take a tenth of their time: after EXACT of
 * them a function passes over a random number of such calls, uniform from 0 to 2 * EVERY - 2, and the next one is
 * described, timed and counted for all of them. This is systematic sampling with random gaps (Cochran, Sampling
 * Techniques, chapter 8): counts and seconds are unbiased, and all calls count but for those after the latest that
 * was described. Of n calls of one row among others of its function, the count has a relative standard deviation of at
 * most sqrt(4/3 EVERY / n): 9 % of 10,000, 0.9 % of a million. */
enum { FIRST_TIMED = 64, SHORT_NS = 4000, EVERY = 64, EXACT = 1024, SMALL = 1024 };

enum { KEYS = 2048, FUNCTIONS = 320, UFUNCS = 256 };

/* How long idle threads of OpenBLAS spin: 2^20, 2^22 and, by default, 2^28 cycles (EXPONENTS of controls/wait_policy.py). */
static const int64_t SPIN_NS[SPINS] = {390625, 1562500, 100000000};

/* How often the process's own CPU time is read. */
static const int64_t REFRESH_NS = 20000000;

static const char MAGIC[16] = "autotune record";

enum state { RECORDING, ASKED_TO_STOP, ENDED };

struct header {
    char magic[16];
    uint32_t version, header_bytes, row_bytes, capacity;
    _Atomic(uint32_t) rows, state; /* `state` is also written by the process that reads */
    int64_t pid, parent, start_ns; /* CLOCK_MONOTONIC */
    _Atomic(int64_t) last_ns, cpu_ns;
    _Atomic(uint32_t) threads, most_at_once; /* that called, and those in a timed call at once */
    _Atomic(uint32_t) turns, unused; /* turns: times that a thread called again after another one had */
};

_Static_assert(sizeof(struct record_row) == 144, "the layout that recording/ledger.py reads");
_Static_assert(sizeof(struct header) == 96, "the layout that recording/ledger.py reads");

struct key {
    const void *target;
    int64_t sizes[4];
    char types[6], layout, kind;
};

static struct entry {
    struct key key;
    struct record_row *row; /* NULL: empty */
} entries[KEYS];
static int keys;

static struct header *header;
static struct record_row *rows;
static char folder[1024];
enum { OFF, ON, FORKED };

/* What each call of a ufunc and each array that is freed reads, in one line of the cache. */
static struct {
    _Alignas(64) atomic_int mode;
    PyTypeObject *array;   /* a copy of NumPy's pointer */
    destructor release;
    size_t items;          /* distance of a tuple's items from its beginning; 0: unknown */
    PyObject *no_value;    /* NumPy's mark of an argument that was not given; NULL: unknown */
} quick;

/* Short calls of one function with small operands, by all threads, under the GIL. */
struct sampler {
    uint32_t left, passed; /* to be passed over; passed over since the latest call that was described */
    const void *ufunc;     /* of a ufunc's sampler: which one it is */
};

/* Of ufuncs by their address, of functions by their number, and of reads by index. */
static struct sampler samplers[UFUNCS + FUNCTIONS + 1];

static int64_t blas_ended; /* when the last call of BLAS ended; under the GIL */

static atomic_int at_once;
static atomic_uint forks; /* that led to this process: a call that began before the last of them is its parent's */

/* Of variables of a thread: at a fixed distance from its pointer, as the C library's own, where it leaves room for those of
 * libraries that are loaded later. Else each access is a call. */
#ifdef __GLIBC__
#define NEAR __attribute__((tls_model("initial-exec")))
#else
#define NEAR
#endif

static NEAR _Thread_local int64_t inner; /* nanoseconds of recorded calls that the one in progress has made */
static NEAR _Thread_local int depth; /* timed calls in progress: each but the first was made by the one before */
static NEAR _Thread_local uint64_t current, last_number; /* of the innermost timed call, and of the latest one */
static NEAR _Thread_local bool is_seen;
static NEAR _Thread_local struct record_loops loops; /* of the innermost timed call, so far */

/* Adds to a counter and returns what it was. Writers hold the GIL (the core refuses builds without), so that no locked
 * instruction is needed; readers in other processes see whole words. */
static uint64_t counter_add(_Atomic(uint64_t) *counter, uint64_t number)
{
    const uint64_t before = load_relaxed(counter);
    atomic_store_explicit(counter, before + number, memory_order_relaxed);
    return before;
}

/* --- the file --------------------------------------------------------------------------------------------------- */

static int64_t cpu_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static const size_t LENGTH = RECORD_HEADER + RECORD_ROWS * sizeof(struct record_row);

/* A new file of full length: where the disk is full this fails here, and not with SIGBUS at a count. */
static void *map_file(const char *path, void *place, int *error)
{
    const int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0) {
        *error = errno;
        return NULL;
    }
#ifdef __APPLE__
    *error = ftruncate(file, (off_t)LENGTH) == 0 ? 0 : errno;
#else
    *error = posix_fallocate(file, 0, (off_t)LENGTH);
#endif
    void *memory = MAP_FAILED;
    if (*error == 0) {
        memory = mmap(place, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED | (place ? MAP_FIXED : 0), file, 0);
        *error = memory == MAP_FAILED ? errno : 0;
    }
    close(file); /* a program may close all descriptors: the mapping stays */
    if (*error != 0) {
        unlink(path);
        return NULL;
    }
    return memory;
}

static void begin_header(struct header *new, int64_t parent)
{
    memcpy(new->magic, MAGIC, sizeof MAGIC);
    new->version = RECORD_VERSION;
    new->header_bytes = RECORD_HEADER;
    new->row_bytes = sizeof(struct record_row);
    new->capacity = RECORD_ROWS;
    new->pid = getpid();
    new->parent = parent;
    new->start_ns = pool_clock();
    atomic_store(&new->last_ns, new->start_ns);
}

/* Begin a file of this child of a process that records. It gets its parent's rows, with nothing counted, at the
 * same address: what points to rows stays right. The parent may have ended since. */
static void take_up_after_fork(void)
{
    static struct record_row before[RECORD_ROWS];
    char path[sizeof folder + 64];
    const int64_t parent = header->pid;
    const uint32_t count = atomic_load(&header->rows);
    const uint32_t state = atomic_load(&header->state);
    memcpy(before, rows, sizeof before);
    snprintf(path, sizeof path, "%s/%lld-%lld.ledger", folder, (long long)getpid(), (long long)pool_clock());
    int error;
    if (state == ASKED_TO_STOP || map_file(path, header, &error) == NULL) {
        atomic_store(&quick.mode, OFF);
        return;
    }
    begin_header(header, parent);
    memset(samplers, 0, sizeof samplers);
    for (uint32_t i = 0; i < count; i++) {
        rows[i] = before[i];
        atomic_store(&rows[i].calls, 0);
        atomic_store(&rows[i].timed, 0);
        atomic_store(&rows[i].nanoseconds, 0);
        atomic_store(&rows[i].elements, 0);
        for (int spin = 0; spin < SPINS; spin++) {
            atomic_store(&rows[i].after_blas[spin], 0);
        }
    }
    atomic_store(&header->rows, count);
    atomic_store(&quick.mode, ON);
}

/* Most forked processes never call NumPy: a file is made at the first call. */
static void after_fork_in_child(void)
{
    int expected = ON;
    atomic_compare_exchange_strong(&quick.mode, &expected, FORKED);
    atomic_fetch_add(&forks, 1);
    atomic_store(&at_once, 0);
    inner = 0;
    depth = 0;
    is_seen = false;
    loops = (struct record_loops){0};
}

int recorder_open(const char *path)
{
    if (atomic_load(&quick.mode) != OFF || header != NULL) {
        return EBUSY;
    }
    const char *end = strrchr(path, '/');
    if (end == NULL || (size_t)(end - path) >= sizeof folder) {
        return ENAMETOOLONG;
    }
    int error;
    void *memory = map_file(path, NULL, &error);
    if (memory == NULL) {
        return error;
    }
    memcpy(folder, path, (size_t)(end - path));
    header = memory;
    rows = (struct record_row *)((char *)memory + RECORD_HEADER);
    begin_header(header, getppid());
    snprintf(rows[0].name, sizeof rows[0].name, "other calls");
    rows[0].kind = 'f', rows[0].layout = '-';
    atomic_store(&header->rows, 1);
    pthread_atfork(NULL, NULL, after_fork_in_child);
    atomic_store(&quick.mode, ON);
    return 0;
}

void recorder_close(void)
{
    if (atomic_load(&quick.mode) == ON && atomic_load(&header->state) == RECORDING) {
        atomic_store(&header->last_ns, pool_clock());
        atomic_store(&header->cpu_ns, cpu_time());
        atomic_store(&header->state, ENDED);
    }
}

bool recorder_is_on(void)
{
    int now = load_relaxed(&quick.mode);
    if (now == FORKED) {
        take_up_after_fork();
        now = load_relaxed(&quick.mode);
    }
    /* calls of atexit handlers after ENDED still count */
    return now == ON && load_relaxed(&header->state) != ASKED_TO_STOP;
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

/* FNV-1a over words (Fowler, Noll, Vo). */
static size_t hash(const struct key *key)
{
    const uint64_t *words = (const uint64_t *)key;
    uint64_t h = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < sizeof *key / sizeof *words; i++) {
        h = (h ^ words[i]) * UINT64_C(1099511628211);
    }
    return (size_t)(h ^ h >> 29);
}

static uint64_t name_hash(const char *name)
{
    uint64_t h = UINT64_C(14695981039346656037);
    while (*name != '\0') {
        h = (h ^ (unsigned char)*name++) * UINT64_C(1099511628211);
    }
    return h;
}

static struct entry *find(const struct key *key)
{
    size_t i = hash(key) % KEYS;
    while (entries[i].row != NULL && memcmp(&entries[i].key, key, sizeof *key) != 0) {
        i = (i + 1) % KEYS;
    }
    return &entries[i];
}

/* Round to three significant bits, so that sizes that vary share rows. */
static int64_t rounded(int64_t size)
{
    int shift = 0;
    while (size >> shift >= 8) {
        shift++;
    }
    return shift ? (((size >> (shift - 1)) + 1) >> 1) << shift : size;
}

static struct record_row *row_of(struct key *key, const char *name, const char *suffix)
{
    static struct entry *latest = entries; /* most calls are like the one before */
    struct entry *entry = latest;
    if (entry->row == NULL || memcmp(&entry->key, key, sizeof *key) != 0) {
        entry = latest = find(key);
    }
    const uint32_t count = atomic_load(&header->rows);
    if (entry->row == NULL && count > RECORD_ROWS / 2 && (key->kind == 'g' || key->kind == 's')) {
        for (int i = 0; i < 4; i++) {
            key->sizes[i] = rounded(key->sizes[i]);
        }
        entry = find(key);
    }
    struct record_row *row = entry->row;
    if (row == NULL && (count >= RECORD_ROWS || keys >= KEYS / 2)) {
        row = &rows[0];
    } else if (row == NULL) {
        row = &rows[count];
        snprintf(row->name, sizeof row->name, "%s%s%s", name, suffix ? "." : "", suffix ? suffix : "");
        row->kind = key->kind, row->layout = key->layout;
        memcpy(row->types, key->types, sizeof row->types);
        memcpy(row->sizes, key->sizes, sizeof row->sizes);
        *entry = (struct entry){*key, row};
        keys++;
        atomic_store(&header->rows, count + 1); /* after its text: readers look at any time */
    }
    return row;
}

struct record_row *recorder_row(const char *name, const char *types, const int64_t sizes[4])
{
    /* the name, and not its Calls: those of other sizes and of other threads share the row */
    struct key key = {.target = (void *)(uintptr_t)name_hash(name), .layout = '-', .kind = 's'};
    if (!recorder_is_on()) {
        return NULL;
    }
    snprintf(key.types, sizeof key.types, "%s", types);
    memcpy(key.sizes, sizes, sizeof key.sizes);
    return row_of(&key, name, NULL);
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

static bool is_short(const struct record_row *row)
{
    const uint64_t timed = load_relaxed(&row->timed);
    const uint64_t nanoseconds = load_relaxed(&row->nanoseconds);
    return nanoseconds < SHORT_NS * timed;
}

/* How many calls are passed over: xorshift32 (Marsaglia 2003, "Xorshift RNGs"). */
static uint32_t random_gap(void)
{
    static uint32_t state = 2463534242;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state % (2 * EVERY - 1);
}

/* Is this call with small operands passed over? */
static inline bool passes_over(struct sampler *sampler)
{
    if (sampler->left == 0 || depth > 0 || load_relaxed(&quick.mode) != ON) {
        return false;
    }
    sampler->left--;
    sampler->passed++;
    return true;
}

static void see_thread(void)
{
    is_seen = true;
    atomic_fetch_add_explicit(&header->threads, 1, memory_order_relaxed);
}

/* Count a call, and those that were passed over before it; `sampler` is NULL for one with large operands. Returns whether
 * it is to be timed: calls inside a timed one always are, since that one's time is without theirs. */
static inline bool count_call(struct record_row *row, uint64_t elements, struct sampler *sampler)
{
    uint64_t weight = 1;
    if (sampler != NULL && depth == 0) {
        weight += sampler->passed;
        sampler->passed = 0;
    }
    const uint64_t calls = counter_add(&row->calls, weight);
    counter_add(&row->elements, elements * weight);
    if (calls < FIRST_TIMED || row == rows || !is_short(row)) { /* a long call among others of a mixed row weighs once */
        return true;
    }
    if (calls >= EXACT && sampler != NULL) {
        sampler->left = random_gap();
    }
    return weight > 1 || depth > 0 || calls % EVERY == 0;
}

static void begin_timing(struct record *record, struct record_row *row)
{
    static const void *latest; /* thread, by the address of a variable of its own; under the GIL */
    if (!is_seen) {
        see_thread();
    } else if (latest != &is_seen) {
        atomic_fetch_add_explicit(&header->turns, 1, memory_order_relaxed);
    }
    latest = &is_seen;
    if (depth++ == 0) {
        const unsigned others = (unsigned)atomic_fetch_add_explicit(&at_once, 1, memory_order_relaxed);
        if (others >= load_relaxed(&header->most_at_once)) {
            atomic_store_explicit(&header->most_at_once, others + 1, memory_order_relaxed);
        }
    }
    record->row = row;
    record->forks = load_relaxed(&forks);
    record->outer = inner;
    record->around = current;
    record->number = current = ++last_number;
    record->loops = loops;
    loops = (struct record_loops){0};
    inner = 0;
    record->start = pool_clock();
}

static void begin_call(struct record *record, struct record_row *row, uint64_t elements, struct sampler *sampler)
{
    record->row = NULL;
    if (count_call(row, elements, sampler)) {
        begin_timing(record, row);
    }
}

void record_begin(struct record *record, struct record_row *row, uint64_t elements)
{
    begin_call(record, row, elements, NULL);
}

void recorder_see_loop(int class_number, enum layout layout, bool rounds, npy_intp n)
{
    const int form = class_number | (int)layout << 8 | (int)rounds << 16;
    if (layout == LAYOUT_ROWS) {
        loops.rows = n;
        loops.rows_form = form;
        return;
    }
    loops.count++;
    loops.elements += n;
    if (n > loops.longest) {
        loops.longest = n;
        loops.form = form;
    }
}

static int64_t log2_of(npy_intp elements)
{
    return elements > 1 ? 63 - __builtin_clzll((unsigned long long)elements) : 0;
}

/* Is it a call that the runtime intercepts, after which idle BLAS threads spin? */
static bool is_of_blas(const struct record_row *row)
{
    return row->kind == 's' || (row->kind == 'g' && row->types[0] != '\0' && strchr("fdFD", row->types[0]) != NULL);
}

/* Add a timed call to the ledger row of calls of the same row whose loops have the same form. */
static __attribute__((noinline)) void count_loops(const struct record_row *row, int form, int64_t longest, int64_t count,
                                                  int64_t elements, uint64_t nanoseconds, int64_t after_blas)
{
    struct key key = {.kind = 'l', .layout = '-'};
    const int64_t sizes[4] = {row - rows, form, log2_of(longest), -1};
    memcpy(key.sizes, sizes, sizeof sizes);
    struct record_row *part = row_of(&key, row->name, NULL);
    if (part != &rows[0]) {
        counter_add(&part->calls, (uint64_t)count);
        counter_add(&part->elements, (uint64_t)elements);
        counter_add(&part->nanoseconds, nanoseconds);
        counter_add(&part->timed, 1);
        for (int spin = 0; spin < SPINS; spin++) {
            counter_add(&part->after_blas[spin], after_blas < SPIN_NS[spin] ? nanoseconds : 0);
        }
    }
}

void record_end(struct record *record)
{
    struct record_row *row = record->row;
    if (row == NULL) {
        return;
    }
    if (record->forks != load_relaxed(&forks)) {
        return; /* the call forked, and this is the child */
    }
    const int64_t now = pool_clock(), total = now - record->start, own = total - inner;
    if (--depth == 0) {
        atomic_fetch_sub_explicit(&at_once, 1, memory_order_relaxed);
    }
    if (record->number != current) {
        /* Another greenlet of the thread took over within this call, and has not ended its own: neither call's time is known,
         * nor that of any other in progress. A number that no call has tells them so. */
        current = ++last_number;
        loops = (struct record_loops){0};
        return;
    }
    const struct record_loops mine = loops;
    const uint64_t nanoseconds = own > 0 ? (uint64_t)own : 0;
    current = record->around;
    inner = record->outer + total;
    loops = record->loops;
    counter_add(&row->nanoseconds, nanoseconds);
    counter_add(&row->timed, 1);
    const int64_t after_blas = blas_ended != 0 ? record->start - blas_ended : INT64_MAX;
    if (mine.count > 0) {
        count_loops(row, mine.form, mine.longest, mine.count, mine.elements, nanoseconds, after_blas);
    }
    if (mine.rows > 0) {
        count_loops(row, mine.rows_form, mine.rows, 1, mine.rows, nanoseconds, after_blas);
    }
    if (is_of_blas(row)) {
        blas_ended = now;
    }
    if (now - load_relaxed(&header->last_ns) > REFRESH_NS) {
        atomic_store_explicit(&header->last_ns, now, memory_order_relaxed);
        atomic_store_explicit(&header->cpu_ns, cpu_time(), memory_order_relaxed);
    }
}

static bool is_contiguous(PyArrayObject *array)
{
    return (PyArray_FLAGS(array) & (NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_F_CONTIGUOUS)) != 0;
}

static npy_intp size_of(PyArrayObject *array)
{
    npy_intp elements = 1;
    for (int axis = 0; axis < PyArray_NDIM(array); axis++) {
        elements *= PyArray_DIM(array, axis);
    }
    return elements;
}

static bool is_small_integer(PyObject *object, long most)
{
    int overflow;
    return PyLong_AsLongAndOverflow(object, &overflow) <= most && overflow <= 0;
}

/* Is it a number, a name, or a few numbers and small arrays? A tuple of integers may be a shape. What begins with a float,
 * or has more integers than a shape, is a list of numbers: NumPy refuses it otherwise. */
static __attribute__((noinline)) bool is_small_value(PyObject *object)
{
    enum { ITEMS = 8, SHAPE = 32, NUMBERS = 64 };
    const bool is_list = PyList_CheckExact(object);
    if (PyLong_CheckExact(object)) {
        return is_small_integer(object, SMALL);
    }
    if (!is_list && !PyTuple_CheckExact(object)) {
        return object == Py_None || object == quick.no_value || PyBool_Check(object) || PyUnicode_CheckExact(object) || PyType_Check(object) ||
               PyArray_DescrCheck(object);
    }
    const Py_ssize_t count = Py_SIZE(object);
    PyObject *first = count < 1 ? NULL : is_list ? PyList_GetItem(object, 0) : PyTuple_GetItem(object, 0);
    if (count > 0 && (PyFloat_CheckExact(first) || (count > ITEMS && PyLong_CheckExact(first)))) {
        return count <= NUMBERS;
    }
    for (Py_ssize_t i = 0; count <= ITEMS && i < count; i++) {
        PyObject *item = is_list ? PyList_GetItem(object, i) : PyTuple_GetItem(object, i);
        if (!PyFloat_CheckExact(item) && !(PyLong_CheckExact(item) && is_small_integer(item, SHAPE)) &&
            !(Py_TYPE(item) == quick.array && size_of((PyArrayObject *)item) <= SMALL)) {
            return false;
        }
    }
    return count <= ITEMS;
}

static inline bool is_small(PyObject *object)
{
    return Py_TYPE(object) == quick.array ? size_of((PyArrayObject *)object) <= SMALL
                                          : PyFloat_CheckExact(object) || is_small_value(object);
}

static inline bool are_small(PyObject *const *args, Py_ssize_t count)
{
    bool small = true;
    for (Py_ssize_t i = 0; small && i < count; i++) {
        small = is_small(args[i]);
    }
    return small;
}

static char code_of(PyArrayObject *array)
{
    static const char codes[] = "?bBhHiIlLqQfdgFDG"; /* by type number */
    const int type = PyArray_TYPE(array);
    return type >= 0 && type < (int)sizeof codes - 1 ? codes[type] : type == NPY_HALF ? 'e' : 'O';
}

/* Add an operand to the key; returns its elements, 0 for what is no array. */
static npy_intp add_operand(struct key *key, int number, PyObject *object, bool by_shape)
{
    if (!PyArray_Check(object)) {
        return 0;
    }
    PyArrayObject *array = (PyArrayObject *)object;
    const int axes = PyArray_NDIM(array);
    key->types[number] = code_of(array);
    if (!is_contiguous(array)) {
        key->layout = 'S';
    }
    if (by_shape) {
        key->sizes[2 * number] = axes > 1 ? PyArray_DIM(array, axes - 2) : -1;
        key->sizes[2 * number + 1] = axes > 0 ? PyArray_DIM(array, axes - 1) : -1;
    }
    return size_of(array);
}

/* Elements of the array that two operands are broadcast to. */
static inline npy_intp broadcast_size(PyArrayObject *first, PyArrayObject *second)
{
    const int axes = PyArray_NDIM(first), others = PyArray_NDIM(second);
    npy_intp elements = 1;
    for (int axis = 1; axis <= axes || axis <= others; axis++) {
        const npy_intp size = axis <= axes ? PyArray_DIM(first, axes - axis) : 1;
        const npy_intp length = size == 1 && axis <= others ? PyArray_DIM(second, others - axis) : size;
        if (__builtin_mul_overflow(elements, length, &elements)) {
            return 0; /* an error of NumPy's */
        }
    }
    return elements;
}

/* Tell what a call is by its first operands, and how many elements (of `g`: matrices) it has. */
static uint64_t describe(struct key *key, PyObject *first, PyObject *second)
{
    const bool by_shape = key->kind == 'g';
    for (int i = 0; i < 4; i++) {
        key->sizes[i] = -1;
    }
    key->layout = 'C';
    const npy_intp size_of_first = add_operand(key, 0, first, by_shape);
    const npy_intp size_of_second = second == NULL ? 0 : add_operand(key, 1, second, by_shape);
    const npy_intp elements = size_of_second > 0 && size_of_first > 0 && !by_shape
                                  ? broadcast_size((PyArrayObject *)first, (PyArrayObject *)second)
                              : size_of_first > size_of_second ? size_of_first
                                                               : size_of_second;
    if (by_shape) {
        const npy_intp rows_of = key->sizes[0] > 0 ? key->sizes[0] : 1, columns = key->sizes[1] > 0 ? key->sizes[1] : 1;
        return (uint64_t)(size_of_first / (rows_of * columns));
    }
    key->sizes[0] = log2_of(elements);
    return (uint64_t)elements;
}

/* Rows of calls of ufuncs, so that most calls need no key. */
static struct shortcut {
    const void *ufunc;
    uint64_t form; /* type numbers, layout, log2 of the elements of exact arrays, rows: all that the key has */
    struct record_row *row;
    void *unused; /* 32 bytes: a place is found by a shift */
} shortcuts[256];

static struct shortcut *shortcut_of(const void *ufunc, uint64_t form)
{
    return &shortcuts[((uintptr_t)ufunc >> 5 ^ form ^ form >> 8) % 256];
}

/* Form of an exact array; 0 for what is none, which has no part in the key. */
static inline uint64_t form_of(PyObject *object)
{
    if (Py_TYPE(object) != quick.array) {
        return 0;
    }
    PyArrayObject *array = (PyArrayObject *)object;
    return (uint64_t)(PyArray_TYPE(array) + 1) << 8 | (uint64_t)!is_contiguous(array) << 7;
}

/* The sampler of a ufunc, or of another one that has its place. */
static inline struct sampler *sampler_of(const void *ufunc)
{
    return &samplers[((uintptr_t)ufunc >> 5 ^ (uintptr_t)ufunc >> 12) % UFUNCS];
}

/* May the call be in rows? Small calls are not asked: no second CPU pays for them. */
static inline bool may_have_rows(PyObject *const *args, size_t count, npy_intp elements)
{
    enum { LEAST = 4096 };
    return elements >= LEAST && rows_are_needed(args, count);
}

static bool is_number(PyObject *object) { return PyFloat_CheckExact(object) || PyLong_CheckExact(object); }

static __attribute__((noinline)) PyObject *timed_ufunc(struct record_row *row, PyObject *self,
                                                       PyObject *const *args, size_t flagged, PyObject *names)
{
    struct record record;
    if (!recorder_is_on()) { /* asked to stop: what was counted since is read by no other process */
        return rows_call(self, args, flagged, names);
    }
    /* An iterator of NumPy's tells whether a call is in rows, which takes time: only the first timed calls of a row are asked,
     * and one in EVERY later. */
    const uint64_t timed = load_relaxed(&row->timed);
    const bool asks = row->sizes[1] > 0 && (timed < FIRST_TIMED || timed % EVERY == 0);
    begin_timing(&record, row);
    rows_observe(asks);
    PyObject *result = rows_call(self, args, flagged, names);
    rows_observe(false);
    record_end(&record);
    return result;
}

/* A call that no shortcut knows; the next one like it has one. */
static __attribute__((noinline)) PyObject *described_ufunc(PyObject *self, PyObject *const *args, size_t flagged,
                                                           PyObject *names, struct sampler *sampler)
{
    const PyUFuncObject *ufunc = (const PyUFuncObject *)self;
    const size_t count = arguments_of(flagged);
    if (count < 1 || !recorder_is_on()) {
        return rows_call(self, args, flagged, names);
    }
    PyObject *second = count > 1 && ufunc->nin > 1 ? args[1] : NULL;
    struct key key = {.target = self, .kind = ufunc->core_enabled ? 'g' : 'u'};
    const uint64_t elements = describe(&key, args[0], second);
    if (!ufunc->core_enabled && may_have_rows(args, count, (npy_intp)elements)) {
        key.sizes[1] = 1;
    }
    struct record_row *row = row_of(&key, ufunc->name, NULL);
    const uint64_t form_of_first = form_of(args[0]);
    const uint64_t form_of_second = second == NULL ? 0 : form_of(second);
    if (!ufunc->core_enabled && form_of_first != 0 && (form_of_second != 0 || second == NULL || is_number(second))) {
        const uint64_t form = form_of_first | form_of_second << 24 | (uint64_t)(key.sizes[1] > 0) << 16 |
                              (uint64_t)key.sizes[0];
        *shortcut_of(self, form) = (struct shortcut){self, form, row, NULL};
    }
    return count_call(row, elements, sampler) ? timed_ufunc(row, self, args, flagged, names)
                                              : rows_call(self, args, flagged, names);
}

/* Count a call whose row a shortcut tells. */
static __attribute__((noinline)) PyObject *counted_ufunc(PyObject *self, PyObject *const *args, size_t flagged,
                                                         PyObject *names)
{
    const PyUFuncObject *ufunc = (const PyUFuncObject *)self;
    const size_t count = arguments_of(flagged);
    if (count < 1 || load_relaxed(&quick.mode) != ON) {
        return described_ufunc(self, args, flagged, names, NULL);
    }
    struct sampler *sampler = sampler_of(self);
    if (sampler->ufunc == NULL) {
        sampler->ufunc = self;
    }
    if (sampler->ufunc != self || !are_small(args, count < 2 || ufunc->nin < 2 ? 1 : 2)) {
        sampler = NULL;
    }
    uint64_t form = form_of(args[0]);
    if (form == 0) {
        return described_ufunc(self, args, flagged, names, sampler);
    }
    npy_intp elements;
    PyObject *second = count > 1 && ufunc->nin > 1 ? args[1] : NULL;
    if (second != NULL) {
        const uint64_t form_of_second = form_of(second);
        if (form_of_second == 0 && !is_number(second)) {
            return described_ufunc(self, args, flagged, names, sampler);
        }
        form |= form_of_second << 24;
        elements = form_of_second == 0 ? size_of((PyArrayObject *)args[0])
                                       : broadcast_size((PyArrayObject *)args[0], (PyArrayObject *)second);
    } else {
        elements = size_of((PyArrayObject *)args[0]);
    }
    form |= (uint64_t)log2_of(elements) | (uint64_t)may_have_rows(args, count, elements) << 16;
    const struct shortcut *shortcut = shortcut_of(self, form);
    if (shortcut->ufunc != self || shortcut->form != form) {
        return described_ufunc(self, args, flagged, names, sampler);
    }
    struct record_row *row = shortcut->row;
    return count_call(row, (uint64_t)elements, sampler) ? timed_ufunc(row, self, args, flagged, names)
                                                        : rows_call(self, args, flagged, names);
}

/* Is an operand of a ufunc small, as far as is known without a call? */
static inline bool is_small_operand(PyObject *object)
{
    if (Py_TYPE(object) != quick.array) {
        return is_number(object);
    }
    PyArrayObject *array = (PyArrayObject *)object;
    const int axes = PyArray_NDIM(array);
    return axes == 1   ? PyArray_DIM(array, 0) <= SMALL
           : axes == 2 ? PyArray_DIM(array, 0) * PyArray_DIM(array, 1) <= SMALL
                       : axes == 0;
}

/* The straight path calls nothing but what takes its place, so that it saves no registers. */
static PyObject *recorded_ufunc(PyObject *self, PyObject *const *args, size_t flagged, PyObject *names)
{
    struct sampler *sampler = sampler_of(self);
    const size_t count = arguments_of(flagged);
    if (sampler->left == 0 || sampler->ufunc != self || count < 1 || !is_small_operand(args[0]) ||
        (count > 1 && !is_small_operand(args[1])) || !passes_over(sampler)) {
        return counted_ufunc(self, args, flagged, names);
    }
    return rows_call(self, args, flagged, names);
}

/* The distance of a tuple's items from its beginning, compared with what PyTuple_GetItem tells: CPython 3.14 has put a hash
 * before them. 0 if they are at neither place. */
static size_t place_of_items(void)
{
    enum { PLACE = 3, PLACE_3_14 = 4 };
    size_t place = 0;
    PyObject *tuple = PyTuple_Pack(2, (PyObject *)&PyArray_Type, (PyObject *)&PyUFunc_Type);
    for (size_t word = PLACE; tuple != NULL && word <= PLACE_3_14 && place == 0; word++) {
        PyObject **items = (PyObject **)tuple + word;
        const bool are_there = items[0] == PyTuple_GetItem(tuple, 0) && items[1] == PyTuple_GetItem(tuple, 1);
        place = are_there ? word * sizeof *items : 0;
    }
    Py_XDECREF(tuple);
    return place;
}

static void read_constants(void)
{
    PyObject *numpy = PyImport_ImportModule("numpy");
    quick.array = &PyArray_Type;
    quick.items = place_of_items();
    quick.no_value = numpy == NULL ? NULL : PyObject_GetAttrString(numpy, "_NoValue"); /* kept for good */
    Py_XDECREF(numpy);
    PyErr_Clear();
}

bool recorder_meet_ufunc(PyObject *object)
{
    if (quick.array == NULL) {
        read_constants();
    }
    return rows_meet((PyUFuncObject *)object, recorded_ufunc);
}

/* --- functions and methods ------------------------------------------------------------------------------------------ */

static struct function {
    PyMethodDef *definition;
    void *original;
    char name[40];
    char kind;
    const PyTypeObject *self; /* of the latest call with small operands, but for arrays: module, ufunc, generator */
} functions[FUNCTIONS];
static int functions_used;

/* An argument by its number; NULL if there are fewer. A borrowed reference. */
static PyObject *item(PyObject *const *args, Py_ssize_t count, Py_ssize_t number)
{
    return number < count ? args[number] : NULL;
}

static inline struct sampler *sampler_of_function(const struct function *function)
{
    return &samplers[UFUNCS + (function - functions)];
}

/* Is this call passed over? */
static inline bool is_passed_over(const struct function *function, PyObject *self, PyObject *const *args,
                                  Py_ssize_t count)
{
    struct sampler *sampler = sampler_of_function(function);
    return sampler->left > 0 &&
           (self == NULL || Py_TYPE(self) == function->self ||
            (Py_TYPE(self) == quick.array && size_of((PyArrayObject *)self) <= SMALL)) &&
           are_small(args, count) && passes_over(sampler);
}

static void begin(struct record *record, struct function *function, PyObject *self, PyObject *const *args,
                  Py_ssize_t count, Py_ssize_t all)
{
    record->row = NULL;
    if (!recorder_is_on()) {
        return;
    }
    struct key key = {.target = function, .kind = function->kind};
    const char *name = function->name, *suffix = NULL;
    bool small = are_small(args, all);
    if (self != NULL && PyArray_Check(self)) {
        small = small && is_small(self);
    } else if (self != NULL && small) {
        function->self = Py_TYPE(self);
    }
    PyObject *first = item(args, count, 0), *second = item(args, count, 1);
    if (function->kind == 'r') {
        key.target = self;
        key.types[2] = function->name[0], key.types[3] = function->name[6]; /* reduce, reduceat */
        name = ((PyUFuncObject *)self)->name, suffix = function->name;
        second = NULL;
    } else if (self != NULL && PyArray_Check(self)) {
        second = first, first = self;
    }
    if (first != NULL && PyTuple_Check(first) && PyTuple_Size(first) > 0) {
        first = PyTuple_GetItem(first, 0);
    } else if (first != NULL && PyList_Check(first) && PyList_Size(first) > 0) {
        first = PyList_GetItem(first, 0);
    }
    if (function->kind != 'g') {
        second = NULL;
    }
    const uint64_t elements = describe(&key, first ? first : Py_None, second);
    begin_call(record, row_of(&key, name, suffix), elements, small ? sampler_of_function(function) : NULL);
}

static inline PyObject *call_original(const struct function *function, PyObject *self, PyObject *const *args,
                                      Py_ssize_t count, PyObject *names, bool has_names)
{
    return has_names ? ((fastcall_keywords *)function->original)(self, args, count, names)
                     : ((fastcall *)function->original)(self, args, count);
}

/* Positional arguments, and the keywords' after them. */
static Py_ssize_t number_of(Py_ssize_t count, PyObject *names)
{
    return count + (names != NULL ? PyTuple_Size(names) : 0);
}

static __attribute__((noinline)) PyObject *record_fast(struct function *function, PyObject *self, PyObject *const *args,
                                                       Py_ssize_t count, PyObject *names, bool has_names)
{
    struct record record;
    begin(&record, function, self, args, count, number_of(count, names));
    PyObject *result = call_original(function, self, args, count, names, has_names);
    record_end(&record);
    return result;
}

static PyObject *call_fast(int number, PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names,
                           bool has_names)
{
    struct function *function = &functions[number];
    return is_passed_over(function, self, args, number_of(count, names))
               ? call_original(function, self, args, count, names, has_names)
               : record_fast(function, self, args, count, names, has_names);
}

/* Call a function that takes a tuple, one object, or none; keywords are NULL where it takes none. */
static PyObject *call_tuple(int number, PyObject *self, PyObject *args, PyObject *keywords, bool has_keywords)
{
    enum { MOST = 4 };
    struct function *function = &functions[number];
    struct record record;
    record.row = NULL;
    PyObject *given[MOST + 1] = {args};
    Py_ssize_t count = args != NULL;
    if (args != NULL && PyTuple_Check(args)) {
        count = PyTuple_Size(args) < MOST ? PyTuple_Size(args) : MOST;
        for (Py_ssize_t i = 0; i < count; i++) {
            given[i] = PyTuple_GetItem(args, i);
        }
    }
    given[count] = keywords; /* a dictionary is not small */
    const Py_ssize_t all = count + (keywords != NULL);
    if (!is_passed_over(function, self, given, all)) {
        begin(&record, function, self, given, count, all);
    }
    PyObject *result = has_keywords ? ((call_keywords *)function->original)(self, args, keywords)
                                    : ((PyCFunction)function->original)(self, args);
    record_end(&record);
    return result;
}

#define ALL(do)                                                                                              \
    DIGITS(do, 0) DIGITS(do, 1) DIGITS(do, 2) DIGITS(do, 3) DIGITS(do, 4) DIGITS(do, 5) DIGITS(do, 6)        \
    DIGITS(do, 7) DIGITS(do, 8) DIGITS(do, 9) DIGITS(do, A) DIGITS(do, B) DIGITS(do, C) DIGITS(do, D)        \
    DIGITS(do, E) DIGITS(do, F) DIGITS(do, 10) DIGITS(do, 11) DIGITS(do, 12) DIGITS(do, 13)
ALL(FUNCTION_STUBS)
static void *const stubs[FUNCTIONS][WAYS] = {ALL(STUBS_BY_WAY)};

static void *stub_of(int number, int flags)
{
    const int own = flags & ~(METH_CLASS | METH_STATIC);
    const int way = way_of(own == METH_O || own == METH_NOARGS ? METH_VARARGS : own);
    return way < 0 ? NULL : stubs[number][way];
}

bool recorder_meet_function(PyObject *target, const char *name, char kind)
{
    PyMethodDef *definition = definition_of(target);
    if (definition == NULL || functions_used == FUNCTIONS || strlen(name) >= sizeof functions->name) {
        return false;
    }
    for (int i = 0; i < functions_used; i++) {
        if (functions[i].definition == definition) {
            return true;
        }
    }
    struct function *function = &functions[functions_used];
    void *stub = stub_of(functions_used, definition->ml_flags);
    _Atomic(void *) *place = (_Atomic(void *) *)&definition->ml_meth;
    void *original = atomic_load(place);
    if (stub == NULL || original == NULL) {
        return false;
    }
    *function = (struct function){.definition = definition, .original = original, .kind = kind};
    snprintf(function->name, sizeof function->name, "%s", name);
    functions_used++;
    atomic_store(place, stub);
    return true;
}

/* --- indexing, and the end of arrays ------------------------------------------------------------------------------ */

/* The beginning of CPython's PyTypeObject and its PyMappingMethods, which the limited API hides; the same from Python 3.8
 * to 3.14. What is read is compared with what PyType_GetSlot tells before it is used. */
typedef PyObject *subscript(PyObject *, PyObject *);
typedef int assign(PyObject *, PyObject *, PyObject *);

struct type {
    PyVarObject head;
    const char *name;
    Py_ssize_t sizes[2];
    _Atomic(destructor) release;
    void *others[7]; /* tp_vectorcall_offset to tp_as_sequence */
    struct mapping {
        lenfunc length;
        _Atomic(subscript *) read;
        _Atomic(assign *) write;
    } *mapping;
};

static subscript *plain_read;
static assign *plain_write, *plain_write_flat; /* of arrays, and of their iterators `flat` */

/* Elements from which an assignment can take long, and from which memory goes back to the system. */
enum { LONG_ASSIGNMENT = 512, LARGE = 16384 };

static inline bool is_plain_item(PyObject *key, bool slices)
{
    return PyLong_CheckExact(key) || (slices && Py_TYPE(key) == &PySlice_Type);
}

/* Is it an integer or a tuple of integers, with `slices` of slices too? Most indices are; told without a call. */
static inline bool is_plain(PyObject *key, bool slices)
{
    if (!PyTuple_CheckExact(key) || quick.items == 0) {
        return is_plain_item(key, slices);
    }
    PyObject *const *items = (PyObject *const *)((char *)key + quick.items);
    const Py_ssize_t count = Py_SIZE(key);
    Py_ssize_t i = 0;
    while (i < count && is_plain_item(items[i], slices)) {
        i++;
    }
    return i == count;
}

/* Is it more than an index of one element? */
static bool is_part(PyObject *key, bool only_arrays)
{
    if (PyArray_Check(key) || PyList_Check(key)) {
        return true;
    }
    if (PyTuple_Check(key)) {
        const Py_ssize_t count = PyTuple_Size(key);
        for (Py_ssize_t i = 0; i < count; i++) {
            PyObject *one = PyTuple_GetItem(key, i);
            if (PyArray_Check(one) || PyList_Check(one) || (!only_arrays && PySlice_Check(one))) {
                return true;
            }
        }
        return false;
    }
    return !only_arrays && (PySlice_Check(key) || key == Py_Ellipsis);
}

static struct record_row *indexing_row(const void *target, const char *name, PyObject *array, uint64_t *elements)
{
    struct key key = {.target = target, .kind = 'f'};
    *elements = describe(&key, array, NULL);
    return row_of(&key, name, NULL);
}

static __attribute__((noinline)) PyObject *described_read(PyObject *array, PyObject *index)
{
    if (!is_part(index, true) || !recorder_is_on()) {
        return plain_read(array, index);
    }
    struct sampler *sampler = is_small(array) && is_small(index) ? &samplers[UFUNCS + FUNCTIONS] : NULL;
    if (sampler != NULL && passes_over(sampler)) {
        return plain_read(array, index);
    }
    struct record record;
    uint64_t elements;
    struct record_row *row = indexing_row((void *)plain_read, "read by index", array, &elements);
    begin_call(&record, row, elements, sampler);
    PyObject *result = plain_read(array, index);
    record_end(&record);
    return result;
}

/* The straight path calls nothing but what takes its place, as that of ufuncs. */
static PyObject *recorded_read(PyObject *array, PyObject *index)
{
    struct sampler *sampler = &samplers[UFUNCS + FUNCTIONS];
    if (is_plain(index, true) ||
        (Py_TYPE(index) == quick.array && Py_TYPE(array) == quick.array && sampler->left > 0 &&
         is_small_operand(index) && is_small_operand(array) && passes_over(sampler))) {
        return plain_read(array, index);
    }
    return described_read(array, index);
}

/* Assign by `write` to a part of an array that belongs to `target`, or is it. */
static int write_part(assign *write, PyObject *target, PyObject *array, PyObject *index, PyObject *value)
{
    if (size_of((PyArrayObject *)array) < LONG_ASSIGNMENT || is_plain(index, false) || !is_part(index, false) ||
        !recorder_is_on()) {
        return write(target, index, value);
    }
    struct record record;
    uint64_t elements;
    struct record_row *row = indexing_row((void *)plain_write, "assign to part", array, &elements);
    record_begin(&record, row, elements);
    const int result = write(target, index, value);
    record_end(&record);
    return result;
}

static int recorded_write(PyObject *array, PyObject *index, PyObject *value)
{
    return write_part(plain_write, array, array, index, value);
}

static int recorded_write_flat(PyObject *flat, PyObject *index, PyObject *value)
{
    return write_part(plain_write_flat, flat, (PyObject *)((PyArrayIterObject *)flat)->ao, index, value);
}

static void recorded_release(PyObject *array)
{
    /* the flag first: an array whose creation failed may have axes and no sizes, and owns no data */
    if (!PyArray_CHKFLAGS((PyArrayObject *)array, NPY_ARRAY_OWNDATA) || size_of((PyArrayObject *)array) < LARGE ||
        !recorder_is_on()) {
        quick.release(array);
        return;
    }
    struct record record;
    uint64_t elements;
    struct record_row *row = indexing_row((void *)quick.release, "free", array, &elements);
    record_begin(&record, row, elements);
    quick.release(array);
    record_end(&record);
}

/* The mapping of a type; NULL if the type is not built as it is known to be. */
static struct mapping *mapping_of(PyTypeObject *type)
{
    struct mapping *mapping = ((struct type *)type)->mapping;
    return is_writable(mapping) && mapping->length == (lenfunc)PyType_GetSlot(type, Py_mp_length) &&
                   atomic_load(&mapping->read) == (subscript *)PyType_GetSlot(type, Py_mp_subscript) &&
                   atomic_load(&mapping->write) == (assign *)PyType_GetSlot(type, Py_mp_ass_subscript)
               ? mapping
               : NULL;
}

bool recorder_meet_indexing(void)
{
    struct type *type = (struct type *)&PyArray_Type;
    if (plain_write != NULL) {
        return true;
    }
    struct mapping *of_array = mapping_of(&PyArray_Type), *of_flat = mapping_of(&PyArrayIter_Type);
    const destructor release = (destructor)PyType_GetSlot(&PyArray_Type, Py_tp_dealloc);
    if (of_array == NULL || of_flat == NULL || atomic_load(&type->release) != release || !is_writable(&type->release)) {
        return false;
    }
    plain_read = atomic_load(&of_array->read);
    plain_write = atomic_load(&of_array->write);
    plain_write_flat = atomic_load(&of_flat->write);
    quick.release = release;
    atomic_store(&type->release, recorded_release);
    atomic_store(&of_array->read, recorded_read);
    atomic_store(&of_array->write, recorded_write);
    atomic_store(&of_flat->write, recorded_write_flat);
    return true;
}
