"""The tester is tested: what the incident's benchmark says of latencies must be so."""

import asyncio
import math
import random

import pytest

from benchmarks.incident.arms import ALONE, CONDITIONS, STREAMING
from benchmarks.incident.open_loop import drive
from benchmarks.incident.page import Block, Measured, page
from benchmarks.incident.ratios import Ratio, compare, quantile


async def _stalling(stall: float, *, after: int) -> asyncio.Server:
    """A server that answers at once, but that from its ``after``-th request on stands still once, for ``stall`` seconds."""
    asked = 0
    open_again = asyncio.Event()
    open_again.set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        if asked == after:
            open_again.clear()
            asyncio.get_running_loop().call_later(stall, open_again.set)
        await open_again.wait()
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nok")
        await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0)


def _driven(stall: float, *, rate: float, seconds: float) -> tuple[list[float], int]:
    async def run() -> tuple[list[float], int]:
        async with await _stalling(stall, after=round(rate * seconds / 3)) as server:
            host, port = server.sockets[0].getsockname()
            return await drive(host, port, rate=rate, seconds=seconds)

    return asyncio.run(run())


@pytest.mark.slow
def test_every_request_that_was_to_leave_while_a_server_stalls_is_counted_as_late() -> None:
    """A closed loop would see one late answer: it asks nothing while it waits."""
    latencies, failed = _driven(0.5, rate=100, seconds=1.5)

    assert (len(latencies), failed) == (150, 0)
    # of the 50 that were to leave within the half second, half have waited for more than half of it
    assert sum(latency > 0.25 for latency in latencies) >= 25
    assert quantile(latencies, 0.99) > 0.4


def test_what_gets_no_answer_counts_as_the_whole_patience() -> None:
    async def run() -> tuple[list[float], int]:
        async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as server:
            host, port = server.sockets[0].getsockname()
            return await drive(host, port, rate=50, seconds=0.2)

    # and as the longest of all: left out, it would flatter a server that does not answer
    assert asyncio.run(run()) == ([20.0] * 10, 10)


@pytest.mark.parametrize(("q", "want"), [(0.5, 50), (0.99, 99), (0.999, 100), (1, 100), (0.001, 1)], ids=str)
def test_a_quantile_is_the_least_that_so_many_do_not_pass(q: float, want: int) -> None:
    latencies = [float(value) for value in range(1, 101)]
    random.Random(1).shuffle(latencies)

    assert quantile(latencies, q) == want


def test_of_no_latencies_a_quantile_is_infinite() -> None:
    assert quantile([], 0.5) == math.inf


def test_blocks_that_all_say_the_same_leave_no_doubt() -> None:
    ratio = compare([2.0, 4.0, 6.0], [1.0, 2.0, 3.0], random.Random(0))

    assert (ratio.mean, ratio.low, ratio.high) == pytest.approx((2, 2, 2))
    assert (ratio.verdict, str(ratio)) == ("worse", "2.00 [2.00, 2.00]")


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [
        (Ratio(1.0, 0.95, 1.09), "unchanged"),
        (Ratio(1.0, 0.9, 1.1), "open"),
        (Ratio(1.05, 1.01, 1.09), "unchanged"),  # worse, but by less than what counts
        (Ratio(1.3, 1.01, 1.7), "worse"),
    ],
    ids=str,
)
def test_the_verdict_is_of_non_inferiority(ratio: Ratio, verdict: str) -> None:
    assert ratio.verdict == verdict


def test_the_interval_holds_the_true_ratio_mostly() -> None:
    """Of 100 made-up benchmarks of eight blocks, whose true ratio is 1.5: a bootstrap of so few blocks is a little too narrow."""
    draws = random.Random(7)
    held = 0
    for _ in range(100):
        quiet = [draws.lognormvariate(0, 0.3) for _ in range(8)]
        beside = [1.5 * value * draws.lognormvariate(0, 0.2) for value in quiet]
        ratio = compare(beside, quiet, draws, repeats=400)
        held += ratio.low <= 1.5 <= ratio.high

    assert 80 <= held <= 100


def _block(latency: float, deaths: int = 0) -> Block:
    return Block(
        latencies=[latency] * 10,
        failed=0,
        cores=math.nan if deaths else 0.9,
        throttled=0.0,
        fits_per_second=1.0,
        pressure=0.1,
        deaths=deaths,
        restarts=0,
    )


def test_what_was_not_measured_again_stays_on_the_page() -> None:
    busy, *_, full = CONDITIONS
    first = page({busy.name: Measured("monday.", {ALONE.name: [_block(0.01)]})}, "")
    measured = {ALONE.name: [_block(0.01)] * 5, STREAMING.name: [_block(0.02, deaths=1)] * 5}
    both = page({full.name: Measured("tuesday.", measured)}, first)
    assert (
        both.index("monday.")
        < both.index("| alone | 10.0 |")
        < both.index("tuesday.")
        < both.index("not measured, and")
    )
    assert (
        f"| {STREAMING.name} | 20.0 | 20.0 | 20.0 | 2.00 [2.00, 2.00] | worse | 10 % |  | 0 % | 1.0 | 0 | 5 | 0 |"
        in both
    )
    assert page({}, both) == both
