"""One tenant who sends whatever can be made up, beside one who searches: the control plane as the chart sizes it, and nobody else.

How many hostile inputs: ``TUNINGJOB_CHAOS_INPUTS`` (a quick profile by default). Which: ``TUNINGJOB_CHAOS_SEED``; the same seed sends
the same. What is measured is time, and a machine that has other things to do is slower by as much: so the limits are as many times
longer as it has more to do than it has processors, and a claim may take 100 ms more than one of a service beside it that nobody
attacks. ``TUNINGJOB_CHAOS_STRICT=1``, where nothing else runs: 2 s and 100 ms, and no more.
"""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.chaos import stage as stages
from tests.chaos.attacks import ATTACKS, Attack
from tests.chaos.holdings import Holdings
from tests.chaos.honest import AT_WORK, CLAIM_SECONDS, MODEL_KEY, Seen, Where, search_of
from tests.chaos.kube import Access, Kube
from tests.chaos.mallory import HostileTenant
from tests.chaos.stage import HONEST, HOSTILE, NAMESPACES, Stage, errors_in
from tests.chaos.wire import Wire
from tests.chaos.witness import Witness
from tests.journal.makers import a_search
from tests.service.process import Process
from tests.truth import assert_equal_to_the_bit, sklearn_search_of
from tuningjob.journal.sql import SqlJournal
from tuningjob.manifest import load_spec
from tuningjob.search.results import gather
from tuningjob_operator import tokens

INPUTS: Final = int(os.environ.get("TUNINGJOB_CHAOS_INPUTS", "100"))
SEED: Final = int(os.environ.get("TUNINGJOB_CHAOS_SEED", "12"))
IS_STRICT: Final = os.environ.get("TUNINGJOB_CHAOS_STRICT") == "1"
FIRST_STATUS_SECONDS: Final = 2.0
CLAIM_P99_SECONDS: Final = 0.1
CALM_SECONDS: Final = 3.0
# The kubelet's liveness probes: so many misses in a row, and the container is started anew.
PROBE_MISSES: Final = 3

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300 + INPUTS * 3)]


class Honest:
    """The honest tenant's process."""

    def __init__(self, where: Where) -> None:
        command = [sys.executable, "-m", "tests.chaos.honest"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=stages.ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        self._tell(json.dumps(asdict(where)))

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def enter(self, phase: str) -> None:
        self._tell(phase)

    def wait_until_at_work(self) -> None:
        assert self._process.stdout is not None
        told = self._process.stdout.readline()
        assert told.strip() == AT_WORK, self._process.communicate()[1][-3_000:]

    def ends(self) -> dict[str, Seen]:
        """What it has seen, by phase."""
        told, said = self._process.communicate(timeout=180)
        assert self._process.returncode == 0, said[-3_000:]
        return {phase: Seen(**seen) for phase, seen in json.loads(told.splitlines()[-1]).items()}

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


@contextmanager
def a_twin(folder: Path) -> Iterator[tuple[str, str]]:
    """URL and token of a results service that nobody attacks: what this machine makes of a claim."""
    folder.mkdir()
    with closing(SqlJournal(f"sqlite:///{folder / 'tuning.db'}")) as journal:
        journal.open_search(a_search(candidates=100_000))
    token = tokens.issue(tokens.read_keys(None, folder / "signing.key"), "search-a")
    with Process(folder) as process:
        process.start()
        yield process.url, token


def percentile(seconds: list[float], per_cent: float) -> float:
    """With what was due while one was waited for: else the longest waits would count least."""
    every = sorted(
        waited
        for each in seconds
        for waited in [each - CLAIM_SECONDS * n for n in range(1 + int(each / CLAIM_SECONDS))]
    )
    return every[min(len(every) - 1, int(len(every) * per_cent / 100))]


def fetched(url: str, token: str = "") -> Any:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        return answer.read()


def routes_of(stage: Stage) -> list[tuple[str, str]]:
    """All that the results service has, by its own word."""
    paths = json.loads(fetched(f"{stage.url}/openapi.json"))["paths"]
    return sorted((method.upper(), path) for path, methods in paths.items() for method in methods)


def test_whatever_a_tenant_sends_nobody_else_is_concerned(tmp_path: Path) -> None:
    secret = f"heir{os.urandom(4).hex()}"
    with stages.raised(tmp_path) as stage, a_twin(tmp_path / "twin") as (twin_url, twin_token):
        access = {
            user: Access(stage.server.url, str(stage.server.ca_file), stage.server.token_of(user))
            for user in (HONEST, HOSTILE)
        }
        where = Where(
            access=asdict(access[HONEST]),
            namespace=NAMESPACES[HONEST],
            secret=secret,
            url=stage.url,
            twin_url=twin_url,
            twin_token=twin_token,
            probes=stage.probes,
        )
        witness = Witness(SEED, tmp_path / "inputs.txt", {secret})
        with closing(Honest(where)) as honest, Kube(access[HOSTILE]) as kube, closing(Wire(stage.port)) as wire:
            honest.enter("calm")
            honest.wait_until_at_work()
            time.sleep(CALM_SECONDS)  # what is measured is time
            honest.enter("storm")
            mallory = HostileTenant(
                Holdings(kube, witness),
                wire,
                witness,
                person=access[HOSTILE].token,
                routes=routes_of(stage),
                victims_key=MODEL_KEY,
            )
            began = time.monotonic()
            storm(stage, mallory, witness)
            took = time.monotonic() - began
            look_at_everything(mallory, witness)
            seen = honest.ends()
        tell(stage, witness, seen, took)
        assert_unharmed(stage, witness)
        assert_served(witness, seen)
        assert_equal_to_scikit_learn(stage, seen, secret)


def storm(stage: Stage, mallory: HostileTenant, witness: Witness) -> None:
    """Every input, or those until a container dies."""

    @hypothesis.seed(SEED)
    @settings(
        max_examples=INPUTS,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(attack=ATTACKS)
    def send(attack: Attack) -> None:
        if any(container.exit_code is not None for container in stage.containers):
            return
        try:
            mallory.carry_out(attack)
        except Exception as error:  # noqa: BLE001  told at the end, with all the rest
            witness.fault(f"the hostile tenant could not go on: {error!r}")
        witness.busiest = max(witness.busiest, os.getloadavg()[0] / (os.cpu_count() or 1))
        for container in stage.containers:
            if container.exit_code is not None or container.group.killed:
                witness.fault(
                    f"{container.name} died: exit code {container.exit_code}, {container.group.killed} killed"
                )

    send()


def look_at_everything(mallory: HostileTenant, witness: Witness) -> None:
    """Every route, with every token that the hostile tenant has, and with forged ones."""
    mallory.holdings.look_around()
    for method, path, token in mallory.every_way():
        answer = mallory.ask(method, path, token)
        if path.startswith("/v1/namespaces/") and answer.status not in {401, 403}:
            witness.fault(f"{method} {path} with a token of {token[:4]}… must be refused, but got {answer.status}")
        if token.count(".") != 2 and path.startswith("/v1/") and answer.status not in {401, 403}:
            witness.fault(f"{method} {path} with a person's token must be refused, but got {answer.status}")


def tell(stage: Stage, witness: Witness, seen: dict[str, Seen], took: float) -> None:
    """Print the measurements; pytest shows them with -s."""
    print(f"\n{witness.tally}\n{witness.inputs} inputs in {took:.0f} s, load {witness.busiest:.1f} ({stages.PYTHON})")
    for phase, each in seen.items():
        claims, twins = each.claims, each.twins_claims
        print(
            f"{phase}: {len(claims)} claims, p50 {percentile(claims, 50) * 1e3:.0f} ms, p99 {percentile(claims, 99) * 1e3:.0f} ms, "
            f"longest {max(claims) * 1e3:.0f} ms (the twin's: p50 {percentile(twins, 50) * 1e3:.0f}, p99 "
            f"{percentile(twins, 99) * 1e3:.0f}, longest {max(twins) * 1e3:.0f}); first statuses {len(each.first_statuses)}, at most "
            f"{max(each.first_statuses, default=0):.2f} s; {len(each.searches)} searches; missed probes {each.probe_misses}"
        )
    for container in stage.containers:
        if container.exit_code is None:
            held, limit = container.peak_bytes / 2**20, container.group.limit_bytes / 2**20
            print(f"{container.name}: at most {held:.0f} of {limit:.0f} MiB, {container.group.killed} killed")


def assert_unharmed(stage: Stage, witness: Witness) -> None:
    assert not witness.faults, "\n".join([*witness.faults, witness.account])
    assert witness.inputs >= INPUTS
    for container in stage.containers:
        assert container.exit_code is None, f"{container.log[-3_000:]}\n{witness.account}"
        assert container.group.killed == 0
        assert errors_in(container.log) == []
    # also the answers that nobody waited for
    told = re.findall(
        r'tuningjob_http_requests?_total\{[^}]*status="(5\d\d)"', fetched(f"{stage.url}/metrics").decode()
    )
    assert set(told) <= {"503"}, f"{told}\n{witness.account}"


def assert_served(witness: Witness, seen: dict[str, Seen]) -> None:
    storm = seen["storm"]
    assert storm.claims, "nothing was claimed"
    assert storm.first_statuses, "no TuningJob was created"
    busy, anyway = (1, 0.0) if IS_STRICT else (max(1, witness.busiest), percentile(storm.twins_claims, 99))
    assert max(storm.first_statuses) <= FIRST_STATUS_SECONDS * busy, witness.account
    assert percentile(storm.claims, 99) <= CLAIM_P99_SECONDS * busy + anyway, witness.account
    assert max(storm.probe_misses.values(), default=0) < PROBE_MISSES, witness.account


def assert_equal_to_scikit_learn(stage: Stage, seen: dict[str, Seen], secret: str) -> None:
    """Each search of the storm, and the audit's row of it as its owner reads it."""
    searches = [search for each in seen.values() for search in each.searches]
    assert seen["storm"].searches, "no search ended in the storm"
    assert {phase for _, _, phase in searches} == {"Complete"}
    problem, want = sklearn_search_of(load_spec(search_of(secret)))
    with closing(SqlJournal(stage.database_url)) as journal:
        for uid, _, _ in searches:
            assert_equal_to_the_bit(gather(problem, journal.view(uid).results()).cv_results, want.cv_results_)
    token = stage.server.token_of(HONEST)
    rows = json.loads(fetched(f"{stage.url}/v1/namespaces/{NAMESPACES[HONEST]}/models/{MODEL_KEY}/versions", token))
    assert [row["search_id"] for row in rows] == [uid for uid, _, _ in searches]
    assert {(row["score"], json.dumps(row["best_params"])) for row in rows} == {
        (want.best_score_, json.dumps(want.best_params_))
    }
