"""What ``fit`` is given, and the user's own modules, as files; the results service gets those that it lacks."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sklearn import get_config
from sklearn.model_selection import PredefinedSplit

from tuningjob.aliases import Anything, Estimator
from tuningjob.cluster.environment import named_packages
from tuningjob.engine.sklearn_private import num_samples
from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest import load
from tuningjob.manifest.cross_validation import GROUPS, PREDEFINED
from tuningjob.manifest.literals import shown
from tuningjob.search.data import load_data
from tuningjob.search.fit_params import weight_name
from tuningjob.search.scoring import SAMPLE_WEIGHT
from tuningjob.search.written import attribute_of
from tuningjob.sent.code import files_below, loaded_files, write_code
from tuningjob.sent.files import SentFile, write_sent

# the name in fit, and the name in the manifest
_FIELDS: Final = {
    "X": "features",
    "y": "target",
    "groups": "groups",
    "sample_weight": "sampleWeight",
    "test_fold": "predefined",
}


@dataclass(frozen=True)
class Parcel:
    """Files that are ready to be sent, by their names in messages."""

    data: Mapping[str, SentFile]
    code: SentFile | None

    @property
    def files(self) -> dict[str, SentFile]:
        """All files of the parcel, by their names in messages."""
        return {**self.data, **({"code": self.code} if self.code is not None else {})}

    def name_in(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The manifest with the digests of these files."""
        spec = dict(document["spec"])
        if self.data:
            spec["data"] = {"uploaded": {_FIELDS[name]: file.sha256 for name, file in self.data.items()}}
        if self.code is not None:
            spec["code"] = {"uploaded": self.code.sha256}
        return {**document, "spec": spec}


def _weight_keyword(search: Estimator) -> str:
    """The keyword by which a search's ``fit`` gets weights: with metadata routing their own name, for any estimator."""
    return SAMPLE_WEIGHT if get_config()["enable_metadata_routing"] else weight_name(attribute_of(search, "estimator"))


def not_yet_sent(search: Estimator, params: Mapping[str, Any]) -> dict[str, Any]:
    """``spec.data`` of what ``fit`` is given, without real digests: enough to find what a manifest cannot say."""
    groups, cv = params.get("groups"), attribute_of(search, "cv")
    beside = [
        *(["groups"] if groups is not None else []),
        *(["predefined"] if isinstance(cv, PredefinedSplit) else []),
        *(["sampleWeight"] if params.get(_weight_keyword(search)) is not None else []),
    ]
    return {"uploaded": dict.fromkeys(("features", *beside), "0" * 64)}


def given_to_fit(search: Estimator, X: Anything, y: Anything, params: Mapping[str, Any]) -> dict[str, Any]:
    """X, y, groups and sample_weight, as far as ``fit`` was given them, and the folds of a PredefinedSplit.

    Raises ManifestRefused for what a manifest cannot say, and for lengths that do not fit together.
    """
    weights = _weight_keyword(search)
    known = {"groups": "groups", weights: "sample_weight"}
    problems = [
        Problem(
            name,
            f"groups or {weights}, which are sent beside X and y",
            type(value).__name__,
            "Put it into the estimator's parameters, or into a factory of your own: estimator: {factory: PATH}.",
        )
        for name, value in params.items()
        if name not in known
    ]
    folds = search.cv.test_fold if isinstance(search.cv, PredefinedSplit) else None
    parts = {"X": X, "y": y, "test_fold": folds}
    parts |= {known[name]: value for name, value in params.items() if name in known}
    parts = {name: value for name, value in parts.items() if value is not None}
    problems = problems or [problem for name, value in parts.items() for problem in _length_problems(name, value, X)]
    if problems:
        raise ManifestRefused(problems)
    return parts


def named_to_fit(
    search: Estimator, X: str | Mapping[str, Any], y: Anything, params: Mapping[str, Any]
) -> dict[str, Any]:
    """``data`` and ``groups`` of a search over data that pods read. X is a URL or ``spec.data``, all else are names of columns.

    Raises ManifestRefused.
    """
    weights = _weight_keyword(search)
    named = {"target": ("y", y), "sampleWeight": (weights, params.get(weights))}
    beside = {field: value for field, (_, value) in named.items() if value is not None}
    given = {"y": y, **params}
    problems = [
        Problem(name, must_be, shown(value))
        for name, value in given.items()
        if value is not None
        for must_be in _not_a_column(name, value, weights)
    ]
    if isinstance(X, Mapping):
        problems += [
            Problem(named[field][0], f"left out beside a {field} in X", shown(value))
            for field, value in beside.items()
            if field in X
        ]
    if problems:
        raise ManifestRefused(problems)
    there = {"url": X} if isinstance(X, str) else dict(X)
    return {"data": {**there, **beside}, "groups": params.get("groups")}


def _not_a_column(name: str, value: Anything, weights: str) -> Iterator[str]:
    if name not in {"y", "groups", weights}:
        yield f"groups or {weights}"
    elif not isinstance(value, str) and not (name == "y" and isinstance(value, list)):
        yield "the name of a column, where X names data that pods read"


def of_manifest(document: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What a manifest's data file below ``folder`` gives, as pods would have read it. Raises ManifestRefused."""
    spec = load(document).spec
    data = load_data(spec.data, folder, beside=spec.cross_validation.columns)
    given = {
        "X": data.X,
        "y": data.y,
        "groups": data.beside.get(GROUPS),
        "sample_weight": data.sample_weight,
        "test_fold": data.beside.get(PREDEFINED),
    }
    return {name: value for name, value in given.items() if value is not None}


def _length_problems(name: str, value: Anything, X: Anything) -> Iterator[Problem]:
    try:
        rows, wanted = num_samples(value), num_samples(X)
    except TypeError as error:
        yield Problem(name, "data with rows", f"a {type(value).__name__}", f"scikit-learn says: {error}.")
        return
    if rows != wanted or not rows:
        yield Problem(
            name, f"of as many rows as X, which has {wanted:,}" if rows else "data with rows", f"{rows:,} rows"
        )


@contextmanager
def packed(
    given: Mapping[str, Any], document: Mapping[str, Any], *, code: str | Path | bool | None, beside: Path | None = None
) -> Iterator[Parcel]:
    """The files of a search, until the end of the block. Raises ManifestRefused.

    ``code``: a folder; True: the modules that are loaded from below the working directory; None: these (for a manifest's file,
    those ``beside`` it), if the manifest names one of them; False: none.
    """
    with tempfile.TemporaryDirectory(prefix="tuningjob-") as name:
        folder = Path(name)
        data = {name: write_sent(value, folder / name, what=name) for name, value in given.items()}
        files = _code(document, code=code, beside=beside)
        yield Parcel(data, write_code(files, folder / "code.tar") if files else None)


def _code(document: Mapping[str, Any], *, code: str | Path | bool | None, beside: Path | None) -> Mapping[str, Path]:
    if code is False or document["spec"].get("code") is not None:
        return {}
    if isinstance(code, str | Path):
        return files_below(Path(code).expanduser())
    if beside is None:
        found = loaded_files(Path.cwd())
    else:
        found = {name: path for name, path in files_below(beside).items() if name.endswith(".py")}
    own = {name.partition("/")[0].removesuffix(".py") for name in found}
    return found if code is True or own & set(named_packages(document["spec"])) else {}
