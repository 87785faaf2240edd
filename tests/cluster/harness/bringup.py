"""Bringing the cluster up: in half a minute, from nothing or from the leftovers of a run that was killed."""

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from . import binaries, brought, controlplane, images, kueue, network, nodes, packages, pki, sysctls, teardown
from .client import Cluster
from .layout import KUBECONFIG, LOCK, NODES, RUN, Node
from .shell import HarnessError, NotReady, until

_KEPT = RUN / "kept"


@contextlib.contextmanager
def lock(*, timeout_seconds: float = 150) -> Iterator[None]:
    """Hold the one cluster that a machine can have (its names are the machine's): a second caller waits.

    The kernel lets go of the lock when its holder ends, however it ends.
    """
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("w") as file:

        def taken() -> bool:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        try:
            until("the lock", taken, timeout_seconds=timeout_seconds, poll_seconds=0.5)
        except HarnessError as error:
            raise NotReady(f"another test run has had the cluster for {timeout_seconds:g} s ({LOCK})") from error
        yield


def debian(say: Callable[[str], None]) -> None:
    """Install the Debian packages alone: a minute, and Postgres is there."""
    with lock():
        packages.install_missing(say)


def deps(say: Callable[[str], None]) -> None:
    """Install and build all that ``up`` and the tests' servers need; does nothing, and waits for nobody, when that was done before."""
    if not _is_ready():
        with lock():
            packages.install_missing(say)
            binaries.build_missing(say)
            if not images.base_present():
                say("building the base image")
                images.ensure_base()
    try:
        brought.bring_missing(say)
    except HarnessError as error:  # a cluster needs none of it: the tests that do will say it
        say(str(error))


def _is_ready() -> bool:
    try:
        packages.require()
    except NotReady:
        return False
    return True


def up(say: Callable[[str], None], *, keep: bool) -> Cluster:
    """Bring the cluster up, or take the one that runs if it was kept and is whole. The caller holds the lock.

    A cluster with ``keep`` false belongs to the process that started it, which takes it down; if it is found here, that
    process was killed.
    """
    packages.require()
    started = time.monotonic()

    def report(what: str) -> None:
        say(f"{time.monotonic() - started:5.1f} s  {what}")

    with ThreadPoolExecutor(8) as threads:
        # images are built while the control plane starts
        built = threads.submit(_build)
        if kept() and _KEPT.read_text() == _versions() and not kueue.left_behind() and controlplane.healthy():
            _import(threads, built)
            report("took the running cluster")
        else:
            teardown.down()
            try:
                _start(threads, built, report)
            except BaseException:
                teardown.down()
                raise
            if keep:
                _KEPT.write_text(_versions())
    _, operator, worker = built.result()
    return Cluster(
        kubeconfig=KUBECONFIG,
        nodes=tuple(node.name for node in NODES),
        operator_image=operator.reference,
        worker_image=worker.reference,
    )


def kept() -> bool:
    """Whether the cluster that runs was meant to stay when its starter ended."""
    return _KEPT.exists()


def _versions() -> str:
    """What a cluster that was kept must have been started with, to be taken."""
    return "\n".join(str(program.path) for program in binaries.PROGRAMS)


def _build() -> tuple[images.Image, ...]:
    """All that the nodes need: pause, the operator's and the worker's."""
    return images.ensure_pause(), *images.ensure_project()


def _start(threads: ThreadPoolExecutor, built: Future[tuple[images.Image, ...]], report: Callable[[str], None]) -> None:
    for folder in ("log", "pid"):
        (RUN / folder).mkdir(parents=True)
    RUN.chmod(0o711)  # pods of any user read their volumes below it; nobody lists it
    sysctls.remember()
    pki.create()
    network.create()
    for node in NODES:
        nodes.configure(node)
    control_plane = threads.submit(controlplane.start)
    for runtime in [threads.submit(nodes.start_containerd, node) for node in NODES]:
        runtime.result()
    # images go in as soon as they are built
    imported = threads.submit(_import, threads, built)
    control_plane.result()
    report("control plane ready")
    for node in NODES:
        nodes.start_kubelet(node)
    controlplane.wait_for_nodes()
    report("nodes ready")
    imported.result()
    report("images on the nodes")


def _import(threads: ThreadPoolExecutor, built: Future[tuple[images.Image, ...]]) -> None:
    def give(node: Node) -> None:
        for image in built.result():
            nodes.import_image(node, str(image.archive), image.reference)

    for done in [threads.submit(give, node) for node in NODES]:
        done.result()
