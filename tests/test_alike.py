import pytest


@pytest.mark.alike
@pytest.mark.parametrize("letter", ["a", "b"])
@pytest.mark.parametrize("number", [1, 2])
def test_of_cases_that_are_alike_the_first_alone_is_fast(
    request: pytest.FixtureRequest, number: int, letter: str
) -> None:
    is_slow = request.node.get_closest_marker("slow") is not None
    assert is_slow == ((number, letter) != (1, "a"))
