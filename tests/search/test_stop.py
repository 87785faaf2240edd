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


def test_attempts_go_on_for_the_grace_after_a_request_in_haste_and_then_end(stop: Stop, time: Time) -> None:
    stop.request()
    for _ in range(int(GRACE_SECONDS) - 1):
        stop.sleep(7)
    with pytest.raises(Terminated):
        stop.sleep(7)
    assert time.now == pytest.approx(GRACE_SECONDS)


def test_a_request_in_the_middle_of_a_long_pause_ends_the_pause_and_not_the_attempts(time: Time) -> None:
    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        if time.now >= 3:
            asked.request()

    asked = Stop(clock=time.clock, sleep=sleep)
    asked.sleep(20)
    assert 3 <= time.now < 4
    assert not asked.is_overdue
