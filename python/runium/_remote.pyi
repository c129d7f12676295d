# For the extension module alone.
from typing import Any

def __getattr__(name: str) -> Any: ...
