"""Runium: any function becomes a task, in a thread or in a worker process.

    import runium

    future = runium.new_task(send_email, {'to': 'bob'}).on_error(resend).run(every='10 seconds', times=3)
    future.result()

runium.core.Runium is a runtime of one's own: its mode, its number of workers. runium.new_task() makes a task of a default
one, of threads, that is opened by the first use. What Runium itself raises is in runium.errors, and here by name.
"""
import threading as _threading

from runium import _core
from runium._core import Call, Task, current_call
from runium._future import Future
from runium.core import Runium
from runium.errors import (Closed, Deadlock, Forked, NotPicklable, Overtime, Quarantined, RemoteTraceback, RuniumError,
                           WorkerCrashed)

__all__ = ['Call', 'Closed', 'Deadlock', 'Forked', 'Future', 'NotPicklable', 'Overtime', 'Quarantined', 'RemoteTraceback',
           'Runium', 'RuniumError', 'Task', 'WorkerCrashed', 'current_call', 'default', 'new_task', 'pending_tasks']

_default = None
_default_lock = _threading.Lock()


def default():
    """The default runtime: of threads, opened by the first call; another one if it was closed since."""
    global _default
    with _default_lock:
        if _default is None or _default.closed:
            _default = Runium()
        return _default


def new_task(fn, kwargs={}, *, args=(), name=None):
    """Makes a Task of a function, in the default runtime: see Runium.new_task()."""
    return default().new_task(fn, kwargs, args=args, name=name)


def pending_tasks():
    """The tasks of the default runtime that are not run yet or not done yet: see Runium.pending_tasks()."""
    return default().pending_tasks()
