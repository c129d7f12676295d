from typing import Any, Callable, Dict, Mapping, Optional, Sequence, TypeVar

from runium._core import Call as Call, Task as Task, current_call as current_call
from runium._future import Future as Future
from runium.core import Runium as Runium
from runium.errors import (Closed as Closed, Deadlock as Deadlock, Forked as Forked, NotPicklable as NotPicklable,
                           Overtime as Overtime, Quarantined as Quarantined, RemoteTraceback as RemoteTraceback,
                           RuniumError as RuniumError, WorkerCrashed as WorkerCrashed)

_T = TypeVar('_T')

__all__ = ['Call', 'Closed', 'Deadlock', 'Forked', 'Future', 'NotPicklable', 'Overtime', 'Quarantined', 'RemoteTraceback',
           'Runium', 'RuniumError', 'Task', 'WorkerCrashed', 'current_call', 'default', 'new_task', 'pending_tasks']

def default() -> Runium: ...
def new_task(fn: Callable[..., _T], kwargs: Mapping[str, Any] = {}, *, args: Sequence[Any] = (),
             name: Optional[str] = None) -> Task[_T]: ...
def pending_tasks() -> Dict[int, Task[Any]]: ...
