"""Repeats fits of a finished search in a pod: a search of its own over their candidates, whose scores are compared to the bit."""

import csv
import json
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tuningjob.answers import read_results
from tuningjob.artifacts.downloads import Sidecar
from tuningjob.cluster.run import Run, RunProgress
from tuningjob.errors import ClusterRefused
from tuningjob.manifest import load
from tuningjob.manifest.canonical import read_yaml
from tuningjob.manifest.wellknown import CV_RESULTS_CSV_FILE, MAX_NAME_LENGTH
from tuningjob.protocol.audit import AuditRow
from tuningjob.protocol.code import changes
from tuningjob.verify import Again, Recorded, Verified, recorded_as

if TYPE_CHECKING:
    from tuningjob.cluster.client import Cluster

_AGAIN: Final = "-again"
# fields that belong to the first search, or to its life
_LEFT_OUT: Final = frozenset(
    {
        "activeDeadlineSeconds", "cancel", "exports", "mode", "prune", "select", "startDeadlineSeconds", "suspend",
        "ttlSecondsAfterFinished",
    }
)  # fmt: skip


@dataclass(frozen=True)
class _Found:
    """What a search on the cluster left: its manifest and table, its candidates as a manifest writes them, what it ran with."""

    document: Mapping[str, Any]
    recorded: Recorded
    candidates: Sequence[Mapping[str, Any]]
    sidecar: Sidecar | None
    row: AuditRow | None


def verify_in_pod(
    cluster: "Cluster",
    run: Run,
    choose: Callable[[Recorded], Sequence[int]],
    *,
    tell: Callable[[RunProgress], object] = lambda _: None,
) -> tuple[Verified, Recorded]:
    """Have a pod repeat all splits of the candidates of the chosen fits, and compare.

    The pod has the search's own data, code, image and resources. Its TuningJob is deleted once it is complete. Raises
    ClusterRefused for a search that is not complete or goes by halving, SearchFailed if the pod's is not done.
    """
    before = _found(run)
    if before.document["spec"]["search"].get("halving") is not None:
        raise ClusterRefused(
            f"{run.name}: must be a search without halving, whose rounds have parts of the samples, to be verified in a pod, "
            "but is one. Verify it here: leave --in-pod out, and name the folder of its data by --data."
        )
    splits = before.recorded.splits
    chosen = sorted({ordinal // splits for ordinal in choose(before.recorded)})
    again = cluster.submit(_document(run.name, before, chosen))
    again.wait(tell=tell)
    after = _found(again)
    again.delete()
    return Verified(tuple(_compared(before, after, chosen)), tuple(_surroundings(before, after))), before.recorded


def _found(run: Run) -> _Found:
    document: dict[str, Any] = read_yaml(run.manifest())
    with tempfile.TemporaryDirectory() as folder:
        run.write_tables(Path(folder))
        path = Path(folder) / CV_RESULTS_CSV_FILE
        table = {str(key): list(values) for key, values in read_results(path).items()}
        with path.open(encoding="utf-8", newline="") as file:
            candidates = [json.loads(line["params"]) for line in csv.DictReader(file)]
    recorded = recorded_as(run.name, load(document).spec, table)
    return _Found(document, recorded, candidates, *run.ran_with())


def _document(name: str, before: _Found, chosen: Sequence[int]) -> dict[str, Any]:
    """The manifest of the search that fits these candidates again: the same, except for what it tries."""
    spec = {key: value for key, value in before.document["spec"].items() if key not in _LEFT_OUT}
    grid = [{key: [value] for key, value in before.candidates[candidate].items()} for candidate in chosen]
    spec |= {
        "search": {"grid": {"parameters": grid}},
        "baseline": False,
        "reuse": False,
        "parallelism": 1,
        "modelKey": f"{spec.get('modelKey') or name}{_AGAIN}",
    }
    ending = f"{_AGAIN}-{secrets.token_hex(3)}"
    called = f"{name[: MAX_NAME_LENGTH - len(ending)].rstrip('-.')}{ending}"
    document = {key: before.document[key] for key in ("apiVersion", "kind")}
    return {**document, "metadata": {"name": called}, "spec": spec}


def _compared(before: _Found, after: _Found, chosen: Sequence[int]) -> Iterator[Again]:
    splits = before.recorded.splits
    if (after.recorded.candidates, after.recorded.splits) != (len(chosen), splits):
        raise ClusterRefused(
            f"{after.recorded.name}: must have {len(chosen):,} candidates on {splits:,} splits, as {before.recorded.name} has, "
            f"but has {after.recorded.candidates:,} on {after.recorded.splits:,}: the data are divided otherwise now."
        )
    was = before.recorded.cells([candidate * splits + split for candidate in chosen for split in range(splits)])
    for then, now in zip(was, after.recorded.everything(), strict=True):
        if then.pruned:
            continue
        yield Again(then, replace(now, candidate=then.candidate), str(before.candidates[then.candidate]))


def _surroundings(before: _Found, after: _Found) -> Iterator[str]:
    """Yield a sentence for each known difference from the first run, whether or not it matters."""
    if before.row is not None and after.row is not None:
        if before.row.data_digest != after.row.data_digest:
            yield f"data: {before.row.data_digest[:12]} → {after.row.data_digest[:12]}"
        if before.row.image != after.row.image:
            yield f"image: {before.row.image} → {after.row.image}"
    if before.sidecar is not None and after.sidecar is not None:
        for change in changes(before.sidecar.versions, after.sidecar.versions):
            yield f"version: {change.exact}"
        if before.sidecar.kernels != after.sidecar.kernels and before.sidecar.kernels:
            yield f"CPU: {', '.join(before.sidecar.kernels)} → {', '.join(after.sidecar.kernels)}"
