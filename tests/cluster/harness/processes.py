"""The daemons that the harness starts, and how it ends exactly those.

A pid alone is no identity: after a reboot, or a long while, another process may bear it. Each daemon is recorded with
its pid and its start time, and only a process that still has both is ever ended.
"""

import contextlib
import os
import shutil
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

from .layout import RUN
from .shell import HarnessError, until

# Nothing of the caller's environment: a proxy setting, say, would send the API server's calls to its kubelets astray.
# Half of the API server's CPU time went into collecting garbage: there is memory enough to do that a third as often.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "GOGC": "400",
    "GOMEMLIMIT": "3GiB",
}


def spawn(name: str, *command: str | Path, network: str) -> None:
    """Start a daemon in a network namespace, detached, its output in ``log/<name>.log``."""
    # nsenter, because `ip netns exec` remounts /sys and hides the cgroups from the kubelet
    nsenter = shutil.which("nsenter") or "/usr/bin/nsenter"
    words = [nsenter, f"--net=/run/netns/{network}", "--", *(str(word) for word in command)]
    log = RUN / "log" / f"{name}.log"
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    # posix_spawn, not Popen: nobody waits for these, and a Popen object that is dropped unwaited warns
    pid = os.posix_spawn(
        nsenter,
        words,
        ENVIRONMENT,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    (RUN / "pid" / name).write_text(f"{pid} {_started(pid)}\n")


def last_words(name: str) -> str:
    """The end of a daemon's log, for a message about its failure."""
    log = RUN / "log" / f"{name}.log"
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else "(no log)"


def recorded(prefixes: Iterable[str] = ("",)) -> dict[str, int]:
    """The daemons that still run, by name, of those whose name starts with one of the prefixes."""
    wanted = tuple(prefixes)
    alive = {}
    for record in sorted((RUN / "pid").glob("*")):
        pid, _, started = record.read_text().strip().partition(" ")
        if record.name.startswith(wanted) and started and _started(int(pid)) == started:
            alive[record.name] = int(pid)
    return alive


def shims() -> dict[int, str]:
    """The containerd shims of our nodes (they outlive containerd, by design), by pid, with their command line."""
    found = {}
    for pid, words in _command_lines():
        if Path(words[0]).name.startswith("containerd-shim") and any(w.startswith(f"{RUN}/") for w in words):
            found[pid] = " ".join(words)
    return found


def end(pids: Iterable[int]) -> None:
    """Kill processes and wait until they are gone.

    At once and without a farewell: nothing here has anything to save, its state goes with the run directory.
    """
    targets = {pid: _started(pid) for pid in pids}
    for pid in targets:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def gone() -> bool:
        return not any(started and _started(pid) == started for pid, started in targets.items())

    try:
        until("processes to end after SIGKILL", gone)
    except HarnessError as error:
        raise HarnessError(f"{error}: {sorted(pid for pid in targets if _started(pid))}") from error


def _started(pid: int) -> str:
    """When the process started, in ticks since boot; empty if it is gone (or a zombie, which is reaped here if ours)."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        # the command's name may hold spaces and brackets: fields are counted from its closing bracket
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _command_lines() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                words = (entry / "cmdline").read_bytes().rstrip(b"\0").decode(errors="replace").split("\0")
                if words[0]:
                    yield int(entry.name), words
