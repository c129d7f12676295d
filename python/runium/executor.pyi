import concurrent.futures
from typing import Any, Callable, Iterable, Iterator, Optional, ParamSpec, TypeVar

from runium._future import Future
from runium.core import Runium

_P = ParamSpec('_P')
_T = TypeVar('_T')

__all__ = ['Executor']

class Executor(concurrent.futures.Executor):
    def __init__(self, runtime: Runium) -> None: ...
    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]: ...
    def map(self, fn: Callable[..., _T], *iterables: Iterable[Any], timeout: Optional[float] = None,
            chunksize: int = 1) -> Iterator[_T]: ...
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None: ...
