"""What a source imports is read, not run."""

import pytest

from tuningjob.search.imports import imported


@pytest.mark.parametrize(
    ("source", "want"),
    [
        ("import a", {"a"}),
        ("import a.b as c, d", {"a.b", "d"}),
        ("from a import b, c", {"a", "a.b", "a.c"}),
        ("from a import *", {"a"}),
        ("from . import b", {"pkg.sub", "pkg.sub.b"}),
        ("from .b import c", {"pkg.sub.b", "pkg.sub.b.c"}),
        ("from ..b import c", {"pkg.b", "pkg.b.c"}),
        ("from .... import too_far", set()),
        ("def fit():\n    import late", {"late"}),
        ("try:\n    import fast\nexcept ImportError:\n    import slow", {"fast", "slow"}),
        ("import importlib\nimportlib.import_module('named')", {"importlib", "named"}),
        ("import_module('.near', package=__package__)", {"pkg.sub.near"}),
        ("__import__('named')", {"named"}),
        ("import_module(name)", set()),
        ("this is no Python", set()),
        ("x = '\0'", set()),
    ],
)
def test_imports_are_found_wherever_they_stand(source: str, want: set[str]) -> None:
    assert set(imported(source.encode(), "pkg.sub")) == want


def test_a_source_that_nests_too_deeply_is_told_as_such() -> None:
    with pytest.raises((RecursionError, MemoryError)):
        imported(("-" * 200_000 + "1").encode(), "")
