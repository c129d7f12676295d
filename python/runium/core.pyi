from typing import Literal, TypeVar

from runium import _core
from runium._core import Task as Task
from runium._future import Future as Future
from runium.executor import Executor

_Self = TypeVar('_Self', bound='Runium')

__all__ = ['Future', 'Runium', 'Task']

class Runium(_core.Runtime):
    def executor(self) -> Executor: ...
    def __enter__(self: _Self) -> _Self: ...
    def __exit__(self, *exception: object) -> Literal[False]: ...
