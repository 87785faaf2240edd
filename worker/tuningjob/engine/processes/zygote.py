"""The zygote, a fork server with one thread: it only forks and reaps workers as the parent asks."""

import ctypes
import gc
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from tuningjob.engine.processes.protocol import ANSWER, REQUEST, Request, WorkersEnd, WorkOf

_PR_SET_PDEATHSIG: Final = 1


def fork(child: Callable[[], None]) -> int:
    """Fork a process that only runs ``child``, and never returns into its parent's frames."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        child()
        code = 0
    except BaseException:  # noqa: BLE001  this is the outermost frame
        traceback.print_exc()
    finally:
        os._exit(code)


def fork_workers(control: socket.socket, work: WorkOf, parent: int) -> None:
    """Fork and reap workers as the parent asks; when the parent ends, end them all."""
    die_with(parent)
    for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C is for the parent to handle
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGCHLD, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)  # it belongs to an event loop in the parent
    sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115  open as long as the process lives
    gc.freeze()  # else the workers' garbage collector would write to every object and copy its page
    workers: set[int] = set()
    while packet := control.recv(REQUEST.size):
        request, number = REQUEST.unpack(packet)
        if request == Request.FORK:
            workers |= _give_birth(control, work, number)
        else:
            control.send(ANSWER.pack(_end(number)))
            workers.remove(number)
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    for pid in workers:
        os.waitpid(pid, 0)


def _give_birth(control: socket.socket, work: WorkOf, slot: int) -> set[int]:
    """Fork a worker and reply with it, or with the error."""
    parents_end, its_end = socket.socketpair()
    zygote = os.getpid()

    def worker() -> None:
        die_with(zygote)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        control.close()
        parents_end.close()
        connection: WorkersEnd = Connection(its_end.detach())
        # a process that an estimator forks must not keep the connection open after the worker's death
        os.register_at_fork(after_in_child=connection.close)
        work(slot, connection)

    with parents_end, its_end:
        try:
            pid = fork(worker)
        except OSError as error:
            control.send(ANSWER.pack(-(error.errno or 1)))
            return set()
        socket.send_fds(control, [ANSWER.pack(pid)], [parents_end.fileno()])
        return {pid}


def _end(pid: int) -> int:
    """Wait for a worker whose connection has ended; returns its exit code."""
    # A dead worker already has its exit code, which a signal does not change; one that only lost its connection is of no use.
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, because its results would be lost."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
