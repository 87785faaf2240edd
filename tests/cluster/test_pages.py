"""What the pages have people type at a cluster, typed there: it does what the page says, and prints what it shows.

The restore drill has a test of its own. What watches for ever is left out, and so is what installs: a release is there.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.harness.client import Cluster
from tests.cluster.shells import types
from tests.cluster.test_live import has_done
from tests.cluster.test_search import is_complete
from tests.cluster.tuningjobs import TuningJobs, small_pod
from tests.conftest import EXAMPLES
from tests.documents import Block, blocks_of
from tuningjob.manifest.canonical import read_file

pytestmark = pytest.mark.cluster

NAME = "breast-cancer-svc"


def block(page: str, word: str) -> Block:
    """The one block of a page whose commands have this word."""
    (found,) = [each for each in blocks_of(page) if any(word in command for command in each.commands)]
    return found


def test_a_search_shows_itself_as_the_pages_say(cluster: Cluster, jobs: TuningJobs, tmp_path: Path) -> None:
    example = tmp_path / "examples" / f"{NAME}.yaml"
    example.parent.mkdir()
    document = read_file(EXAMPLES / example.name)
    document["spec"]["resources"] = small_pod()  # two whole CPUs are more than a node of the tests has left
    example.write_text(json.dumps(document), encoding="utf-8")
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
