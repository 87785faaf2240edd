"""What to do where a real server is not installed: say so, as the cluster's tests do."""

import os
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skip with the reason; where ``TUNINGJOB_REQUIRE_CLUSTER`` is 1 (as in CI) fail with it."""
    if os.environ.get("TUNINGJOB_REQUIRE_CLUSTER") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
