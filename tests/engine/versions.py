"""The scikit-learn that the tests run on: ``make test-versions`` runs them on others than the newest."""

import re
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import pytest
import sklearn

NEWEST: Final = (1, 9)
SKLEARN: Final = tuple(map(int, str(sklearn.__version__).split(".")[:2]))


def warns_since(version: tuple[int, int], message: str) -> AbstractContextManager[Any]:
    """That a FutureWarning comes of it, from a version of scikit-learn on."""
    return pytest.warns(FutureWarning, match=re.escape(message)) if version <= SKLEARN else nullcontext()
