"""What a refusal of the journal must look like."""

import pytest

from tests.servers.postgres import PASSWORD
from tuningjob.errors import JournalError


def one_sentence(refused: pytest.ExceptionInfo[JournalError]) -> str:
    """Its message, which has one line and tells no password."""
    said = str(refused.value)
    assert "\n" not in said
    assert PASSWORD not in said
    return said
