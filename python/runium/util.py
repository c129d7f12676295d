"""Helpers."""
from runium._core import get_seconds as _get_seconds

__all__ = ['get_seconds']


def get_seconds(interval):
    """A time as seconds. A number or None is returned as it is.

    A text is a number and a unit: '10 seconds', '1.5 hours', '250 ms'. Units: nanosecond(s), microsecond(s),
    millisecond(s), second(s), minute(s), hour(s), day(s), week(s), and ns, us, ms, s, m, h, d, w.

    Raises ValueError for a text that is no time, and TypeError for anything else.
    """
    return _get_seconds(interval)
