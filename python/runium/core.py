"""Runtimes: where tasks run."""
import atexit
import threading

from runium import _core
from runium._core import Task
from runium._future import Future

__all__ = ['Future', 'Runium', 'Task']

# Before the interpreter joins its threads and takes itself apart, as concurrent.futures does it; where that is refused,
# at the latest when it can be asked to.
getattr(threading, '_register_atexit', atexit.register)(_core.close_all)


class Runium(_core.Runtime):
    """Owns workers, and runs tasks in them.

    mode         'multithreading': in threads of this process; 'multiprocessing': in worker processes, which may crash
                 without hurting this one.
    max_workers  how many; None: with threads, four more than there are CPUs, 32 at most; with processes, as many as CPUs.
    debug        True: tracebacks of failed iterations are printed to stderr; False: they go to the logger 'runium'.

    recycle_after
                 of worker processes only, and by name: after so many iterations, each with its callbacks, a worker is
                 replaced by a fresh one; None: never.

    stop_grace   of worker processes only, and by name: how long an iteration or callback may go on after future.stop() or
                 close('stop'), before its process is ended; seconds or text; None: 30 seconds.

    It closes itself when nothing refers to it and no task is pending, and at the end of the program, when what is
    pending ends as planned. As a context manager it is closed at the end of the block.
    """

    def executor(self):
        """The standard interface on the same workers: a concurrent.futures.Executor, whose futures raise."""
        from runium.executor import Executor
        return Executor(self)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
        return False

    def __repr__(self):
        state = ' closed' if self.closed else ''
        return f'<runium.Runium {self.mode} max_workers={self.max_workers}{state}>'
