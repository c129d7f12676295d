import concurrent.futures
from typing import Any, Callable, Generator, TypeVar

from runium._core import FutureBase

_T = TypeVar('_T')

class Future(FutureBase[_T], concurrent.futures.Future[_T]):
    def add_done_callback(self, fn: Callable[[Future[_T]], object], /) -> None: ...
    def __await__(self) -> Generator[Any, None, _T]: ...
