"""The specs that searches were admitted with, as many as there is room for; the journal has them all."""

from collections import OrderedDict
from typing import Final

from tuningjob.manifest.models import TuningJobSpec

# All specs together, as JSON. Parsed into models they are up to sixty times as large; an ordinary spec has 1 KiB.
BUDGET_BYTES: Final = 2**19


class AdmittedSpecs:
    """The parsed spec of each search. The one used longest ago is forgotten first."""

    def __init__(self, *, budget_bytes: int = BUDGET_BYTES) -> None:
        self._budget = budget_bytes
        self._specs: OrderedDict[str, tuple[TuningJobSpec, int]] = OrderedDict()
        self._bytes = 0

    def get(self, search: str) -> TuningJobSpec | None:
        """The spec, if it is remembered."""
        known = self._specs.get(search)
        if known is None:
            return None
        self._specs.move_to_end(search)
        return known[0]

    def bytes_of(self, search: str) -> int:
        """How many bytes the spec has as JSON; 0 if it is not remembered."""
        known = self._specs.get(search)
        return 0 if known is None else known[1]

    def put(self, search: str, spec: TuningJobSpec, size: int) -> None:
        """Remember a spec that has ``size`` bytes as JSON. The newest is always remembered."""
        self.pop(search)
        self._specs[search] = spec, size
        self._bytes += size
        while self._bytes > self._budget and len(self._specs) > 1:
            _, (_, forgotten) = self._specs.popitem(last=False)
            self._bytes -= forgotten

    def pop(self, search: str) -> None:
        """Forget the spec of a search."""
        known = self._specs.pop(search, None)
        if known is not None:
            self._bytes -= known[1]
