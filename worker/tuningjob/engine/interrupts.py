"""Ctrl-C that comes while something is being ended already: people press it twice."""

from collections.abc import Callable


def to_the_end(end: Callable[[], object]) -> None:
    """Call ``end``, anew as often as Ctrl-C cuts it short; raise the Ctrl-C when all is done. A second call must do no harm."""
    interrupt = None
    while True:
        try:
            end()
            break
        except KeyboardInterrupt as another:
            interrupt = another
    if interrupt is not None:
        raise interrupt
