"""The reasons for which a search is refused or warned about, each a single word; docs/preflight.md explains them."""

import re
from enum import StrEnum
from pathlib import Path
from traceback import extract_tb
from typing import Final

from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.literals import shown

PATH: Final = "spec.data.path"
_LONGEST: Final = 1_000
# A frame of a traceback with the indented code and marks below it, and then the error that was raised there.
_EXCEPTION: Final = re.compile(r'^ +File "[^\n]*", line \d+.*\n(?: [^\n]*\n)*(?P<exception>(?=\S))', re.MULTILINE)
_MODULE: Final = re.compile(r"^(?:\w+\.)+(?=\w+(?::|$))")  # of an exception, such as numpy.exceptions.
ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")


class Reason(StrEnum):
    """The reason of a problem, which refuses the search, or of a warning, with which it runs."""

    # problems
    CODE_IMPORT = "CodeImport"
    DATA_LOAD = "DataLoad"
    DATA_TOO_LARGE = "DataTooLarge"
    UNREACHABLE = "Unreachable"
    DATA_CHANGED = "DataChanged"
    CODE_CHANGED = "CodeChanged"
    DATA_UNSEEDED = "DataUnseeded"
    FOLDS_UNFILLABLE = "FoldsUnfillable"
    SPLITTER_INVALID = "SplitterInvalid"
    SPLITTER_UNSEEDED = "SplitterUnseeded"
    SPLITS_CHANGED = "SplitsChanged"
    GROUPS_INVALID = "GroupsInvalid"
    PREDEFINED_INVALID = "PredefinedInvalid"
    HALVING_INVALID = "HalvingInvalid"
    REFINE_INVALID = "RefineInvalid"
    NESTED_INVALID = "NestedInvalid"
    SCORER_UNKNOWN = "ScorerUnknown"
    SCORER_MISMATCH = "ScorerMismatch"
    SCORES_UNBOUNDED = "ScoresUnbounded"
    PARAMETER_UNKNOWN = "ParameterUnknown"
    PARAMETER_AMBIGUOUS = "ParameterAmbiguous"
    NOT_PICKLABLE = "NotPicklable"
    ESTIMATOR_INVALID = "EstimatorInvalid"
    COMPRESSION_MISSING = "CompressionMissing"
    EXPORTER_MISSING = "ExporterMissing"
    EVERY_FIT_FAILS = "EveryFitFails"
    PREFLIGHT_FAILED = "PreflightFailed"
    # problems, or warnings if only a part of the search is impossible
    PARAMETER_INVALID = "ParameterInvalid"
    CLASS_COUNTS = "ClassCounts"
    # warnings
    CODE_UNKNOWN = "CodeUnknown"
    UNSEEDED_ESTIMATOR = "UnseededEstimator"
    SCALE_SENSITIVE_UNSCALED = "ScaleSensitiveUnscaled"
    ALREADY_STANDARDISED = "AlreadyStandardised"
    MISSING_VALUES = "MissingValues"
    NON_NUMERIC_DATA = "NonNumericData"
    LEFTOVER_COLUMN = "LeftoverColumn"
    RELATED_ROWS = "RelatedRows"
    SPACE_SMALL = "SpaceSmall"
    PILOT_FAILED = "PilotFailed"
    OVERFIT_GAP = "OverfitGap"
    BASELINE = "Baseline"
    NOT_EXPORTED = "NotExported"


def refused(reason: Reason, field: str, must_be: str, got: object, advice: str = "") -> ManifestRefused:
    """A ManifestRefused with a single problem of one field."""
    return ManifestRefused([Problem(field, must_be, shown(got), advice, reason)])


def error_text(error: BaseException) -> str:
    """An error in one line, from its traceback: kind, text, and the place where it was raised."""
    text = ADDRESS.sub("", " ".join(str(error).split()))
    frames = extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno}, in {frames[-1].name})" if frames else ""
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"{abridged(said)}{where}"


def abridged(text: str, longest: int = _LONGEST) -> str:
    """The beginning of a text, cut to so many characters."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def reason_of(traceback: str) -> str:
    """The exception that a traceback ends with, in one line: its kind and the beginning of its text."""
    text = _MODULE.sub("", " ".join(traceback[exception_in(traceback) :].split()))
    return abridged(ADDRESS.sub("", text).rstrip(".")) if text else traceback


def exception_in(traceback: str) -> int:
    """The position in a traceback's text at which its final exception begins: the first unindented line after the last frame."""
    found = list(_EXCEPTION.finditer(traceback))
    return found[-1].start("exception") if found else traceback.rstrip().rfind("\n") + 1
