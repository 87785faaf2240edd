from collections.abc import Iterator

import pytest

from tests.report import browser


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A browser for all tests, each of which has a page of its own in it; the URL of its protocol."""
    with browser.chromium(tmp_path_factory.mktemp("chromium")) as url:
        yield url
