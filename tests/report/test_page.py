"""report.html: one file, in which whatever comes from a search is text."""

import base64
import hashlib
import json
import re
import time
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import ParameterGrid
from sklearn.svm import SVC

from tests.report.tables import table
from tuningjob import GridSearchCV
from tuningjob.report.candidates import chosen_of
from tuningjob.report.importance import importance_of
from tuningjob.report.judged import judge
from tuningjob.report.page import Provenance, render_page
from tuningjob.report.table import Origin, OuterScores, ResultTable

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{7*7}}</title><style>*{}"


class Elements(HTMLParser):
    """The elements of a page, and the text of those that are looked into."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.attributes: set[str] = set()
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self._in = ""
        self.policy = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.attributes |= {name for name, _ in attrs}
        if dict(attrs).get("http-equiv") == "Content-Security-Policy":
            self.policy = dict(attrs)["content"] or ""
        self._in = tag if tag in self.inside else ""

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in:
            self.inside[self._in].append(data)


def searched(name: str = "C", value: object = 10, **origin: Any) -> ResultTable:
    """Two parameters, one of which is called ``name`` and has ``value``, several metrics, train scores."""
    return table(
        {name: [0.1, 1, value], "kernel": ["a", "b", "c"]},
        lambda params: 0.8 + (params["kernel"] == "b") * 0.1 + (params[name] == 1) * 0.05,
        others={"recall": lambda params: 0.7 + (params["kernel"] == "a") * 0.1},
        train=lambda _: 0.99,
        origin=Origin(**origin),
    )


def test_script_and_style_are_named_by_their_digests_and_nothing_else_may_load() -> None:
    found = Elements(render_page(judge(searched())))

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert found.policy == (
        f"default-src 'none'; script-src {digest(found.inside['script'][1])}; style-src {digest(found.inside['style'][0])}; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not {"src", "href", "style", "onerror", "onclick", "action"} & found.attributes


@pytest.mark.parametrize(
    "hostile",
    [
        {"name": HOSTILE},
        {"value": HOSTILE},
        {"name": HOSTILE, "value": HOSTILE, "errors": {HOSTILE: 3}, "failed_fits": 3},
    ],
    ids=["a parameter's name", "its value", "both, and errors"],
)
def test_names_values_and_errors_add_no_element(hostile: dict[str, Any]) -> None:
    failed: dict[str, Any] = {"errors": {"ValueError": 3}, "failed_fits": 3}
    about = Provenance(HOSTILE, [(HOSTILE, HOSTILE)], HOSTILE)
    plain = Elements(
        render_page(
            judge(searched("C" * 9, "text" if "value" in hostile else 10, **failed)), Provenance("1", [("a", "b")], "c")
        )
    )

    page = render_page(judge(searched(**{**failed, **hostile})), about)

    assert Elements(page).tags == plain.tags
    assert Elements(page).attributes == plain.attributes
    assert "{{7*7}}" in page
    assert json.loads(Elements(page).inside["script"][0])["rows"]


def test_a_search_called_by_a_hostile_name_has_it_as_text() -> None:
    page = render_page(judge(searched("C", 10)))
    named = table({"C": [1, 2, 3]}, lambda params: params["C"] / 10, origin=Origin(name=HOSTILE))

    assert Elements(render_page(judge(named))).tags["script"] == Elements(page).tags["script"] == 2


FIGURES = {
    "two parameters": (searched, {"map", "importance", "parallel", "cost", "folds", "gap", "metric-1"}),
    "one parameter": (
        lambda: table({"C": [1, 2, 3]}, lambda params: params["C"] / 10, train=lambda _: 0.9),
        {"map", "importance", "cost", "folds", "gap"},
    ),
    "one candidate": (lambda: table({"C": [1]}, lambda _: 0.5), {"folds"}),
    "one split": (lambda: table({"C": [1, 2, 3]}, lambda params: params["C"] / 10, splits=(0.0,)), {"map", "importance", "cost"}),
    "nothing but failures": (lambda: table({"C": [1, 2]}, lambda _: float("nan")), set()),
    "infinite scores": (lambda: table({"C": [1, 2, 3]}, lambda params: -np.inf if params["C"] == 1 else 0.5), {"map", "importance", "cost", "folds"}),
    "words and None": (lambda: table({"a": ["x", None, 1], "b": [(1, 2), {"k": 1}]}, lambda params: 0.5 + (params["a"] == 1) / 5), {"map", "importance", "parallel", "cost", "folds"}),
    "a nested search": (lambda: table({"C": [1, 2]}, lambda params: params["C"] / 10, origin=Origin(outer=OuterScores((0.1, 0.2), 0.15, ("Nested.",)))), {"map", "importance", "outer", "cost", "folds"}),
    "nothing varied": (lambda: table([{"C": [1]}, {"gamma": [2]}], lambda _: 0.5), {"cost", "folds"}),
}  # fmt: skip


@pytest.mark.parametrize("case", FIGURES)
def test_there_is_a_figure_for_whatever_the_results_hold_and_each_has_its_table(case: str) -> None:
    make, want = FIGURES[case]

    page = render_page(judge(make()))

    assert set(re.findall(r'id="f-([a-z0-9-]+)"', page)) - {"importance"} == want - {"importance"}
    found = Elements(page)
    assert found.tags.get("figure", 0) == found.tags.get("details", 0)
    assert "nan" not in re.sub(r"<script[\s\S]*", "", page)


def test_importance_on_a_grid_is_the_exact_part_of_the_variance() -> None:
    found = importance_of(
        table({"a": [0, 1], "b": [0, 1], "c": [0, 1]}, lambda params: 2 * params["a"] + params["b"] * params["c"])
    )

    # by hand: the variance of 2a is 1, of bc 3/16: 1/16 by b, by c and by both together
    assert found is not None
    assert found.method.startswith("Exact")
    shares = {effect.names: effect.share for effect in found.effects}
    total = 1 + 3 / 16
    want = {("a",): 1 / total, ("b",): 1 / 16 / total, ("c",): 1 / 16 / total, ("b", "c"): 1 / 16 / total}
    assert shares == pytest.approx({**dict.fromkeys(shares, 0.0), **want})


def test_importance_of_drawn_candidates_says_that_it_is_another_one() -> None:
    generator = np.random.default_rng(0)
    drawn = [{"a": float(generator.uniform()), "b": float(generator.uniform())} for _ in range(200)]

    found = importance_of(table(None, lambda params: params["a"], drawn=drawn))

    assert found is not None
    assert found.method.startswith("PED-ANOVA")
    assert found.effects[0].names == ("a",)
    assert found.effects[0].share > 0.8


@pytest.mark.slow
def test_a_thousand_candidates_are_less_than_a_megabyte_and_a_half_and_a_second() -> None:
    generator = np.random.default_rng(0)
    drawn = [{f"parameter_{i}": float(generator.lognormal()) for i in range(6)} for _ in range(1_000)]
    found = table(None, lambda params: params["parameter_0"] % 1, drawn=drawn)
    began = time.process_time()

    page = render_page(judge(found))

    assert len(page.encode()) < 1_500_000
    assert time.process_time() - began < 5


@pytest.mark.slow
def test_above_twenty_thousand_the_best_and_a_sample_are_shown_and_it_says_so() -> None:
    drawn = list(ParameterGrid({"a": range(150), "b": range(150)}))
    found = table(None, lambda params: params["a"] / 150 + params["b"] / 1e5, drawn=drawn, splits=(0.0, 0.1))

    chosen = chosen_of(found)

    assert len(set(chosen.rows.tolist())) == len(chosen.rows) == 10_000
    assert chosen.rows[0] == found.best
    assert chosen.rows.tolist() == chosen_of(found).rows.tolist()
    assert chosen.told.startswith("Of 22,500 candidates these are the best 5,000 and a sample of 5,000 others.")
    assert chosen.told in render_page(judge(found))


@pytest.mark.slow
def test_a_notebook_shows_the_report_below_the_diagram_and_saves_it(tmp_path: Any) -> None:
    search = GridSearchCV(SVC(), {"C": [0.1, 1, 10]}, cv=3)
    assert "iframe" not in search._repr_html_()
    with pytest.raises(NotFittedError):
        search.report()
    search.fit(*load_iris(return_X_y=True))

    report = search.report()
    report.save(tmp_path / "report.html")

    assert str(report).startswith("SVC\nThe answer is candidate ")
    assert (tmp_path / "report.html").read_text() == report.html
    assert "<iframe srcdoc=" in search._repr_html_()
    assert "sk-" in search._repr_html_()  # scikit-learn's own diagram
    assert report._repr_html_() in search._repr_mimebundle_()["text/html"]
