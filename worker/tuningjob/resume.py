"""Which search of a laptop's journal a run goes on with: the earlier one, a repetition of its failed fits, or a new one.

A search is identified by what is searched, on which data, by which code. So results of an earlier run are kept only if none of
them would be different now.
"""

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Final

from tuningjob.journal.records import NewSearch
from tuningjob.journal.sql import SqlJournal
from tuningjob.manifest import dump_spec
from tuningjob.manifest.models import Metadata
from tuningjob.protocol.code import first_few, other_code
from tuningjob.protocol.records import SearchState
from tuningjob.search.problem import SearchProblem, library_versions

# The fields that define a search, besides where and how wide it runs: with a change of these it is another search.
_IDENTITY: Final = ("estimator", "search", "crossValidation", "scoring", "returnTrainScore", "data")
_MOST_COMPARED: Final = 50


@dataclass(frozen=True)
class Attempt:
    """The search to be run, by its ``id``. ``of``: the complete search whose failed fits it tries again."""

    id: str
    of: str | None = None


def identity(problem: SearchProblem) -> str:
    """A digest of what is searched, on which data, by which code; a unique one if the code is unknown."""
    what: list[Any] = [*_searched(dump_spec(problem.spec)), problem.data.digest, library_versions()]
    code = problem.code.all
    if code.parts:
        what.append({"code": code.digest})
    if code.unknown:
        what.append({"unknown": uuid.uuid4().hex})
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def _searched(spec: Mapping[str, Any]) -> Iterator[Any]:
    yield {name: spec.get(name) for name in _IDENTITY}
    # they decide the answer: with other rules it is another search, whose fits may be reused
    if chosen_by := {name: spec[name] for name in ("refit", "select") if spec.get(name) is not None}:
        yield chosen_by
    if spec.get("prune"):  # some of its fits are missing
        yield {"prune": spec["prune"]}
    if spec.get("baseline"):  # it has more fits
        yield {"baseline": True}
    limits = spec.get("limits") or {}
    if limits.get("fitTimeoutSeconds") is not None:
        # it decides which fits fail: with more time they must be tried again
        yield limits["fitTimeoutSeconds"]
    if limits.get("maxFailedFits") is not None:
        # a search that it has ended stays ended, so with another limit it is another search
        yield {"maxFailedFits": limits["maxFailedFits"]}


def as_begun(journal: SqlJournal, problem: SearchProblem, metadata: Metadata) -> SearchProblem:
    """The problem without its baseline, if it has begun so: by a release that scored one only if the manifest asked.

    This is for a manifest that leaves it open: what that search has finished stays part of it, and so do its versions.
    """
    without = replace(problem, spec=problem.spec.model_copy(update={"baseline": None}))
    known = journal.named(metadata.namespace, metadata.name)
    with_it, search_id = (id_of(metadata, identity(each)) for each in (problem, without))
    if with_it in known or search_id not in known:
        return problem
    said = journal.view(search_id).search().spec.get("baseline")
    return without if said is None else problem


def id_of(metadata: Metadata, digest: str) -> str:
    """The name in the journal of a search on this machine."""
    return f"{metadata.name}-{digest}"


def begin(
    journal: SqlJournal,
    problem: SearchProblem,
    make: Callable[[str], NewSearch],
    *,
    say: Callable[[str], None],
    look: Callable[[], None],
) -> Attempt:
    """Open the search in the journal, or have the earlier one go on.

    ``make`` gives the record of a search by its digest; ``say`` is told what is not kept, and why. If nothing of the search is
    finished, ``look`` is called before anything is written, so that its errors leave the journal as it was.
    """
    digest = identity(problem)
    first = make(digest)
    known = journal.named(first.namespace, first.name)
    attempts = list(_attempts(first.id, set(known)))
    if not attempts:
        look()
        for sentence in _changed(journal, problem, known):
            say(sentence)
        journal.open_search(first)
        return Attempt(first.id)
    latest = attempts[-1]
    record = replace(make(digest), id=latest)
    before = journal.progress(latest)
    if not before.failed and before.state is not SearchState.FAILED:
        if not before.done:
            look()
        return Attempt(latest)
    if problem.spec.search.has_stages:
        # failed fits have decided what came after them: they stay, or all is done again
        if before.state is not SearchState.FAILED:
            return Attempt(latest)
        look()
        say("The earlier run failed: all of its stages are done anew.")
        anew = make(_numbered(digest, len(attempts) + 1))
        journal.open_search(anew)
        return Attempt(anew.id)
    if before.done == before.failed:
        look()
    say(_tried_again(before.failed))
    if before.state is not SearchState.COMPLETE:
        journal.begin_again(latest, record)
        return Attempt(latest)
    # a version refers to the complete search as it is
    again = make(_numbered(digest, len(attempts) + 1))
    journal.begin_again(latest, again)
    return Attempt(again.id, of=latest)


def _attempts(first: str, known: Set[str]) -> Iterator[str]:
    """The ids of the search, and of those after it that tried its failed fits again, as far as they are there."""
    for number in count(1):
        search = _numbered(first, number)
        if search not in known:
            return
        yield search


def _numbered(first: str, number: int) -> str:
    return first if number == 1 else f"{first}-{number}"


def _tried_again(failed: int) -> str:
    if not failed:
        return "The earlier run failed after its last fit: what comes then is tried again."
    return f"{_fits(failed, 'failed')} of the earlier run {'is' if failed == 1 else 'are'} tried again."


def _changed(journal: SqlJournal, problem: SearchProblem, known: Sequence[str]) -> Iterator[str]:
    """Yield why nothing of the newest search of this name is kept, if it has something that could have been."""
    if problem.code.all.unknown:
        return  # a warning has said so
    mine, what = problem.preflight, _as_json(dump_spec(problem.spec))
    for search_id in known[:_MOST_COMPARED]:
        earlier = journal.view(search_id).search()
        first = earlier.preflight
        if first is None or first.data_digest != mine.data_digest or _as_json(earlier.spec) != what:
            continue
        done = journal.progress(search_id).done
        other = first_few([change.told for change in other_code(first, mine)])
        if done and (other or mine.code):
            why = f"{other} since the earlier run" if other else "The earlier run did not tell its code"
            kept = "is not taken over" if done == 1 else "are not taken over"
            but = ", but for those of the same code (spec.reuse)" if problem.spec.reuse else ""
            yield f"{why}: {_fits(done, 'finished')} of it {kept}{but}."
        return


def _as_json(spec: Mapping[str, Any]) -> str:
    return json.dumps(list(_searched(spec)), sort_keys=True)


def _fits(number: int, kind: str) -> str:
    return f"{number:,} {kind} fit{'s' if number != 1 else ''}"
