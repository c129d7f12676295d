"""The class of what Task.run() returns."""
import concurrent.futures

from runium import _core


class Future(_core.FutureBase, concurrent.futures.Future):
    """The outcome of one run, now or later.

    It is a concurrent.futures.Future: wait(), as_completed() and asyncio.wrap_future() take it; and it can be awaited.
    But result() returns an exception that the task itself raised, and raises only what a callback raised, or what kept
    the run from starting.
    """

    __slots__ = ()

    def __await__(self):
        import asyncio  # only who awaits needs it, and has it already
        return asyncio.wrap_future(self).__await__()


Future.__module__ = 'runium'
_core.set_future_type(Future)
