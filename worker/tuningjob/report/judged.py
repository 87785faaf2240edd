"""Verdict and advice together."""

from dataclasses import dataclass

from tuningjob.report import text
from tuningjob.report.advice import Advice, advice_of
from tuningjob.report.table import ResultTable
from tuningjob.report.verdict import Verdict, verdict_of


@dataclass(frozen=True, eq=False)
class Judgement:
    """What a search found, and what to do next."""

    table: ResultTable
    verdict: Verdict
    advice: tuple[Advice, ...]

    @property
    def text(self) -> str:
        """The verdict and the advice in words."""
        return text.written(self.table.origin.name, self.verdict, self.advice)


def judge(table: ResultTable) -> Judgement:
    """The verdict and the advice on the results."""
    return Judgement(table, verdict_of(table), advice_of(table))
