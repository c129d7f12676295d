"""Functions for test_memory.py, in a module that worker processes import."""


def zero():
    return 0


def one(success):
    return 1


def first(runium):
    return runium['iterations']


def number(text, more):
    return int(text) + more


def fail():
    raise KeyError('of the task')


def fail_as_hook(success):
    raise KeyError('of the hook')


def nothing(success, error):
    pass


def error_is(error):
    pass
