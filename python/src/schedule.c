#include <math.h>
#include <time.h>

#include "module.h"

int64_t now_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int refuse(const char *what, PyObject *value, const char *accepted) {
    PyErr_Format(PyExc_ValueError, "%s: %R is not accepted; %s", what, value, accepted);
    return -1;
}

static int read_text(PyObject *text, const char *what, rn_value (*parse)(const char *, int64_t *), int64_t *ns) {
    Py_ssize_t length;
    const char *utf8 = PyUnicode_AsUTF8AndSize(text, &length);
    if (!utf8) return -1;
    if (strlen(utf8) != (size_t)length) return refuse(what, text, "a text with a NUL is no time");
    rn_value error = parse(utf8, ns);
    if (rn_is_none(error)) return 0;
    PyErr_Format(PyExc_ValueError, "%s: %s", what, rn_error_message(error));
    rn_drop(error);
    return -1;
}

#define INTERVALS "0 to 100 years, as seconds or as text such as '10 seconds'"

/* Seconds, 0 to most: whole ones exactly, else what a double has. False: it is something else, or an exception is set. */
static bool read_seconds(PyObject *value, int64_t most_ns, int64_t *ns) {
    double seconds = PyFloat_AsDouble(value);
    if (!(seconds >= 0 && seconds <= (double)(most_ns / 1000000000))) return false;
    double whole = floor(seconds);
    *ns = (int64_t)whole * 1000000000 + (int64_t)nearbyint((seconds - whole) * 1e9);
    return true;
}

/* What read_seconds() did not take. */
static int refuse_number(const char *what, PyObject *value, const char *accepted) {
    if (PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError)) return -1;
        PyErr_Clear();
    }
    return refuse(what, value, accepted);
}

int read_interval(PyObject *value, const char *what, int64_t *ns) {
    if (PyUnicode_Check(value)) return read_text(value, what, rn_parse_duration, ns);
    if (PyLong_Check(value) || PyFloat_Check(value))
        return read_seconds(value, RN_DURATION_MAX, ns) ? 0 : refuse_number(what, value, "it is " INTERVALS);
    PyErr_Format(PyExc_TypeError, "%s: a number of seconds or a text is needed, not %s", what, Py_TYPE(value)->tp_name);
    return -1;
}

#define MOMENT_MAX (INT64_MAX - 999999999)
#define MOMENTS "it is seconds since 1970, a date and time as text, or a datetime, before the year 2262"

/* A number of seconds since 1970, a text, or a datetime. */
static int read_moment(PyObject *value, int64_t *ns) {
    if (PyUnicode_Check(value)) return read_text(value, "at", rn_parse_time, ns);
    if (PyLong_Check(value) || PyFloat_Check(value))
        return read_seconds(value, MOMENT_MAX, ns) ? 0 : refuse_number("at", value, MOMENTS);
    PyObject *stamp = PyObject_CallMethod(value, "timestamp", NULL);
    if (!stamp) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) return -1;
        PyErr_Format(PyExc_TypeError, "at: seconds since 1970, a text or a datetime is needed, not %s",
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    int code = read_seconds(stamp, MOMENT_MAX, ns) ? 0 : refuse_number("at", value, MOMENTS);
    Py_DECREF(stamp);
    return code;
}

static int read_times(PyObject *value, uint64_t *times) {
    PyObject *number = PyNumber_Index(value);
    if (!number) {
        PyErr_Format(PyExc_TypeError, "times: a whole number is needed, not %s", Py_TYPE(value)->tp_name);
        return -1;
    }
    int overflow;
    long long count = PyLong_AsLongLongAndOverflow(number, &overflow);
    Py_DECREF(number);
    if (count < 1) return refuse("times", value, "it is 1 or more, or None");
    *times = (uint64_t)count;
    return 0;
}

static int check(const rn_task *schedule, PyObject *const *values, bool processes) {
    if (values[EVERY] && schedule->every == 0 && schedule->times == 0)
        return refuse("every", values[EVERY], "without times it is more than 0");
    if (values[AT] && schedule->at == 0) return refuse("at", values[AT], "it is a moment after 1970");
    if (values[AT] && schedule->start_in > 0) return refuse("start_in", values[START_IN], "at is given as well");
    if (values[TIMEOUT] && !processes)
        return refuse("timeout", values[TIMEOUT], "a thread cannot be ended: it needs mode='multiprocessing'");
    if (values[TIMEOUT] && schedule->timeout == 0) return refuse("timeout", values[TIMEOUT], "it is more than 0");
    return 0;
}

int schedule_read(rn_task *schedule, PyObject *const *values, bool processes) {
    if (values[EVERY] && read_interval(values[EVERY], "every", &schedule->every) < 0) return -1;
    if (values[TIMES] && read_times(values[TIMES], &schedule->times) < 0) return -1;
    if (values[START_IN] && read_interval(values[START_IN], "start_in", &schedule->start_in) < 0) return -1;
    if (values[AT] && read_moment(values[AT], &schedule->at) < 0) return -1;
    if (values[TIMEOUT] && read_interval(values[TIMEOUT], "timeout", &schedule->timeout) < 0) return -1;
    return check(schedule, values, processes);
}

PyObject *get_seconds(PyObject *module, PyObject *interval) {
    (void)module;
    int64_t ns;
    if (interval == Py_None || PyLong_Check(interval) || PyFloat_Check(interval)) return Py_NewRef(interval);
    if (!PyUnicode_Check(interval))
        return PyErr_Format(PyExc_TypeError, "Time intervals can only be a string, an integer or a float, not %s.",
                            Py_TYPE(interval)->tp_name);
    if (read_text(interval, "interval", rn_parse_duration, &ns) < 0) return NULL;
    if (ns % 1000000000 == 0) return PyLong_FromLongLong(ns / 1000000000);
    return PyFloat_FromDouble((double)ns / 1e9);
}
