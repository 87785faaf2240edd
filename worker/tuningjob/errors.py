"""Every error that tuningjob raises for people to read.

::

    TuningJobError
    ├── ManifestRefused        the manifest asks for what cannot be (exit 2): a list of problems, each with its field
    ├── SearchFailed           the search ran and cannot give an answer (exit 3)
        ├── WorkerDied             a worker's process died in a fit: killed, or ended by the fit (a pod exits 1 and is replaced)
    ├── JournalError           the journal cannot do what was asked
    │   ├── UnknownSearch      no such search in this journal
    │   ├── UnknownModel       no such model key, or no such version of it, in the audit
    │   ├── NotBlessed         no version of this model key is in use, or none was before it
    │   └── JournalMismatch    what is stored was made from something else: another spec, other data, another schema
    ├── ArtifactRefused        an artifact's name, size or digest is not what it must be
    ├── ArtifactsUnavailable   the store of artifacts does not answer, or has no room: try again
    │   └── NoRoom             the volume's reserve is the journal's, or the namespace has had its share
    ├── ServiceUnavailable     the results service did not answer for as long as a worker may wait
    ├── ClusterRefused         a cluster does not take what was asked: who asks, what they may, what is there
    └── ClusterUnavailable     a cluster's API server did not answer
"""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "ArtifactRefused",
    "ArtifactsUnavailable",
    "ClusterRefused",
    "ClusterUnavailable",
    "JournalError",
    "JournalMismatch",
    "ManifestRefused",
    "NoRoom",
    "NotBlessed",
    "Problem",
    "SearchFailed",
    "ServiceUnavailable",
    "TuningJobError",
    "UnknownModel",
    "UnknownSearch",
    "WorkerDied",
]


@dataclass(frozen=True)
class Problem:
    """One problem of a manifest: the field, what it must be, what it is, and what to do."""

    field: str
    must_be: str
    got: str
    advice: str = ""
    reason: str = "ManifestInvalid"  # the kind of problem in one word, like the reason of a condition

    def __str__(self) -> str:
        advice = f" {self.advice}" if self.advice else ""
        return f"{self.field}: must be {self.must_be}, but got {self.got}.{advice}"


class TuningJobError(Exception):
    """The root of the tree."""


class ManifestRefused(TuningJobError):
    """The manifest cannot be run as it is written."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SearchFailed(TuningJobError):
    """The search ran, and no answer came out: every fit failed, or the refit did."""


class WorkerDied(TuningJobError):
    """A worker's process died in a fit: killed, mostly for lack of memory, or ended by the fit. What was reported is kept."""


class JournalError(TuningJobError):
    """The journal cannot do what was asked."""


class UnknownSearch(JournalError):
    """The journal has no such search."""


class UnknownModel(JournalError):
    """There is no such model key, or no such version of it."""


class NotBlessed(JournalError):
    """No version is in use, or none was in use before it."""


class JournalMismatch(JournalError):
    """The journal holds a search of other data, code or versions than those offered now."""


class ArtifactRefused(TuningJobError):
    """An artifact's name, size or digest is not what it must be."""


class ArtifactsUnavailable(TuningJobError):
    """The store of artifacts cannot be reached, or cannot take more. Nothing was stored in part."""


class NoRoom(ArtifactsUnavailable):
    """The rest of the volume is reserved for the journal, or the namespace has had its share: something must be deleted."""


class ServiceUnavailable(TuningJobError):
    """The results service, or the place of the data, did not answer for as long as a worker may wait."""


class ClusterRefused(TuningJobError):
    """A cluster does not take what was asked of it, or a kubeconfig cannot be used."""


class ClusterUnavailable(TuningJobError):
    """The API server of a cluster did not answer, or only with an error of its own: try again."""
