"""The verdict in words: what was found, how sure that is, what it cost."""

import numpy as np
import pytest

from tests.report.tables import table
from tuningjob.report.judged import judge
from tuningjob.report.spelling import spell
from tuningjob.report.table import Origin, ResultTable, ScoreToBeat, SelectionRule
from tuningjob.report.text import MOST_LETTERS
from tuningjob.report.verdict import verdict_of

C = [0.1, 1.0, 10.0]
PEAK = {0.1: 0.80, 1.0: 0.95, 10.0: 0.949}


def search(origin: Origin | None = None) -> ResultTable:
    return table({"C": C}, lambda params: PEAK[params["C"]], origin=origin)


@pytest.mark.parametrize(
    ("origin", "want"),
    [
        (None, "The answer is candidate 1: C=1.0."),
        (None, "Its accuracy is 0.9500 ± 0.0032 (mean and standard error over 5 splits)."),
        (None, "2 candidates of 3 are within one standard error of the highest mean; the answer is the cheapest of them."),
        (None, "3 candidates × 5 splits are 15 fits; fitting and scoring took 15 s, summed over all processes."),
        (Origin(defaults={"C": 0.1}), "That is 0.15 ± 0 better than the defaults."),
        (Origin(defaults={"C": 1.0}), "These are the defaults: nothing that was tried is better."),
        (
            Origin(defaults={"C": 5.0}),
            "Whether that is better than the defaults is not known, because they are not among the candidates: add C=5.0 to the grid.",
        ),
        (
            Origin(dummy=ScoreToBeat("guessing", np.asarray([0.5, 0.6, 0.5, 0.6, 0.5]))),
            "That is 0.410 ± 0.037 better than guessing.",
        ),
        (
            Origin(dummy=ScoreToBeat("guessing", np.asarray([0.5, 1.3, 0.5, 1.3, 1.0]))),
            "That is 0.03 ± 0.27 better than guessing: too little to be told from chance on these splits.",
        ),
        (Origin(failed_fits=3), "are 15 fits, of which 3 failed; fitting"),
        (
            Origin(measured_defaults=ScoreToBeat("the defaults", np.asarray([0.5, 0.6, 0.5, 0.6, 0.5]))),
            "That is 0.410 ± 0.037 better than the defaults.",
        ),
        (Origin(measured_defaults=ScoreToBeat("the defaults", np.zeros(5))), "are 15 fits, beside 5 fits of the defaults; fitting"),
        (Origin(measured_defaults=ScoreToBeat("the defaults", np.zeros(5), 1)), "are 15 fits, those of the defaults among them (candidate 1); fitting"),
        (Origin(refit_seconds=300), "and the refit 5 min."),
        (Origin(rule=SelectionRule("mostStable 1")), "It was chosen by mostStable 1, and has the highest mean, too."),
        (
            Origin(rule=SelectionRule("fastestWithin 0.1", 2, "it is slower")),
            "It was chosen by fastestWithin 0.1, and not the highest mean (0.9490, candidate 2), because it is slower.",
        ),
    ],
)  # fmt: skip
def test_the_verdict_says(origin: Origin | None, want: str) -> None:
    assert want in " ".join(verdict_of(search(origin)).sentences)


def test_a_candidate_that_is_as_good_and_cheaper_is_named() -> None:
    verdict = verdict_of(
        table({"C": C}, lambda params: PEAK[params["C"]], seconds=lambda params: 3.0 if params["C"] == 1.0 else 1.0)
    )

    assert verdict.cheapest == 2
    assert "the cheapest of them, candidate 2, is fitted 3 times as fast (C=10.0)." in " ".join(verdict.sentences)


def test_where_all_failed_nothing_is_said_of_scores() -> None:
    text = judge(table({"C": C}, lambda _: float("nan"))).text

    assert "No candidate has a mean score" in text
    assert "nan" not in text


HOSTILE = ("<script>alert(1)</script>", "\x1b[31mred\x07", "\u202edesrever", "a\nb", "x" * 5_000)


class Raising:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize("value", [*HOSTILE, Raising()])
def test_names_values_and_errors_that_are_hostile_are_text_of_bounded_length(value: object) -> None:
    name = value if isinstance(value, str) else "name"
    found = table(
        {name: [value, "b"]},
        lambda params: float("nan") if params[name] == value else 0.5,
        origin=Origin(name=str(name), errors={f"ValueError: {name}": 1}, failed_fits=5),
    )

    text = judge(found).text

    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert len(text) <= MOST_LETTERS
    assert "candidate" in text


@pytest.mark.parametrize(
    ("value", "python", "yaml"),
    [
        (1, "1", "1"),
        (True, "True", "true"),
        (None, "None", "null"),
        ("rbf", "'rbf'", "rbf"),
        ("no", "'no'", '"no"'),
        ("a: b", "'a: b'", '"a: b"'),
        ('"\\', "'\"\\\\'", '"\\"\\\\"'),
        (1e-05, "1e-05", "1.0e-05"),
        (np.float64(0.5), "0.5", "0.5"),
        (np.int64(3), "3", "3"),
    ],
)
def test_a_value_is_spelt_as_python_and_as_yaml(value: object, python: str, yaml: str) -> None:
    spelled = spell(value)

    assert (spelled.python, spelled.yaml) == (python, yaml)
