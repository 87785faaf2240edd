"""Protection from a second Ctrl-C: it must not cut short the clean-up that the first has begun."""

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
