"""The results service over HTTP, from a client that outlives a restart of it.

A request that fails on the way (no connection, a timeout, a 5xx, a 429) is retried for as long as the client has patience. Pauses
grow and are jittered, and are never shorter than the service asks for (Retry-After). A refusal (4xx) is an answer.

Any threads may use a client at the same time: a request keeps no state in it, and httpx's client is thread-safe.
"""

import datetime as dt
import random
import ssl
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import httpx
import tenacity
from pydantic import TypeAdapter, ValidationError
from typing_extensions import override

from tuningjob.aliases import Anything
from tuningjob.errors import JournalError

T = TypeVar("T")
# One lost connection is not worth a message.
_ATTEMPTS_IN_SILENCE: Final = 2


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a client waits for an answer, and how long it pauses between attempts.

    Pauses double, from the first to the longest one. A pause that a service asks for counts up to ``longest_asked_for_seconds``,
    because a mistake there must not let the thread sleep.
    """

    seconds: float
    first_pause_seconds: float
    longest_pause_seconds: float
    longest_asked_for_seconds: float


class TryAgain(Exception):
    """Raised for an answer that another attempt, after this many seconds, may improve."""

    def __init__(self, message: str, after_seconds: float) -> None:
        super().__init__(message)
        self.after_seconds = after_seconds


class Unanswered(Exception):
    """There was no answer; ``error`` is what the last attempt ended with."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class Bearer(httpx.Auth):
    """The token of a person, which may expire: if the service refuses it, ``renew`` gives another, once a request."""

    def __init__(self, token: str, renew: Callable[[], str]) -> None:
        self._token = token
        self._renew = renew

    @override
    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        used = self._token
        request.headers["Authorization"] = f"Bearer {used}"
        response = yield request
        if response.status_code != 401:
            return
        self._token = self._renew()
        if self._token != used:
            request.headers["Authorization"] = f"Bearer {self._token}"
            yield request


class RetryingClient:
    """What the clients of the results service have in common.

    At an https URL the service's certificate must be signed by ``ca_file`` (PEM), if that is given. ``say`` is called when the
    service does not answer, and when it does again. ``trust_env``: use the environment's proxy.
    """

    def __init__(
        self,
        url: str,
        token: str | Bearer,
        *,
        timeout: httpx.Timeout,
        patience: Patience,
        trust_env: bool,
        ca_file: Path | None = None,
        say: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self._url,
            headers={"Authorization": f"Bearer {token}"} if isinstance(token, str) else {},
            auth=None if isinstance(token, str) else token,
            timeout=timeout,
            trust_env=trust_env,
            verify=True if ca_file is None else ssl.create_default_context(cafile=ca_file),
        )
        self._patience = patience
        self._say = say
        self._clock = clock
        self._sleep = sleep

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _answer(
        self,
        method: str,
        path: str,
        *,
        may_pass: Callable[[BaseException], bool],
        body: Callable[[], Iterator[bytes]] | None = None,
        receive: Callable[[httpx.Response], object] = httpx.Response.read,
        **request: Anything,
    ) -> httpx.Response:
        """The answer, received. Raises Unanswered.

        ``may_pass`` says after which failures the request is sent again; ``body`` makes a streamed body, a new one for every
        attempt; ``receive`` reads the body of a success.
        """
        started = self._clock()

        def out_of_patience(_state: tenacity.RetryCallState) -> bool:
            return self._clock() - started >= self._patience.seconds

        def attempt() -> httpx.Response:
            if body is not None:
                request["content"] = body()
            with self._http.stream(method, path, **request) as response:
                if response.status_code == 429 or response.status_code >= 500:
                    response.read()
                    asked_for = min(_retry_after(response), self._patience.longest_asked_for_seconds)
                    raise TryAgain(sentence_of(response), asked_for)
                (receive if response.is_success else httpx.Response.read)(response)
                return response

        def complain(state: tenacity.RetryCallState) -> None:
            if state.attempt_number == _ATTEMPTS_IN_SILENCE:
                self._say(
                    f"{self._url} does not answer: {_reason(state)}; trying again for {self._patience.seconds:.0f} seconds"
                )

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(may_pass),
            wait=self._pause,
            stop=out_of_patience,
            sleep=self._sleep,
            before_sleep=complain,
            reraise=True,
        )
        try:
            response = retrying(attempt)
        except (httpx.TransportError, TryAgain) as error:
            raise Unanswered(error) from error
        if retrying.statistics["attempt_number"] > _ATTEMPTS_IN_SILENCE:
            self._say(f"{self._url} answers again, after {self._clock() - started:.0f} seconds")
        return response

    def _pause(self, state: tenacity.RetryCallState) -> float:
        """The next pause in seconds: half to all of a doubling one, so that a hundred pods do not come back together.

        A pause that the service asks for comes on top.
        """
        patience = self._patience
        doubled = patience.first_pause_seconds * 2.0 ** min(state.attempt_number - 1, 16)
        pause = min(patience.longest_pause_seconds, doubled)
        reason = _reason(state)
        asked_for = reason.after_seconds if isinstance(reason, TryAgain) else 0.0
        return asked_for + pause * random.uniform(0.5, 1.0)  # noqa: S311  no secret

    def _parsed(self, adapter: TypeAdapter[T], response: httpx.Response) -> T:
        """The record in an answer. Raises JournalError if it is not valid."""
        try:
            # during an upgrade, a service of a later release may send more fields
            return adapter.validate_json(response.content, extra="ignore")
        except ValidationError as error:
            first = error.errors()[0]["msg"]
            raise JournalError(
                f"{self._url}: must be a results service of this version, but got: {first}: {response.text[:80]!r}."
            ) from error


def may_pass(error: BaseException) -> bool:
    """Whether another attempt may get a better answer."""
    return isinstance(error, httpx.TransportError | TryAgain)


def detail_of(response: httpx.Response) -> str | None:
    """The sentence in the service's answer; None if there is none."""
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return None


def sentence_of(response: httpx.Response) -> str:
    """The service's sentence, or what the answer has in its place."""
    return detail_of(response) or f"{response.status_code} {response.text[:200]}"


def _reason(state: tenacity.RetryCallState) -> BaseException | None:
    return None if state.outcome is None else state.outcome.exception()


def _retry_after(response: httpx.Response) -> float:
    """The seconds of Retry-After (RFC 9110, 10.2.3), or from the response's date to its date; 0 if it cannot be read."""
    asked = response.headers.get("Retry-After", "")
    try:
        seconds = (
            float(asked) if asked.isdecimal() else (_date(asked) - _date(response.headers["Date"])).total_seconds()
        )
    except (ValueError, KeyError, TypeError):
        return 0.0
    return max(0.0, seconds)


def _date(header: str) -> dt.datetime:
    return parsedate_to_datetime(header)
