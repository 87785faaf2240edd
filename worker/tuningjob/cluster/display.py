"""How far a search is, while ``fit`` waits: one output that changes in a notebook, one line in a terminal, lines in a log."""

import html
import sys
from collections.abc import Callable
from typing import Any, Final

from tuningjob.cluster.run import RunProgress
from tuningjob.cluster.saying import say

_BAR: Final = (
    '<div style="font-family:monospace"><progress value="{done}" max="{total}" style="width:20em"></progress>'
    " {text}</div>"
)


def progress_display(name: str) -> Callable[[RunProgress], None]:
    """What is told each progress."""
    shell = _notebook()
    if shell is not None:
        return _in_notebook(shell, name)
    return _on_line(name) if sys.stderr.isatty() else _in_log(name)


def _notebook() -> Any:  # noqa: ANN401  IPython's module, which need not be installed
    display = sys.modules.get("IPython.display")
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return display if shell is not None and hasattr(shell, "kernel") else None


def _in_notebook(display: Any, name: str) -> Callable[[RunProgress], None]:  # noqa: ANN401
    handle = display.display(display.HTML(_BAR.format(done=0, total=1, text=html.escape(name))), display_id=True)

    def tell(progress: RunProgress) -> None:
        text = html.escape(f"{name}: {progress}")
        handle.update(display.HTML(_BAR.format(done=progress.done, total=progress.total or 1, text=text)))

    return tell


def _on_line(name: str) -> Callable[[RunProgress], None]:
    def tell(progress: RunProgress) -> None:
        sys.stderr.write(f"\r\x1b[K{name}: {_printable(progress)}" + ("\n" if progress.is_over else ""))
        sys.stderr.flush()

    return tell


def _in_log(name: str) -> Callable[[RunProgress], None]:
    """A line for each phase: a log is read afterwards."""
    last = ""

    def tell(progress: RunProgress) -> None:
        nonlocal last
        if progress.phase != last:
            last = progress.phase
            say(f"{name}: {_printable(progress)}")

    return tell


def _printable(progress: RunProgress) -> str:
    return "".join(each if each.isprintable() else "?" for each in str(progress))
