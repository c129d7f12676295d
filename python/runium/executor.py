"""The standard interface: for code that wants a concurrent.futures.Executor."""
import concurrent.futures
import functools
import itertools

from runium import _core

__all__ = ['Executor']


def _call_each(fn, chunk):
    return [fn(*args) for args in chunk]


def _chunks(rows, size):
    rows = iter(rows)
    return iter(lambda: tuple(itertools.islice(rows, size)), ())


class Executor(_core.ExecutorBase, concurrent.futures.Executor):
    """A concurrent.futures.Executor on the workers of a Runium, which stays open when this is shut down.

    Its futures are Runium's, but result() raises what the function raised.
    """

    def map(self, fn, *iterables, timeout=None, chunksize=1):
        if chunksize < 1:
            raise ValueError(f'chunksize: {chunksize!r} is not accepted; it is 1 or more')
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout)
        chunks = super().map(functools.partial(_call_each, fn), _chunks(zip(*iterables), chunksize), timeout=timeout)
        return itertools.chain.from_iterable(chunks)

    def shutdown(self, wait=True, *, cancel_futures=False):
        futures = self._refuse_more()
        if cancel_futures:
            for future in futures:
                future.cancel()
        if wait:
            concurrent.futures.wait(futures)
