from typing import TypeVar, overload

_Number = TypeVar('_Number', int, float, None)

__all__ = ['get_seconds']

@overload
def get_seconds(interval: str) -> float: ...
@overload
def get_seconds(interval: _Number) -> _Number: ...
