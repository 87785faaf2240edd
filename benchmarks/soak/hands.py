"""Does what the plan says, one thing at a time, and puts it right again before the next."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from benchmarks.soak import kinds
from benchmarks.soak.plan import Act, Deed
from benchmarks.soak.stage import OPERATOR, SERVICE, TENANTS, WORKER, Flight, Stage, processes, search_of
from tests.cluster.harness import controlplane, nodes
from tests.cluster.harness import processes as daemons
from tests.cluster.harness.layout import NODES
from tests.cluster.harness.shell import HarnessError, run, until
from tests.journal.test_full_disk import fill

_WORKERS: Final = "app.kubernetes.io/component=worker"
# the operator's volume is on the first node
_NODE: Final = NODES[1]
_IDLE_SECONDS: Final = 60
_TOLD_SECONDS: Final = 15
_AT_WORK_SECONDS: Final = 45


@dataclass
class Hands:
    """``faults``: what was taken that must be refused, and what could not be put right again."""

    stage: Stage
    faults: list[str] = field(default_factory=list)
    # A second death in a unit is taken for the fit's own fault, and is scored NaN: no search loses a pod to SIGKILL twice.
    _hurt: set[str] = field(default_factory=set)

    def do(self, act: Act) -> bool:
        """Returns whether there was anything to do it to. Raises HarnessError if it could not be done."""
        told = _DEEDS[act.deed](self, act)
        self.stage.say(f"{act.number}. {act.deed}: {told or 'nothing there to do it to'}")
        return told is not None

    # --- processes

    def _kill_worker(self, act: Act) -> str | None:
        there = sorted(
            (each for each in processes() if each.what == WORKER and search_of(each.pod) not in self._hurt),
            key=lambda each: each.pod,
        )
        chosen = act.choose(there)
        if chosen is None:
            return None
        self._hurt.add(search_of(chosen.pod))
        os.kill(chosen.pid, signal.SIGKILL)
        return chosen.pod

    def _kill_operator(self, act: Act) -> str | None:
        return self._kill(act, OPERATOR)

    def _kill_service(self, act: Act) -> str | None:
        return self._kill(act, SERVICE)

    @staticmethod
    def _kill(act: Act, what: str) -> str | None:
        chosen = act.choose([each for each in processes() if each.what == what])
        if chosen is None:
            return None
        os.kill(chosen.pid, signal.SIGKILL)
        return f"pid {chosen.pid}"

    def _delete_control_plane(self, _: Act) -> str:
        stage = self.stage
        selector = f"--selector=app.kubernetes.io/instance={stage.release.name}"
        words = ("delete", "pod", selector, "--grace-period=0", "--force", "--wait=false")
        stage.cluster.kubectl(*words, namespace=stage.release.namespace)
        return "at once, without a farewell"

    def _kill_postgres(self, act: Act) -> str:
        self.stage.server.kill()
        time.sleep(act.holds)
        self.stage.server.start()
        return f"away for {act.holds:.1f} s"

    def _fill_disk(self, act: Act) -> str:
        filler = fill(self.stage.disk)
        try:
            time.sleep(act.holds)
        finally:
            filler.unlink()
        # it gives up if its log cannot be written
        self.stage.server.restart()
        return f"full for {act.holds:.1f} s, and started anew"

    # --- nodes and the control plane

    def _stop_kubelet(self, act: Act) -> str:
        node = NODES[int(act.draw * len(NODES))]
        names = [f"kubelet-{node.name}", f"proxy-{node.name}"]
        daemons.end(daemons.recorded(names).values())
        try:
            time.sleep(act.holds)
        finally:
            nodes.start_kubelet(node)
        return f"of {node.name} for {act.holds:.1f} s"

    def _stop_api_server(self, act: Act) -> str:
        with controlplane.api_server_down():
            time.sleep(act.holds)
        return f"for {act.holds:.1f} s"

    def _cut_off(self, act: Act) -> str:
        link = f"v-{_NODE.name}"
        run("ip", "link", "set", link, "down")
        try:
            time.sleep(act.holds)
        finally:
            run("ip", "link", "set", link, "up")
        return f"{_NODE.name} for {act.holds:.1f} s"

    def _lose_node(self, act: Act) -> str:
        nodes.stop(_NODE)
        try:
            time.sleep(act.holds)
        finally:
            nodes.start(_NODE)
        self._wait_for_node()
        return f"{_NODE.name} for {act.holds:.1f} s"

    def _wait_for_node(self) -> None:
        words = ("wait", "--for=condition=Ready", f"node/{_NODE.name}", "--timeout=60s")
        self.stage.cluster.kubectl(*words)

    def _drain(self, act: Act) -> str:
        cluster = self.stage.cluster
        options = ("--force", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s")
        try:
            cluster.kubectl("drain", _NODE.name, *options, f"--pod-selector={_WORKERS}")
            time.sleep(act.holds)
        finally:
            cluster.kubectl("uncordon", _NODE.name)
        return _NODE.name

    # --- objects

    def _delete_worker(self, act: Act) -> str | None:
        cluster = self.stage.cluster
        there = [
            (tenant, pod["metadata"]["name"])
            for tenant in TENANTS
            for pod in cluster.items("pods", "-l", _WORKERS, namespace=tenant)
            if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]
        chosen = act.choose(sorted(there))
        if chosen is None:
            return None
        cluster.kubectl("delete", "pod", chosen[1], "--wait=false", "--ignore-not-found", namespace=chosen[0])
        return str(chosen[1])

    def _chosen(self, act: Act) -> Flight | None:
        """A search at work. After an outage it may take a while until one is again, and it is waited for."""
        with contextlib.suppress(HarnessError):
            what, there = "a search at work", lambda: bool(self.stage.running(kinds.COUNTED))
            until(what, there, timeout_seconds=_AT_WORK_SECONDS, poll_seconds=0.5)
        return act.choose(self.stage.running(kinds.COUNTED))

    def _scale(self, act: Act) -> str | None:
        flight = self._chosen(act)
        if flight is None:
            return None
        pods = 1 + int(act.draw * 100) % 3
        self.stage.patch(flight, parallelism=pods)
        return f"{flight.order.name} to {pods}"

    def _edit_frozen(self, act: Act) -> str | None:
        flight = self._chosen(act)
        if flight is None:
            return None
        with contextlib.suppress(HarnessError):
            self.stage.patch(flight, crossValidation={"folds": 9})
            self.faults.append(f"{flight.order.name}: another number of folds was taken while it ran")
        return f"{flight.order.name}, and was refused"

    def _suspend(self, act: Act) -> str | None:
        flight = self._chosen(act)
        if flight is None:
            return None
        self.stage.patch(flight, suspend=True)
        try:
            time.sleep(act.holds)
            self._wait_until_told_to_be_idle(flight)
        finally:
            self.stage.patch(flight, suspend=False)
        return f"{flight.order.name} for {act.holds:.1f} s and until it said that it had no pods"

    def _wait_until_told_to_be_idle(self, flight: Flight) -> None:
        """A suspended search's pods go, and its status says so."""
        name, tenant = flight.order.name, flight.order.tenant

        def is_idle() -> bool:
            return not self.stage.cluster.items("pods", "-l", f"tuningjob.dev/name={name}", namespace=tenant)

        def is_told() -> bool:
            found = self.stage.cluster.get("tj", name, namespace=tenant) or {}
            return not (found.get("status") or {}).get("activePods")

        until(f"the pods of {name} to go", is_idle, timeout_seconds=_IDLE_SECONDS, poll_seconds=1)
        try:
            until(f"{name} to say so", is_told, timeout_seconds=_TOLD_SECONDS, poll_seconds=1)
        except HarnessError:
            self.faults.append(f"{name}: is suspended, its pods have gone, and its status still counts them")

    def _cancel(self, act: Act) -> str | None:
        flight = self._chosen(act)
        if flight is None:
            return None
        flight.was_cancelled = True
        self.stage.patch(flight, cancel=True)
        return flight.order.name

    def _delete_search(self, act: Act) -> str | None:
        flight = self._chosen(act)
        if flight is None:
            return None
        flight.was_deleted = True
        self.stage.delete(flight.order)
        return flight.order.name

    def _delete_job(self, act: Act) -> str | None:
        flight = self._chosen(act)
        if flight is None:
            return None
        words = ("delete", "job", flight.order.name, "--wait=false", "--ignore-not-found")
        self.stage.cluster.kubectl(*words, namespace=flight.order.tenant)
        return flight.order.name

    def _delete_token(self, act: Act) -> str | None:
        """Its pods have read it; the next one waits until the operator has made it again."""
        flight = self._chosen(act)
        if flight is None:
            return None
        cluster, tenant = self.stage.cluster, flight.order.tenant
        held = [secret["metadata"]["name"] for secret in cluster.items("secrets", namespace=tenant)]
        tokens = [name for name in held if name.startswith(f"{flight.order.name}-token-")]
        for token in tokens:
            cluster.kubectl("delete", "secret", token, "--wait=false", "--ignore-not-found", namespace=tenant)
        return ", ".join(tokens) or None

    def put_right(self) -> None:
        """Wait until the control plane, both nodes and the product are whole again. Raises HarnessError."""
        until("a whole cluster", controlplane.healthy, timeout_seconds=120, poll_seconds=1)
        cluster, release = self.stage.cluster, self.stage.release
        cluster.kubectl("uncordon", *(node.name for node in NODES))
        words = ("rollout", "status", f"deployment/{release.name}", "--timeout=180s")
        cluster.kubectl(*words, namespace=release.namespace)


_DEEDS: Final[Mapping[Deed, Callable[[Hands, Act], str | None]]] = {
    "kill a worker": Hands._kill_worker,
    "delete a worker": Hands._delete_worker,
    "kill the operator": Hands._kill_operator,
    "kill the results service": Hands._kill_service,
    "delete the control plane's pod": Hands._delete_control_plane,
    "kill Postgres": Hands._kill_postgres,
    "fill Postgres' disk": Hands._fill_disk,
    "stop a kubelet": Hands._stop_kubelet,
    "stop the API server": Hands._stop_api_server,
    "cut a node off": Hands._cut_off,
    "lose a node": Hands._lose_node,
    "drain a node": Hands._drain,
    "scale a search": Hands._scale,
    "edit what is frozen": Hands._edit_frozen,
    "suspend and resume a search": Hands._suspend,
    "cancel a search": Hands._cancel,
    "delete a search": Hands._delete_search,
    "delete a Job": Hands._delete_job,
    "delete a token": Hands._delete_token,
}
