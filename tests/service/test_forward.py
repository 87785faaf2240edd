"""Connections through a port of this machine: all bytes arrive both ways, several at once, and nothing is left at the end."""

import hashlib
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.service.server import Service
from tuningjob.cluster.forward import PortForward
from tuningjob.errors import ClusterUnavailable
from tuningjob.remote.data import HttpData

pytestmark = pytest.mark.slow


def test_files_go_through_it_whole_and_many_at_once(tmp_path: Path) -> None:
    service = Service(tmp_path / "service", max_artifact_bytes=2**25)
    service.register.enter("alice", "get", "update")
    service.start()
    try:
        with PortForward(lambda: socket.create_connection(("127.0.0.1", service.port))) as forward:

            def send(number: int) -> int:
                path = tmp_path / f"{number}"
                path.write_bytes(os.urandom(5 * 2**20))
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                with HttpData(f"http://localhost:{forward.port}", "token-of-alice", namespace="team") as data:
                    return data.send(path, digest)

            with ThreadPoolExecutor(4) as pool:
                assert list(pool.map(send, range(4))) == [5 * 2**20] * 4
            service.restart()  # the connections of before are gone, the next one is not
            assert send(9) == 5 * 2**20
        assert not [each for each in threading.enumerate() if "port-forward" in each.name]
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://localhost:{forward.port}/healthz", trust_env=False)
    finally:
        service.close()


def test_what_cannot_be_reached_is_told_by_who_opens_the_way() -> None:
    def dial() -> socket.socket:
        raise ClusterUnavailable("nobody is there")

    with PortForward(dial) as forward:
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://localhost:{forward.port}/healthz", trust_env=False)
        assert str(forward.error) == "nobody is there"
