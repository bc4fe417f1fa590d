/* What `head_scanner.py` does, for CPython: see there for what is returned and why. This file and that one have to agree to the byte, which
   tests/unit/http1/test_head_scanner.py checks with both.

   It reads each byte of a head once and copies once what stays. What that is worth stands in bench/README.md. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define MAX_NAME 64  /* bytes of a header's name; a longer one is unusual */
#define MAX_RUNS 64  /* stretches of lines that stay */
#define SLOTS 512    /* of the hash table of names; a power of two, several times as many as there are names */

enum kind { STAYS, VALUE_STAYS, VALUE_LEAVES, LEAVES, UNUSUAL, WATCHED, MARKED };

typedef struct {
    uint8_t size; /* of the name; 0: the slot is free */
    uint8_t kind;
    uint8_t index; /* of the value among those that are returned */
    char name[MAX_NAME];
} Slot;

typedef struct {
    PyObject_HEAD
    Py_ssize_t values;
    Slot slots[SLOTS];
    PyObject *beginnings;      /* tuple of bytes */
    uint8_t begins[256];       /* whether one of them begins with this byte */
    PyObject *needles[SLOTS];  /* of the watched and marked names, by the place of their slot */
} Names;

static uint8_t lower[256];   /* the lower-case byte of what may stand in a usual name: letters, digits and `-`; 0 for the rest */
static uint8_t in_value[256]; /* RFC 9110 section 5.5: what may stand in a value */
static uint8_t in_target[256];
static PyObject *methods[7];
static const char *const method_names[7] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
static PyObject *empty;

static uint32_t hash_of(const char *name, Py_ssize_t size) {
    uint32_t hash = 0;
    for (Py_ssize_t i = 0; i < size; i++) hash = hash * 31 + (uint8_t)name[i];
    return hash;
}

/* The slot of a lower-case name, or the free one where it would be. */
static Slot *slot_of(Names *self, const char *name, Py_ssize_t size, uint32_t hash) {
    for (uint32_t at = hash & (SLOTS - 1);; at = (at + 1) & (SLOTS - 1)) {
        Slot *slot = &self->slots[at];
        if (slot->size == 0 || (slot->size == size && memcmp(slot->name, name, size) == 0)) return slot;
    }
}

/* The new slot of a name. NULL with an error of Python. */
static Slot *add_name(Names *self, PyObject *name, int kind) {
    char *text;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(name, &text, &size) < 0) return NULL;
    if (size < 1 || size > MAX_NAME) {
        PyErr_SetString(PyExc_ValueError, "a name is empty or too long");
        return NULL;
    }
    Slot *slot = slot_of(self, text, size, hash_of(text, size));
    if (slot->size != 0) {
        PyErr_SetString(PyExc_ValueError, "a name comes twice");
        return NULL;
    }
    slot->size = (uint8_t)size;
    slot->kind = (uint8_t)kind;
    memcpy(slot->name, text, size);
    if (kind == VALUE_STAYS || kind == VALUE_LEAVES || kind == MARKED) slot->index = (uint8_t)self->values++;
    return slot;
}

static int add_names(Names *self, PyObject *names, int kind) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++)
        if (add_name(self, PyTuple_GET_ITEM(names, i), kind) == NULL) return -1;
    return 0;
}

static int add_needles(Names *self, PyObject *needles, int kind) {
    PyObject *name, *needle;
    for (Py_ssize_t at = 0; PyDict_Next(needles, &at, &name, &needle);) {
        if (!PyBytes_Check(needle) || PyBytes_GET_SIZE(needle) == 0) {
            PyErr_SetString(PyExc_ValueError, "what a line is watched for is no bytes, or empty");
            return -1;
        }
        Slot *slot = add_name(self, name, kind);
        if (slot == NULL) return -1;
        self->needles[slot - self->slots] = Py_NewRef(needle);
    }
    return 0;
}

static int names_init(Names *self, PyObject *args, PyObject *words) {
    static char *known[] = {"staying", "leaving", "dropped", "unusual", "beginnings", "watched", "marked", NULL};
    PyObject *staying, *leaving, *dropped, *unusual, *beginnings, *watched, *marked;
    if (!PyArg_ParseTupleAndKeywords(args, words, "O!O!O!O!O!O!O!", known, &PyTuple_Type, &staying, &PyTuple_Type, &leaving,
                                     &PyTuple_Type, &dropped, &PyTuple_Type, &unusual, &PyTuple_Type, &beginnings,
                                     &PyDict_Type, &watched, &PyDict_Type, &marked))
        return -1;
    if (self->beginnings != NULL) {
        PyErr_SetString(PyExc_TypeError, "it is made once");
        return -1;
    }
    if (PyTuple_GET_SIZE(staying) + PyTuple_GET_SIZE(leaving) + PyTuple_GET_SIZE(dropped) + PyTuple_GET_SIZE(unusual) +
            PyDict_GET_SIZE(watched) + PyDict_GET_SIZE(marked) >
        SLOTS / 2) {
        PyErr_SetString(PyExc_ValueError, "there are too many names");
        return -1;
    }
    if (add_names(self, staying, VALUE_STAYS) < 0 || add_names(self, leaving, VALUE_LEAVES) < 0 ||
        add_needles(self, marked, MARKED) < 0 || add_names(self, dropped, LEAVES) < 0 ||
        add_names(self, unusual, UNUSUAL) < 0 || add_needles(self, watched, WATCHED) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(beginnings); i++) {
        PyObject *one = PyTuple_GET_ITEM(beginnings, i);
        if (!PyBytes_Check(one) || PyBytes_GET_SIZE(one) == 0) {
            PyErr_SetString(PyExc_ValueError, "a beginning is no bytes, or empty");
            return -1;
        }
        self->begins[(uint8_t)PyBytes_AS_STRING(one)[0]] = 1;
    }
    self->beginnings = Py_NewRef(beginnings);
    return 0;
}

static void names_dealloc(Names *self) {
    Py_XDECREF(self->beginnings);
    for (int i = 0; i < SLOTS; i++) Py_XDECREF(self->needles[i]);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyTypeObject NamesType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "router.http1.head_scanner.Names",
    .tp_basicsize = sizeof(Names),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)names_init,
    .tp_dealloc = (destructor)names_dealloc,
};

/* Where the bytes end that may stand in a value. Eight at once while none of them is below 0x20 or DEL: a cookie of 1,500 bytes is most of
   a head. */
static Py_ssize_t skip_value(const char *raw, Py_ssize_t size, Py_ssize_t at) {
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    for (uint64_t eight; at + 8 <= size; at += 8) {
        memcpy(&eight, raw + at, 8);
        uint64_t del = eight ^ (ones * 0x7f);
        if ((((eight - ones * 0x20) & ~eight) | ((del - ones) & ~del)) & high) break;
    }
    while (at < size && in_value[(uint8_t)raw[at]]) at++;
    return at;
}

static int begins_so(Names *self, const char *name, Py_ssize_t size) {
    if (!self->begins[(uint8_t)name[0]]) return 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self->beginnings); i++) {
        PyObject *one = PyTuple_GET_ITEM(self->beginnings, i);
        if (PyBytes_GET_SIZE(one) <= size && memcmp(PyBytes_AS_STRING(one), name, PyBytes_GET_SIZE(one)) == 0) return 1;
    }
    return 0;
}

/* Whether the lower-case `needle` stands in the value, in any case. */
static int has_needle(const char *value, Py_ssize_t size, PyObject *needle) {
    const char *wanted = PyBytes_AS_STRING(needle);
    Py_ssize_t length = PyBytes_GET_SIZE(needle);
    int has_case = wanted[0] >= 'a' && wanted[0] <= 'z';
    for (Py_ssize_t at = 0; at + length <= size; at++) {
        if (!has_case) { /* the first byte is looked for by the C library, many times as fast */
            const char *next = memchr(value + at, wanted[0], size - at);
            if (next == NULL || next - value + length > size) return 0;
            at = next - value;
        }
        Py_ssize_t same = 0;
        while (same < length) {
            uint8_t byte = (uint8_t)value[at + same];
            if (byte >= 'A' && byte <= 'Z') byte |= 0x20;
            if (byte != (uint8_t)wanted[same]) break;
            same++;
        }
        if (same == length) return 1;
    }
    return 0;
}

typedef struct {
    Py_ssize_t begin, end;
} Run;

/* Whether a name is written with a capital and lower-case letters behind it, as its lower-case form is given. */
static int is_capitalised(const char *written, const char *name, Py_ssize_t size) {
    return written[0] == (name[0] & ~0x20) && memcmp(written + 1, name + 1, size - 1) == 0;
}

static PyObject *joined(const char *raw, const Run *runs, Py_ssize_t count) {
    Py_ssize_t size = 0;
    for (Py_ssize_t i = 0; i < count; i++) size += runs[i].end - runs[i].begin;
    PyObject *block = PyBytes_FromStringAndSize(NULL, size);
    if (block == NULL) return NULL;
    char *to = PyBytes_AS_STRING(block);
    for (Py_ssize_t i = 0; i < count; i++) {
        memcpy(to, raw + runs[i].begin, runs[i].end - runs[i].begin);
        to += runs[i].end - runs[i].begin;
    }
    return block;
}

/* The lines from `at` to the end of `raw`, put into `found` from index `first` on: the block of those that stay, the values, and what
   of the block stands behind a marked line. 1: done, 0: something unusual is in them, -1: an error of Python. */
static int scan_lines(const char *raw, Py_ssize_t size, Py_ssize_t at, Names *names, Py_ssize_t most, PyObject *found,
                      Py_ssize_t first) {
    Run runs[MAX_RUNS];
    Py_ssize_t count = 0, marked = -1, lines = 0;
    char name[MAX_NAME];
    for (;;) {
        if (at + 2 > size) return 0;
        if (raw[at] == '\r') {
            if (raw[at + 1] != '\n' || at + 2 != size) return 0;
            break;
        }
        if (++lines > most) return 0;
        Py_ssize_t begin = at, length = 0;
        uint32_t hash = 0;
        for (; at < size; at++) {
            uint8_t byte = lower[(uint8_t)raw[at]];
            if (byte == 0) break;
            if (length == MAX_NAME) return 0;
            name[length++] = (char)byte;
            hash = hash * 31 + byte;
        }
        if (length == 0 || at >= size || raw[at] != ':') return 0;
        Py_ssize_t value = ++at;
        at = skip_value(raw, size, at);
        if (at + 1 >= size || raw[at] != '\r' || raw[at + 1] != '\n') return 0;
        Py_ssize_t end = at;
        at += 2;
        Slot *slot = slot_of(names, name, length, hash);
        int kind = slot->size == 0 ? (begins_so(names, name, length) ? UNUSUAL : STAYS) : slot->kind;
        if (kind == UNUSUAL) return 0;
        if (kind == WATCHED || kind == MARKED) {
            if (!has_needle(raw + value, end - value, names->needles[slot - names->slots]))
                kind = STAYS;
            else if (kind == WATCHED || marked >= 0 || !is_capitalised(raw + begin, name, length))
                return 0;
            else {
                kind = VALUE_LEAVES;
                marked = count;
            }
        }
        if (kind == VALUE_STAYS || kind == VALUE_LEAVES) {
            while (value < end && (raw[value] == ' ' || raw[value] == '\t')) value++;
            while (end > value && (raw[end - 1] == ' ' || raw[end - 1] == '\t')) end--;
            if (value == end || PyTuple_GET_ITEM(found, first + 1 + slot->index) != NULL) return 0;
            PyObject *text = PyBytes_FromStringAndSize(raw + value, end - value);
            if (text == NULL) return -1;
            PyTuple_SET_ITEM(found, first + 1 + slot->index, text);
        }
        if (kind == VALUE_LEAVES || kind == LEAVES) continue;
        if (count > 0 && runs[count - 1].end == begin) {
            runs[count - 1].end = at;
        } else {
            if (count == MAX_RUNS) return 0;
            runs[count].begin = begin;
            runs[count++].end = at;
        }
    }
    PyObject *block = joined(raw, runs, marked < 0 ? count : marked);
    if (block == NULL) return -1;
    PyTuple_SET_ITEM(found, first, block);
    PyObject *behind = marked < 0 ? Py_NewRef(empty) : joined(raw, runs + marked, count - marked);
    if (behind == NULL) return -1;
    PyTuple_SET_ITEM(found, first + 1 + names->values, behind);
    for (Py_ssize_t i = 0; i < names->values; i++)
        if (PyTuple_GET_ITEM(found, first + 1 + i) == NULL) PyTuple_SET_ITEM(found, first + 1 + i, Py_NewRef(empty));
    return 1;
}

static PyObject *finished(PyObject *found, int done) {
    if (done == 1) return found;
    Py_DECREF(found);
    if (done < 0) return NULL;
    Py_RETURN_NONE;
}

/* The arguments of both functions: a head, names, and a number or two. */
static int arguments(PyObject *const *args, Py_ssize_t count, Py_ssize_t wanted, Py_ssize_t *numbers) {
    if (count != wanted || !PyBytes_Check(args[0]) || !Py_IS_TYPE(args[1], &NamesType) ||
        ((Names *)args[1])->beginnings == NULL) {
        PyErr_SetString(PyExc_TypeError, "it takes bytes, Names and numbers");
        return -1;
    }
    for (Py_ssize_t i = 2; i < wanted; i++) {
        numbers[i - 2] = PyLong_AsSsize_t(args[i]);
        if (numbers[i - 2] == -1 && PyErr_Occurred()) return -1;
    }
    return 0;
}

static PyObject *scan_request(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    Py_ssize_t most[2];
    if (arguments(args, count, 4, most) < 0) return NULL;
    const char *raw = PyBytes_AS_STRING(args[0]);
    Py_ssize_t size = PyBytes_GET_SIZE(args[0]), at = 0;
    Names *names = (Names *)args[1];
    const char *blank = memchr(raw, ' ', size < 8 ? size : 8);
    if (blank == NULL) Py_RETURN_NONE;
    PyObject *method = NULL;
    for (int i = 0; i < 7; i++)
        if (strlen(method_names[i]) == (size_t)(blank - raw) && memcmp(method_names[i], raw, blank - raw) == 0)
            method = methods[i];
    at = blank - raw + 1;
    Py_ssize_t target = at;
    if (method == NULL || at >= size || raw[at] != '/') Py_RETURN_NONE;
    while (at < size && in_target[(uint8_t)raw[at]]) at++;
    Py_ssize_t end = at;
    if (size - at < 11 || memcmp(raw + at, " HTTP/1.1\r\n", 11) != 0 || end + 9 > most[0]) Py_RETURN_NONE;
    PyObject *found = PyTuple_New(4 + names->values);
    if (found == NULL) return NULL;
    PyObject *text = PyBytes_FromStringAndSize(raw + target, end - target);
    if (text == NULL) return finished(found, -1);
    PyTuple_SET_ITEM(found, 0, Py_NewRef(method));
    PyTuple_SET_ITEM(found, 1, text);
    return finished(found, scan_lines(raw, size, at + 11, names, most[1], found, 2));
}

static PyObject *scan_response(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    Py_ssize_t most[1];
    if (arguments(args, count, 3, most) < 0) return NULL;
    const char *raw = PyBytes_AS_STRING(args[0]);
    Py_ssize_t size = PyBytes_GET_SIZE(args[0]);
    Names *names = (Names *)args[1];
    const char *end = memchr(raw, '\r', size);
    if (end == NULL || end - raw + 2 > size || end[1] != '\n') Py_RETURN_NONE;
    PyObject *found = PyTuple_New(3 + names->values);
    if (found == NULL) return NULL;
    PyObject *line = PyBytes_FromStringAndSize(raw, end - raw);
    if (line == NULL) return finished(found, -1);
    PyTuple_SET_ITEM(found, 0, line);
    return finished(found, scan_lines(raw, size, end - raw + 2, names, most[0], found, 1));
}

static PyMethodDef functions[] = {
    {"scan_request", (PyCFunction)(void (*)(void))scan_request, METH_FASTCALL, NULL},
    {"scan_response", (PyCFunction)(void (*)(void))scan_response, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "router.http1.head_scanner",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit_head_scanner(void) {
    for (int byte = 0; byte < 256; byte++) {
        int letter = byte | 0x20;
        lower[byte] = (letter >= 'a' && letter <= 'z' && byte < 128)      ? (uint8_t)letter
                      : ((byte >= '0' && byte <= '9') || byte == '-') ? (uint8_t)byte
                                                                      : 0;
        in_value[byte] = byte == '\t' || (byte >= 0x20 && byte != 0x7f);
        in_target[byte] = byte > 0x20 && byte < 0x7f && byte != '#';
    }
    for (int i = 0; i < 7; i++) {
        methods[i] = PyBytes_FromString(method_names[i]);
        if (methods[i] == NULL) return NULL;
    }
    empty = PyBytes_FromStringAndSize(NULL, 0);
    if (empty == NULL || PyType_Ready(&NamesType) < 0) return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module == NULL || PyModule_AddObjectRef(module, "Names", (PyObject *)&NamesType) < 0) return NULL;
    return module;
}
