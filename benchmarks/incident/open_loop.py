"""An open-loop load generator: ``python open_loop.py HOST PORT --rate 50 --seconds 30``. Needs nothing but Python.

Requests leave at intended times, whatever became of those before, and a latency counts from the intended time. A generator that
waits for an answer before it asks again (a closed loop) does not ask while a server stalls, and so hides the very stall
("coordinated omission"; Gil Tene, How NOT to Measure Latency).
"""

import argparse
import asyncio
import json
import sys

_PATIENCE = 20.0  # seconds after which an answer is not waited for
_HEAD_START = 0.2  # seconds before the first request, so that it is not late itself


async def _ask(host: str, port: int) -> bool:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET / HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        await writer.drain()
        answer = await reader.read()
    finally:
        writer.close()
    return answer.startswith((b"HTTP/1.0 200", b"HTTP/1.1 200"))


async def drive(host: str, port: int, *, rate: float, seconds: float) -> tuple[list[float], int]:
    """Ask ``rate`` times a second. Returns the latency of each request in seconds, and how many got no answer.

    One without an answer counts as the whole patience: left out, the worst would flatter the server.
    """
    loop = asyncio.get_running_loop()
    start = loop.time() + _HEAD_START
    latencies: list[float] = []
    failed = 0

    async def one(intended: float) -> None:
        nonlocal failed
        try:
            good = await asyncio.wait_for(_ask(host, port), _PATIENCE)
        except (OSError, TimeoutError):
            good = False
        latencies.append(loop.time() - intended if good else _PATIENCE)
        failed += not good

    async with asyncio.TaskGroup() as requests:
        for number in range(round(rate * seconds)):
            intended = start + number / rate
            # a late generator asks at once, and its lateness is in the latency, where it does not flatter the server
            await asyncio.sleep(max(0.0, intended - loop.time()))
            requests.create_task(one(intended))
    return latencies, failed


def main() -> None:
    """Print what was measured, as one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    latencies, failed = asyncio.run(drive(options.host, options.port, rate=options.rate, seconds=options.seconds))
    json.dump({"latencies": latencies, "failed": failed}, sys.stdout)


if __name__ == "__main__":
    main()
