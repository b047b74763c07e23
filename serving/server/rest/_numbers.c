/* Nested JSON lists of numbers, read into one buffer of doubles.
 *
 * A predict request is one long array of numbers. As Python objects it costs a millisecond for
 * 25,000 of them; here it is one pass over the bytes. The grammar is RFC 8259's, to the letter:
 * whatever is not such an array is declined, and the caller reads it by exact, slower ways.
 *
 * Safety: the text is a bytes object, which CPython ends with a NUL. No rule below accepts a NUL,
 * and none looks further than the byte after one it has accepted, so nothing reads past the end;
 * the one that takes eight bytes at a time asks first whether there are so many.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { MOST_AXES = 32, UNKNOWN = -1 };
enum { MOST_DIGITS = 19 }; /* that always fit 64 bits */

static const uint64_t EXACT = (uint64_t)1 << 53; /* a double holds all integers up to here */

static const double POWERS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
enum { MOST_POWER = 22 }; /* the largest that a double holds exactly */

#if LDBL_MANT_DIG == 64
static const long double LONG_POWERS[] = {
    1e0L,  1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,  1e7L,  1e8L,  1e9L,  1e10L, 1e11L, 1e12L, 1e13L,
    1e14L, 1e15L, 1e16L, 1e17L, 1e18L, 1e19L, 1e20L, 1e21L, 1e22L, 1e23L, 1e24L, 1e25L, 1e26L, 1e27L};
enum { MOST_LONG_POWER = 27 };
#endif

/* What has been read so far. */
typedef struct {
    double *next;   /* where the next one goes */
    double largest; /* magnitude */
    bool whole;     /* all are integers below EXACT, written without fraction or exponent */
} Numbers;

static inline bool is_digit(char c) { return (unsigned char)(c - '0') < 10; }

static inline const char *skip_space(const char *p)
{
    if ((unsigned char)*p > ' ') /* mostly */
        return p;
    while (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')
        p++;
    return p;
}

/* Appends the digits at `p` to the number `digits`; the byte after them. `end` is the text's.
 *
 * Eight bytes at a time, as one integer: how many digits a number has differs from one to the next,
 * and branches on that would be mispredicted.
 */
static inline const char *read_digits(const char *p, const char *end, uint64_t *digits)
{
    if (!is_digit(*p))
        return p;
    *digits = *digits * 10 + (uint64_t)(*p++ - '0');
    if (!is_digit(*p))
        return p; /* one digit is common, and comes in runs: 0.0, 0.0 */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    static const uint64_t SCALE[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
    while (end - p >= 8) {
        uint64_t eight;
        memcpy(&eight, p, sizeof eight);
        eight ^= 0x3030303030303030; /* digits become 0 to 9, all else is more */
        uint64_t others = ((eight + 0x7676767676767676) | eight) & 0x8080808080808080;
        int count = others ? __builtin_ctzll(others) / 8 : 8;
        if (count == 0)
            return p;
        eight <<= 64 - 8 * count; /* leading zeros instead of what follows */
        eight = eight * 10 + (eight >> 8); /* pairs of digits, then fours, then all */
        eight = ((eight & 0x000000FF000000FF) * 0x000F424000000064 +
                 (eight >> 16 & 0x000000FF000000FF) * 0x0000271000000001) >> 32;
        *digits = *digits * SCALE[count] + eight;
        p += count;
        if (count < 8)
            return p;
    }
#endif
    for (; is_digit(*p); p++)
        *digits = *digits * 10 + (uint64_t)(*p - '0');
    return p;
}

/* digits * 10^power, correctly rounded; false where that takes more than one operation.
 *
 * Both factors are exact in the type they are in, so that its one rounding is the right one
 * (W. D. Clinger, How to read floating point numbers accurately, 1990). Where the type is the
 * x87's, with 64 bits, a second rounding follows, to a double's 53. It goes wrong only where the
 * first one ended on the very middle between two doubles.
 */
static inline bool scaled(uint64_t digits, int power, double *value)
{
    if (digits == 0) {
        *value = 0;
        return true;
    }
    if (digits <= EXACT && power >= -MOST_POWER && power <= MOST_POWER) {
        double exact = (double)digits;
        *value = power < 0 ? exact / POWERS[-power] : exact * POWERS[power];
        return true;
    }
#if LDBL_MANT_DIG == 64
    if (power >= -MOST_LONG_POWER && power <= MOST_LONG_POWER) {
        long double exact = (long double)digits;
        long double once = power < 0 ? exact / LONG_POWERS[-power] : exact * LONG_POWERS[power];
        uint64_t bits;
        memcpy(&bits, &once, sizeof bits);
        *value = (double)once;
        return (bits & 0x7FF) != 0x400;
    }
#endif
    return false;
}

/* Adds the exponent at `p`, after its letter, to `power`; the byte after it, NULL if it has none. */
static inline const char *read_exponent(const char *p, int *power)
{
    bool down = *p == '-';
    p += *p == '-' || *p == '+';
    if (!is_digit(*p))
        return NULL;
    int exponent = 0;
    for (; is_digit(*p); p++)
        if (exponent < 10000)
            exponent = exponent * 10 + (*p - '0');
    *power += down ? -exponent : exponent;
    return p;
}

static inline const char *append(Numbers *numbers, double value, const char *after)
{
    *numbers->next++ = value;
    if (fabs(value) > numbers->largest)
        numbers->largest = fabs(value);
    return after;
}

/* Whether the four bytes at `p` are a zero and the end of it: most of a picture, or of one-hot. */
static inline bool is_zero(const char *p, const char *end)
{
    return end - p >= 4 && memcmp(p, "0.0", 3) == 0 && (p[3] == ',' || p[3] == ']');
}

/* Appends the number at `p`; the byte after it, or NULL where there is none that is finite. */
static inline const char *read_number(const char *p, const char *end, Numbers *numbers)
{
    const char *start = p;
    if (is_zero(p, end)) {
        numbers->whole = false;
        return append(numbers, 0, p + 3);
    }
    p += *p == '-';

    uint64_t digits = 0;
    const char *first = p;
    if (*p == '0')
        p++;
    else
        p = read_digits(p, end, &digits);
    Py_ssize_t count = p - first;
    if (count == 0)
        return NULL;

    const char *after_whole = p;
    int power = 0;
    if (*p == '.') {
        first = ++p;
        p = read_digits(p, end, &digits);
        if (p == first)
            return NULL;
        count += p - first;
        power = count > MOST_DIGITS ? 0 : (int)(first - p);
        numbers->whole = false;
    }
    if (*p == 'e' || *p == 'E') {
        p = read_exponent(p + 1, &power);
        if (p == NULL)
            return NULL;
        numbers->whole = false;
    }

    double value;
    if (digits >= EXACT || count > MOST_DIGITS)
        numbers->whole = false;
    if (count > MOST_DIGITS || !scaled(digits, power, &value)) {
        char *stop = NULL;
        value = fabs(PyOS_string_to_double(start, &stop, NULL));
        if (stop != p || !isfinite(value)) {
            PyErr_Clear();
            return NULL;
        }
    }
    double zero = p == after_whole ? 0.0 : -0.0; /* -0 is an integer, which has no sign */
    return append(numbers, *start == '-' ? zero - value : value, p);
}

/* How many numbers there can be from `p` to `end`: one more than commas. */
static Py_ssize_t most_numbers(const char *p, const char *end)
{
    Py_ssize_t count = 1;
    while (p < end) { /* in blocks whose sums fit a byte, which compilers make vectors of */
        Py_ssize_t block = end - p < 255 ? end - p : 255;
        uint8_t commas = 0;
        for (Py_ssize_t i = 0; i < block; i++)
            commas = (uint8_t)(commas + (p[i] == ','));
        count += commas;
        p += block;
    }
    return count;
}

/* Whether a list has as many elements as those of its depth before it, if there were any. */
static inline bool agree(Py_ssize_t *size, Py_ssize_t count)
{
    if (*size == UNKNOWN)
        *size = count;
    return *size == count;
}

/* Lists of numbers, from the first number on: how long each is, and how many they are where they
 * may have siblings. The byte after the last one, or NULL.
 */
static inline const char *read_rows(const char *p, const char *end, bool siblings, Numbers *numbers,
                                    Py_ssize_t *length, Py_ssize_t *count)
{
    for (*count = 1;; ++*count) {
        double *first = numbers->next;
        for (;;) {
            p = read_number(p, end, numbers);
            if (p == NULL)
                return NULL;
            p = skip_space(p);
            if (*p != ',')
                break;
            p = skip_space(p + 1);
        }
        if (*p != ']' || !agree(length, numbers->next - first))
            return NULL;
        if (!siblings)
            return p + 1;
        p = skip_space(p + 1);
        if (*p != ',')
            return p;
        p = skip_space(p + 1);
        if (*p != '[')
            return NULL;
        p = skip_space(p + 1);
    }
}

/* The array at `p`, in a text until `end`: its sizes and its rank. The byte after it, or NULL where
 * it is no full array of numbers.
 */
static inline const char *read_array(const char *p, const char *end, Numbers *numbers,
                                     Py_ssize_t *sizes, int *rank)
{
    Py_ssize_t counts[MOST_AXES]; /* of elements in the lists that are open, without rows */
    Py_ssize_t length = UNKNOWN;  /* of a row: a list of numbers */
    int depth = 0;                /* how many lists are open */

    for (*rank = 0;;) {
        for (p = skip_space(p); *p == '[' && depth < MOST_AXES; p = skip_space(p + 1))
            counts[depth++] = 0;
        for (; length == UNKNOWN && *rank < depth; ++*rank)
            sizes[*rank] = UNKNOWN;
        if (depth == 0 || depth != *rank)
            return NULL;

        Py_ssize_t rows;
        p = read_rows(p, end, depth > 1, numbers, &length, &rows);
        if (p == NULL)
            return NULL;
        sizes[--depth] = length;
        if (depth == 0)
            return p;
        counts[depth - 1] = rows;

        for (; *p == ']'; p = skip_space(p + 1)) {
            depth--;
            if (!agree(&sizes[depth], counts[depth]))
                return NULL;
            if (depth == 0)
                return p + 1;
            counts[depth - 1]++;
        }
        if (*p++ != ',')
            return NULL;
    }
}

static PyObject *new_shape(const Py_ssize_t *sizes, int rank)
{
    PyObject *shape = PyTuple_New(rank);
    for (int axis = 0; shape != NULL && axis < rank; axis++) {
        PyObject *size = PyLong_FromSsize_t(sizes[axis]);
        if (size == NULL)
            Py_CLEAR(shape);
        else
            PyTuple_SET_ITEM(shape, axis, size);
    }
    return shape;
}

PyDoc_STRVAR(read_doc,
"read(body, start)\n--\n\n"
"The array of numbers that begins at `body[start]`.\n\n"
"Returns:\n"
"    Where it ends, its shape, its values as the bytes of doubles in row-major order, the largest\n"
"    magnitude, and whether all are integers below 2^53 without fraction or exponent; None\n"
"    where it is ragged, empty, deeper than 32, or not an array of finite numbers alone.\n\n"
"Raises:\n"
"    TypeError: `body` is no bytes object.\n"
"    IndexError: `start` is not within it.\n"
"    MemoryError: the values do not fit.");

static PyObject *read_numbers(PyObject *module, PyObject *args)
{
    PyObject *body;
    Py_ssize_t start;
    if (!PyArg_ParseTuple(args, "Sn:read", &body, &start))
        return NULL;
    if (start < 0 || start > PyBytes_GET_SIZE(body)) {
        PyErr_SetString(PyExc_IndexError, "start is not within the body");
        return NULL;
    }
    const char *text = PyBytes_AS_STRING(body);
    const char *begin = text + start, *end = text + PyBytes_GET_SIZE(body);
    Py_ssize_t most = most_numbers(begin, end);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, most * (Py_ssize_t)sizeof(double));
    if (bytes == NULL)
        return NULL;

    double *values = (double *)PyBytes_AS_STRING(bytes);
    Numbers numbers = {.next = values, .whole = true};
    Py_ssize_t sizes[MOST_AXES];
    int rank;
    const char *stop = read_array(begin, end, &numbers, sizes, &rank);
    if (stop == NULL) {
        Py_DECREF(bytes);
        Py_RETURN_NONE;
    }
    PyObject *shape = new_shape(sizes, rank);
    Py_ssize_t size = (char *)numbers.next - (char *)values;
    if (shape == NULL || _PyBytes_Resize(&bytes, size) < 0) {
        Py_XDECREF(shape);
        Py_XDECREF(bytes); /* none is left of it after a resize that failed */
        return NULL;
    }
    return Py_BuildValue("nNNdO", stop - text, shape, bytes, numbers.largest,
                         numbers.whole ? Py_True : Py_False);
}

static PyMethodDef METHODS[] = {
    {"read", read_numbers, METH_VARARGS, read_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT,
    .m_name = "serving.server.rest._numbers",
    .m_doc = "Reads nested JSON lists of numbers.",
    .m_methods = METHODS,
};

PyMODINIT_FUNC PyInit__numbers(void) { return PyModuleDef_Init(&MODULE); }
