"""A second Ctrl-C, because people press it twice: it must not cut short what the first has begun to end."""

from collections.abc import Callable


def to_the_end(end: Callable[[], object]) -> None:
    """Call ``end`` until Ctrl-C no longer cuts it short, then raise the Ctrl-C. Calling it twice must do no harm."""
    interrupt = None
    while True:
        try:
            end()
            break
        except KeyboardInterrupt as another:
            interrupt = another
    if interrupt is not None:
        raise interrupt
