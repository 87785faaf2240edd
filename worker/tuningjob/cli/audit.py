"""`tuningjob models | history | diff | params | blessings | bless | rollback`: the versions of models, and which is in use."""

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from tuningjob.cli.console import err, json_text, out, plain, print_json, print_table
from tuningjob.cli.source import (
    RESULTS,
    VERSION,
    AuditSource,
    BadUse,
    Where,
    chosen,
    key_argument,
    opened,
    where_options,
)
from tuningjob.errors import ManifestRefused, NotBlessed
from tuningjob.manifest.literals import parse_literal
from tuningjob.manifest.spelling import spelled
from tuningjob.manifest.wellknown import JOURNAL_FILE

if TYPE_CHECKING:
    from tuningjob.protocol.audit import AuditRow, Blessing

_MAX_WHY: Final = 1_024
_DIGEST_LETTERS: Final = 12
_ABSENT: Final = "—"
# The parts of a spec that say what was searched.
_SEARCHED: Final = ("estimator", "search", "crossValidation", "data")

_json_option = click.option("--json", "as_json", is_flag=True, help="For machines.")
_version_argument = click.argument("version", type=VERSION)


def _checked_why(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if len(value) > _MAX_WHY:
        raise BadUse(f"--why: must be of at most {_MAX_WHY:,} characters, but got {len(value):,}. Say it shorter.")
    return value


_why_option = click.option("--why", default="", callback=_checked_why, help="The reason, for those who come after you.")


@click.command()
@where_options
@_json_option
def models(where: Where, *, as_json: bool) -> None:
    """List the model keys."""
    found: list[str] = []
    for place in _all_places(where):
        with opened(place) as audit:
            found += audit.models()
    found = sorted(set(found))
    if as_json:
        print_json(list[str], found)
        return
    for key in found:
        out.print(plain(key))
    if not found:
        err.print("No search has finished here yet.")


def _all_places(where: Where) -> Iterable[Where]:
    """The place that is named, or every journal of this folder's results."""
    if where.journal or where.url:
        return [where]
    journals = sorted(RESULTS.glob(f"*/{JOURNAL_FILE}"))
    if not journals:
        raise BadUse(
            f"--journal: must be named, but got none, and there is no {RESULTS}/*/{JOURNAL_FILE} here. "
            "Name one by --journal PATH, or a results service by --server URL."
        )
    return [Where(str(path), None, where.namespace, where.ca_file, where.token_file) for path in journals]


@click.command()
@key_argument
@where_options
@_json_option
def history(key: str, where: Where, *, as_json: bool) -> None:
    """Show every version of a model key."""
    with opened(where, key) as audit:
        rows = audit.history(key)
        in_use = None if as_json else _version_in_use(audit, key)
    if as_json:
        from tuningjob.protocol.audit import AuditRow

        print_json(list[AuditRow], rows)
        return
    print_table(
        ("version", "in use", "score", "metric", "fits", "seconds", "finished", "by", "parameters"),
        [
            (
                str(row.version),
                "✓" if row.version == in_use else "",
                _score(row),
                plain(row.metric),
                f"{row.fits:,}" + _of_them(row),
                f"{row.duration_seconds:.1f}",
                _time(row.finished_at),
                plain(row.created_by),
                plain(" ".join(f"{name}={_value(value)}" for name, value in sorted(row.best_params.items()))),
            )
            for row in rows
        ],
        right={"version", "fits", "seconds"},
    )


def _of_them(row: "AuditRow") -> str:
    counts = [f"{count:,} {how}" for count, how in ((row.failed_fits, "failed"), (row.pruned_fits, "pruned")) if count]
    return f" ({', '.join(counts)})" if counts else ""


def _version_in_use(audit: AuditSource, key: str) -> int | None:
    try:
        return audit.blessed(key).version
    except NotBlessed:
        return None


@click.command()
@key_argument
@click.argument("before", type=VERSION)
@click.argument("after", type=VERSION)
@where_options
@_json_option
def diff(key: str, before: int, after: int, where: Where, *, as_json: bool) -> None:
    """Show what two versions of a model key differ in."""
    with opened(where, key) as audit:
        rows = audit.version(key, before), audit.version(key, after)
        specs = [audit.searched(row) for row in rows]
        old, new = (_described(row, spec if all(specs) else None) for row, spec in zip(rows, specs, strict=True))
    changed = {
        name: {side: row[name] for side, row in (("before", old), ("after", new)) if name in row}
        for name in dict.fromkeys([*old, *new])
        if name not in old or name not in new or not _same(old[name], new[name])
    }
    if as_json:
        print_json(dict[str, dict[str, Any]], changed)
        return
    if not changed:
        out.print(f"{key}: versions {before} and {after} are the same.")
        return
    metrics = changed.get("metric", {})
    print_table(
        ("", f"version {before}", f"version {after}"),
        [
            (plain(name), *(_side(name, sides, side, metrics) for side in ("before", "after")))
            for name, sides in changed.items()
        ],
    )


def _side(name: str, sides: Mapping[str, Any], side: str, metrics: Mapping[str, str]) -> str:
    if side not in sides:
        return _ABSENT
    # scores of two metrics must not be compared
    metric = f" ({plain(metrics[side])})" if name in {"score", "std"} and side in metrics else ""
    return _shown(name, sides[side]) + metric


def _described(row: "AuditRow", spec: Mapping[str, Any] | None) -> dict[str, Any]:
    """A version as one flat map: what it found, what was searched, what it was made of; unrecorded values are left out."""
    found: dict[str, Any] = {f"params.{name}": value for name, value in sorted(row.best_params.items())}
    found |= {"score": row.score, "std": row.std, "metric": row.metric}
    found |= {f"scores.{name}": score for name, score in sorted(row.scores.items())}
    found |= {"choice": row.choice.rule} if row.choice is not None else {}
    if row.baseline is not None:
        found |= {"baseline.defaults": row.baseline.defaults, "baseline.gain": row.baseline.gain}
    if row.nested is not None:
        found |= {"nested.mean": row.nested.mean, "nested.std": row.nested.std}
    found |= {"fits": row.fits} | ({"pruned_fits": row.pruned_fits} if row.pruned_fits else {})
    found |= {"failed_fits": row.failed_fits, "duration_seconds": round(row.duration_seconds, 3)}
    found |= {f"spec.{name}": value for part in _SEARCHED if spec for name, value in _flat(part, spec.get(part))}
    made_of = ("data_digest", "split_digest", "estimator_digest", "image", "seed", "created_by")
    found |= {name: getattr(row, name) for name in made_of if getattr(row, name)}
    return found | {f"versions.{name}": version for name, version in sorted(row.versions.items())}


def _flat(name: str, value: object, depth: int = 3) -> Iterator[tuple[str, object]]:
    """Flatten a value down to the values of a single parameter: search.grid.parameters.C."""
    if isinstance(value, Mapping) and depth:
        for inner, each in sorted(value.items()):
            yield from _flat(f"{name}.{inner}", each, depth - 1)
    elif value is not None:
        yield name, value


def _same(one: object, other: object) -> bool:
    """Whether two values are the same: NaN is the same as NaN here, and 1 is not the same parameter as 1.0 or True."""
    return json_text(one) == json_text(other)


@click.command()
@key_argument
@click.option("--version", type=VERSION, help="[the one in use]")
@where_options
def params(key: str, version: int | None, where: Where) -> None:
    """Print the parameters of a version as JSON."""
    with opened(where, key) as audit:
        row = chosen(audit, key, version)
    sys.stdout.write(json_text(row.best_params, indent=2) + "\n")


@click.command()
@key_argument
@where_options
@_json_option
def blessings(key: str, where: Where, *, as_json: bool) -> None:
    """Show who put which version into use, and why."""
    with opened(where, key) as audit:
        found = audit.blessings(key)
    if as_json:
        from tuningjob.protocol.audit import Blessing

        print_json(list[Blessing], found)
        return
    if not found:
        out.print(f"{key}: no version was ever blessed.")
        return
    print_table(
        ("when", "what", "from", "to", "who", "why"),
        [
            (
                _time(each.at),
                each.act,
                _ABSENT if each.from_version is None else str(each.from_version),
                str(each.to_version),
                plain(each.who),
                plain(each.why),
            )
            for each in found
        ],
        right={"from", "to"},
    )


@click.command()
@key_argument
@_version_argument
@_why_option
@where_options
@_json_option
def bless(key: str, version: int, why: str, where: Where, *, as_json: bool) -> None:
    """Put a version into use."""
    _act(where, key, lambda audit: audit.bless(key, version, why=why), as_json=as_json)


@click.command()
@key_argument
@_why_option
@where_options
@_json_option
def rollback(key: str, why: str, where: Where, *, as_json: bool) -> None:
    """Put the version before it into use again."""
    _act(where, key, lambda audit: audit.rollback(key, why=why), as_json=as_json)


def _act(where: Where, key: str, act: "Callable[[AuditSource], Blessing]", *, as_json: bool) -> None:
    with opened(where, key) as audit:
        done = act(audit)
    if as_json:
        from tuningjob.protocol.audit import Blessing

        print_json(Blessing, done)
        return
    before = "" if done.from_version is None else f" instead of {done.from_version}"
    out.print(f"{key}: version {done.to_version} is in use{before}, by {plain(done.who)} at {_time(done.at)}.")


def _score(row: "AuditRow") -> str:
    return "NaN" if math.isnan(row.score) else f"{row.score:.4f} ± {row.std:.4f}"


def _time(iso: str) -> str:
    """A UTC time of the journal's, to the second."""
    return iso[:19].replace("T", " ") + "Z"


def _shown(name: str, value: object) -> str:
    return plain(str(value)[:_DIGEST_LETTERS] if name.endswith("_digest") else _value(value))


def _value(value: object) -> str:
    """A parameter's value as a person writes it."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    try:
        return spelled(parse_literal(value, ""))
    except ManifestRefused:  # written by a worker of another release, or by hand
        return json_text(value)


COMMANDS: Final = (models, history, diff, params, blessings, bless, rollback)
