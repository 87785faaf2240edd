"""The messages between the parent, the zygote and the workers, and the events that the parent makes of them."""

import signal
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from multiprocessing.connection import Connection
from typing import Final, Generic, TypeAlias, TypeVar

TaskT = TypeVar("TaskT")
ValueT = TypeVar("ValueT")

# --- between the parent and the workers

Task = tuple[int, bytes]  # ticket, pickled task
Error = tuple[bytes, str]  # pickled exception, its traceback as text
Message = tuple[int, list[bytes], bool, Error | None]  # ticket, pickled values, whether it has ended, why it failed
ParentsEnd: TypeAlias = "Connection[Task, Message]"
WorkersEnd: TypeAlias = "Connection[Message, Task]"
WorkOf: TypeAlias = Callable[[int, WorkersEnd], None]  # the function that a worker runs, given its slot

# --- between the parent and the zygote: each request and each answer is a packet


class Request(IntEnum):
    """The requests of the parent to the zygote, each sent with a number."""

    FORK = 1  # fork a worker for this slot: the reply is its process id and its connection, or a negated errno
    REAP = 2  # reap the dead worker with this process id: the reply is its exit code


REQUEST: Final = struct.Struct("=ii")
ANSWER: Final = struct.Struct("=i")

# --- what the parent tells of a task


@dataclass(frozen=True)
class Item(Generic[ValueT]):
    """The event of a value that a task has yielded."""

    ticket: int
    value: ValueT


@dataclass(frozen=True)
class Finished:
    """The event of a task that is done and has sent all its items."""

    ticket: int


@dataclass(frozen=True)
class Raised:
    """The event of a task that has raised. The exception's ``__cause__`` shows the traceback in the worker."""

    ticket: int
    exception: BaseException


@dataclass(frozen=True)
class Died:
    """The event of a task whose worker died. ``exitcode`` is negative for a signal, as in subprocess."""

    ticket: int
    exitcode: int

    @property
    def timed_out(self) -> bool:
        """Whether a ``deadline`` killed the worker."""
        return self.exitcode == -signal.SIGALRM

    def __str__(self) -> str:
        return how(self.exitcode)


Event = Item[ValueT] | Finished | Raised | Died


class RemoteTraceback(Exception):
    """The cause of an exception that was raised in a worker: its traceback there, as text."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def how(exitcode: int) -> str:
    """How a process ended, in words. SIGKILL comes from outside, mostly from a kernel that is short of memory."""
    if exitcode >= 0:
        return f"exited with code {exitcode}"
    if exitcode == -signal.SIGKILL:
        return "was killed by SIGKILL, mostly for lack of memory"
    try:
        return f"was killed by {signal.Signals(-exitcode).name}"
    except ValueError:  # a real-time signal has no name
        return f"was killed by signal {-exitcode}"
