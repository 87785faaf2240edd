"""How far a search is, while ``fit`` waits: one output that changes in a notebook, one line in a terminal, lines in a log."""

import html
import sys
from collections.abc import Callable
from typing import Any, Final

from tuningjob.cluster.run import RunProgress
from tuningjob.cluster.saying import say

_BAR: Final = (
    '<div style="font-family:monospace"><progress value="{done}" max="{total}" style="width:20em"></progress>'
    " {text}{plan}</div>"
)
_WIDTH: Final = 20
_PLAN: Final = "<br><small>plan: {}</small>"


def progress_display(name: str) -> Callable[[RunProgress], None]:
    """A callback that displays each progress."""
    shell = _notebook()
    if shell is not None:
        return _in_notebook(shell, name)
    return _on_line(name) if sys.stderr.isatty() else _in_log(name)


def _notebook() -> Any:  # noqa: ANN401  IPython's module, which need not be installed
    display = sys.modules.get("IPython.display")
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return display if shell is not None and hasattr(shell, "kernel") else None


def _in_notebook(display: Any, name: str) -> Callable[[RunProgress], None]:  # noqa: ANN401
    first = _BAR.format(done=0, total=1, text=html.escape(name), plan="")
    handle = display.display(display.HTML(first), display_id=True)

    def tell(progress: RunProgress) -> None:
        text = html.escape(f"{name}: {progress.line}")
        plan = _PLAN.format(html.escape(progress.plan)) if progress.plan else ""
        bar = _BAR.format(done=progress.done, total=progress.total or 1, text=text, plan=plan)
        handle.update(display.HTML(bar))

    return tell


def _on_line(name: str) -> Callable[[RunProgress], None]:
    is_new = plan_once()

    def tell(progress: RunProgress) -> None:
        if is_new(progress):
            sys.stderr.write(f"\r\x1b[K{_plan_line(name, progress)}\n")
        end = "\n" if progress.is_over else ""
        sys.stderr.write(f"\r\x1b[K{name}: {_bar(progress)} {_printable(progress.line)}{end}")
        sys.stderr.flush()

    return tell


def _bar(progress: RunProgress) -> str:
    full = _WIDTH * progress.done // progress.total if progress.total else 0
    return f"[{'#' * full}{'.' * (_WIDTH - full)}]"


def _in_log(name: str) -> Callable[[RunProgress], None]:
    """A line for each phase and one for each plan, because a log is read afterwards."""
    last = ""
    is_new = plan_once()

    def tell(progress: RunProgress) -> None:
        nonlocal last
        if is_new(progress):
            say(_plan_line(name, progress))
        if progress.phase != last:
            last = progress.phase
            say(f"{name}: {_printable(progress.line)}")

    return tell


def plan_once() -> Callable[[RunProgress], bool]:
    """A function that says whether the plan has changed since its last call; no plan is no change."""
    last = ""

    def is_new(progress: RunProgress) -> bool:
        nonlocal last
        last, before = progress.plan, last
        return progress.plan not in {"", before}

    return is_new


def _plan_line(name: str, progress: RunProgress) -> str:
    return f"{name}: plan: {_printable(progress.plan)}"


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)
