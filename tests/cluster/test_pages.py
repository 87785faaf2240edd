"""What the pages have people type at a cluster, typed there: it does what the page says, and prints what it shows.

The restore drill has a test of its own. What watches for ever is left out, and so is what installs: a release is there.
``tests/docs/test_blocks.py`` holds that each block of a page is named by its test.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.harness import release as chart
from tests.cluster.harness.client import Cluster
from tests.cluster.harness.layout import ROOT
from tests.cluster.harness.release import Release
from tests.cluster.people import person
from tests.cluster.shells import types
from tests.cluster.test_live import has_done
from tests.cluster.test_search import is_complete
from tests.cluster.tuningjobs import TuningJobs, small_pod
from tests.conftest import EXAMPLES
from tests.documents import Block, blocks_of
from tests.servers.ports import free_port
from tuningjob.manifest.canonical import read_file, read_yaml

pytestmark = pytest.mark.cluster

NAME = "breast-cancer-svc"


def block(page: str, word: str) -> Block:
    """The one block of a page whose commands have this word."""
    (found,) = [each for each in blocks_of(page) if any(word in command for command in each.commands)]
    return found


def written(page: str, *, name: str, file: Path) -> None:
    """The manifest of this name that a page shows, as a file; a pod of it is small enough for the tests' nodes."""
    found = [read_yaml(each.text) for each in blocks_of(page) if each.language == "yaml" and "\n---\n" not in each.text]
    (document,) = [each for each in found if each.get("metadata", {}).get("name") == name]
    write_small(document, file)


def write_small(document: dict[str, Any], file: Path) -> None:
    document["spec"]["resources"] = small_pod()  # two whole CPUs are more than a node of the tests has left
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(document), encoding="utf-8")


def test_a_search_shows_itself_as_the_pages_say(cluster: Cluster, jobs: TuningJobs, tmp_path: Path) -> None:
    write_small(read_file(EXAMPLES / f"{NAME}.yaml"), tmp_path / "examples" / f"{NAME}.yaml")
    readme = block("README.md", f"apply -f examples/{NAME}.yaml")
    apply, get, params = readme.commands

    types(cluster, tmp_path, apply, namespace=jobs.namespace)
    jobs.wait_for(NAME, is_complete)
    gone = "its pods to be gone, and its status to say so"
    cluster.wait_for(gone, lambda: not jobs.status(NAME).get("activePods"), namespace=jobs.namespace)

    head, row = types(cluster, tmp_path, get, namespace=jobs.namespace).splitlines()
    shown_head, shown_row, *shown_params = [line for line in readme.text.splitlines() if not line.startswith("$")]
    assert head.split() == shown_head.split()
    assert row.split()[:-1] == shown_row.split()[:-1], "all but the age"
    assert block("docs/observability.md", get).text.splitlines()[1].split() == head.split()
    found = types(cluster, tmp_path, params, namespace=jobs.namespace)
    assert json.loads(found) == json.loads("\n".join(shown_params))

    told = [command.replace("NAME", NAME) for command in block("docs/cluster.md", "kubectl wait tj").commands]
    wide, described, waited, logs, table = (
        types(cluster, tmp_path, command, namespace=jobs.namespace) for command in told
    )
    assert NAME in wide
    assert re.search("Conditions:.*Events:", described, re.DOTALL)
    assert waited == f"tuningjob.tuningjob.dev/{NAME} condition met\n"
    assert "[pod/" in logs
    assert len(table.splitlines()) == 1 + 9
    assert "mean_test_score" in table

    (verdict,) = block("docs/report.md", "verdict").commands
    assert types(cluster, tmp_path, verdict, namespace=jobs.namespace).startswith(NAME)


def test_the_manifests_of_start_and_of_who_comes_from_scikit_learn_are_applied(
    cluster: Cluster, jobs: TuningJobs, tmp_path: Path
) -> None:
    _, iris, _, verdict = block("docs/start.md", "helm install").commands
    (wine,) = block("docs/coming-from/gridsearchcv.md", "kubectl apply").commands
    written("docs/start.md", name="iris", file=tmp_path / "iris.yaml")
    written("docs/coming-from/gridsearchcv.md", name="search", file=tmp_path / "wine.yaml")

    types(cluster, tmp_path, iris, wine, namespace=jobs.namespace)
    for name in ("iris", "search"):
        jobs.wait_for(name, is_complete)
    assert types(cluster, tmp_path, verdict, namespace=jobs.namespace).startswith("iris")


def test_a_version_is_asked_for_blessed_served_and_its_makers_name_erased_as_the_pages_say(
    cluster: Cluster, jobs: TuningJobs, tmp_path: Path
) -> None:
    alice = person(cluster, jobs.namespace, "alice", role="edit", server="")
    document = read_file(EXAMPLES / f"{NAME}.yaml")
    document["spec"]["resources"] = small_pod()
    alice.applies(document)
    jobs.wait_for(NAME, is_complete)
    (tmp_path / "examples").symlink_to(EXAMPLES)
    _, *reached, history = block("docs/audit.md", "port-forward").commands
    _, forward, authority, where, token, serve, bless, ask = block("examples/serving/README.md", "serve.py").commands
    assert [authority, where] == reached

    # a person looks before they go on; and types another port if theirs is taken
    def until(command: str) -> str:
        return f"timeout 60 bash -c 'until {command}; do sleep 0.2; done'"

    results, served = free_port(), free_port()
    forward, where = forward.replace(" 8080", f" {results}:8080"), where.replace(":8080", f":{results}")
    serve, ask = serve.replace("9000", f"{served}"), ask.replace(":9000", f":{served}")
    # in one shell, whose variables the next command needs, and which ends what it has begun
    said = types(
        cluster,
        tmp_path,
        "trap 'kill $(jobs -p)' EXIT",
        forward,
        until(f"curl --silent --insecure https://localhost:{results}/readyz >/dev/null"),
        *(authority, where, token.replace("NAME", "alice")),
        history.replace("-n team", f"-n {jobs.namespace}"),
        serve.replace("--namespace default", f"--namespace {jobs.namespace}"),
        bless,
        until(f'curl --silent localhost:{served}/healthz | grep "version.: 1"'),
        ask,
        namespace=jobs.namespace,
    )
    assert f"system:serviceaccount:{jobs.namespace}:alice" in said
    assert block("examples/serving/README.md", "serve.py").text.splitlines()[-1] in said.splitlines()

    erased = block("docs/audit.md", "tuningjob_operator.erase")
    (erase,) = erased.commands
    told = types(cluster, tmp_path, erase.replace("ada@example.com", alice.username))
    assert without_numbers(told.strip()) == without_numbers(erased.text.splitlines()[1])


def without_numbers(text: str) -> str:
    return re.sub(r"erased-\w+|\d+", "…", text)


def test_the_key_of_the_tokens_is_changed_and_the_release_tested_as_the_charts_readme_says(
    cluster: Cluster, release: Release, tmp_path: Path
) -> None:
    (tmp_path / "charts").symlink_to(ROOT / "charts")
    page = "charts/tuningjob/README.md"
    (rotate,) = block(page, "signingKey.generation").commands
    (test,) = block(page, "helm test").commands
    secret = f"{release.name}-signing-key"

    def key() -> Any:
        return (cluster.get("secret", secret, namespace=release.namespace) or {})["data"]

    before = key()
    try:
        types(cluster, tmp_path, f"{rotate} --wait --timeout 5m")
        assert key()["former.key"] == before["signing.key"]
        assert "who asks for models is known" in types(cluster, tmp_path, test)
    finally:
        chart.install(cluster)


def test_a_search_is_scaled_suspended_and_cancelled_as_the_readme_says(
    cluster: Cluster, jobs: TuningJobs, slow_forest: dict[str, Any], tmp_path: Path
) -> None:
    slow_forest["metadata"]["name"] = name = "iris-forest"
    jobs.apply(slow_forest)
    jobs.wait_for(name, has_done(1))
    scale, suspend, cancel = block("README.md", "kubectl scale").commands

    types(cluster, tmp_path, scale, namespace=jobs.namespace)
    assert jobs.get(name)["spec"]["parallelism"] == 5
    jobs.wait_for(name, lambda status: status.get("activePods", 0) > 1)

    types(cluster, tmp_path, suspend, namespace=jobs.namespace)
    jobs.wait_for(name, lambda status: status.get("phase") == "Suspended" and status.get("activePods") == 0)

    types(cluster, tmp_path, cancel, namespace=jobs.namespace)
    cluster.wait_for(
        "the search to be cancelled",
        lambda: jobs.condition(name, "Failed").get("reason") == "Cancelled",
        timeout_seconds=60,
        namespace=jobs.namespace,
    )
