"""Running commands and waiting for conditions: the two verbs that every other module is made of.

Commands are lists, never shell lines; a command that fails says what it was and how it ended. Waiting is polling with a
deadline, never a fixed sleep. (Only what reads from the network is retried after a pause.)
"""

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed

POLL_SECONDS = 0.1

T = TypeVar("T")


class HarnessError(Exception):
    """Something that the cluster needs did not work. The message says what, and what to do if that is known."""


class TimedOut(HarnessError):
    """What was waited for did not come."""


class NotReady(HarnessError):
    """This machine cannot run the cluster (yet): a package, a binary or a right is missing."""


def run(
    *command: str | Path,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
    timeout_seconds: float = 900,
) -> str:
    """Run a command to its end and return its standard output; raise HarnessError with its last words if it fails."""
    words = [str(word) for word in command]
    environment = dict(os.environ if env is None else env)
    # ip, iptables, debootstrap: root's own PATH has these folders, but not what every `su` leaves of it
    environment["PATH"] = os.pathsep.join((environment.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    try:
        done = subprocess.run(
            words,
            input=stdin,
            env=environment,
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_seconds,
        )
    except FileNotFoundError as error:
        raise HarnessError(f"{words[0]}: not found") from error
    except subprocess.TimeoutExpired as error:
        raise HarnessError(f"{' '.join(words)}: not done after {timeout_seconds:g} s") from error
    if check and done.returncode:
        last_words = (done.stderr or done.stdout).strip()[-4000:]
        raise HarnessError(f"{' '.join(words)}: exit code {done.returncode}\n{last_words}")
    return done.stdout


@retry(retry=retry_if_exception_type(HarnessError), stop=stop_after_attempt(3), wait=wait_fixed(5), reraise=True)
def download(
    *command: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None, timeout_seconds: float = 900
) -> str:
    """Run a command that reads from the network, up to three times, because a connection may be cut."""
    return run(*command, env=env, cwd=cwd, timeout_seconds=timeout_seconds)


def succeeds(*command: str | Path, timeout_seconds: float = 60) -> bool:
    """Whether a command ends with exit code 0 in time."""
    try:
        run(*command, timeout_seconds=timeout_seconds)
    except HarnessError:
        return False
    return True


def until(
    description: str, probe: Callable[[], T | None], *, timeout_seconds: float = 300, poll_seconds: float = POLL_SECONDS
) -> T:
    """Return the first truthy answer of ``probe``; raise TimedOut naming ``description`` at the deadline."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        if answer := probe():
            return answer
        if time.monotonic() >= deadline:
            raise TimedOut(f"waited {timeout_seconds:g} s for this, in vain: {description}")
        time.sleep(poll_seconds)
