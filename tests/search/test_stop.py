"""Being asked to stop."""

import pytest

from tuningjob.search.stop import GRACE_SECONDS, Stop, Terminated


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def stop(time: Time) -> Stop:
    return Stop(clock=time.clock, sleep=time.sleep)


def test_a_request_is_only_noted_outside_of_what_is_interruptible(stop: Stop) -> None:
    stop.request()
    assert stop.requested


def test_what_is_interruptible_ends_at_once(stop: Stop) -> None:
    with pytest.raises(Terminated), stop.interruptible():
        stop.request()


def test_what_is_interruptible_does_not_begin_after_a_request(stop: Stop) -> None:
    stop.request()
    with pytest.raises(Terminated), stop.interruptible():
        raise AssertionError("it began")


def test_a_pause_is_slept_through_when_nobody_asks(stop: Stop, time: Time) -> None:
    stop.sleep(100)
    assert time.now == pytest.approx(100)


def test_attempts_go_on_for_the_grace_after_a_request_and_then_end(stop: Stop, time: Time) -> None:
    stop.request()
    stop.sleep(7)
    stop.sleep(7)
    with pytest.raises(Terminated):
        stop.sleep(7)
    assert time.now == pytest.approx(GRACE_SECONDS, abs=1)
