"""The standard interface: for code that wants a concurrent.futures.Executor."""
import concurrent.futures
import functools
import itertools
import threading

from runium import _core

__all__ = ['Executor']


def _call_each(fn, chunk):
    return [fn(*args) for args in chunk]


def _chunks(rows, size):
    rows = iter(rows)
    return iter(lambda: tuple(itertools.islice(rows, size)), ())


class Executor(concurrent.futures.Executor):
    """A concurrent.futures.Executor on the workers of a Runium, which stays open when this is shut down.

    Its futures are Runium's, but result() raises what the function raised.
    """

    def __init__(self, runtime):
        self._runtime = runtime
        self._lock = threading.Lock()
        self._futures = set()
        self._is_shut_down = False

    def submit(self, fn, /, *args, **kwargs):
        task = _core.make_plain(self._runtime.new_task(fn, kwargs, args=args))
        with self._lock:
            if self._is_shut_down:
                raise RuntimeError('cannot schedule new futures after shutdown')
            future = _core.make_standard(task.run())
            self._futures.add(future)
        future.add_done_callback(self._forget)
        return future

    def _forget(self, future):
        self._futures.discard(future)

    def map(self, fn, *iterables, timeout=None, chunksize=1):
        if chunksize < 1:
            raise ValueError(f'chunksize: {chunksize!r} is not accepted; it is 1 or more')
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout)
        chunks = super().map(functools.partial(_call_each, fn), _chunks(zip(*iterables), chunksize), timeout=timeout)
        return itertools.chain.from_iterable(chunks)

    def shutdown(self, wait=True, *, cancel_futures=False):
        with self._lock:
            self._is_shut_down = True
            futures = list(self._futures)
        if cancel_futures:
            for future in futures:
                future.cancel()
        if wait:
            concurrent.futures.wait(futures)
