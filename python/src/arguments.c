#include "module.h"

static Py_ssize_t place_of(PyObject *keyword, const char *const *names) {
    for (Py_ssize_t i = 0; names[i]; i++)
        if (PyUnicode_CompareWithASCIIString(keyword, names[i]) == 0) return i;
    return -1;
}

static int refuse(const char *method, const char *format, PyObject *keyword) {
    PyObject *what = PyUnicode_FromFormat(format, keyword);
    if (what) PyErr_Format(PyExc_TypeError, "%s() %U", method, what);
    Py_XDECREF(what);
    return -1;
}

int arguments_read(const char *method, const char *const *names, Py_ssize_t positional, PyObject *const *args,
                   Py_ssize_t count, PyObject *keywords, PyObject **values) {
    if (count > positional) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %zd positional arguments, not %zd", method, positional, count);
        return -1;
    }
    for (Py_ssize_t i = 0; names[i]; i++) values[i] = i < count ? args[i] : NULL;
    for (Py_ssize_t i = 0; keywords && i < PyTuple_GET_SIZE(keywords); i++) {
        PyObject *keyword = PyTuple_GET_ITEM(keywords, i);
        Py_ssize_t place = place_of(keyword, names);
        if (place < 0) return refuse(method, "has no parameter %R", keyword);
        if (values[place]) return refuse(method, "got two values for %R", keyword);
        values[place] = args[count + i];
    }
    return 0;
}
