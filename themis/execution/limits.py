"""How much may happen at once: overall, by stage, and at the endpoint that a call goes to.

Nothing is limited that nobody configured, except that concurrency adapts to an endpoint that names
itself (``provider_key``). A retry passes through here like a first try.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from typing import Literal

from themis.core.config import RateLimit, RuntimeConfig
from themis.core.errors import ProviderError
from themis.core.events import Stage
from themis.execution.adaptive import AdaptiveConcurrency
from themis.execution.pacing import Booking, Pace

_LOG = logging.getLogger("themis")

Ending = Literal["answered", "refused", "other"]
"""How a call ended: with an answer of whatever kind, with "too many" (429, 503), or otherwise."""

_TOO_MANY = frozenset({429, 503, 529})
_UNREACHED_TRIES = 3
_WORTH_TELLING = 20.0


class Permit:
    """What a call holds while it is under way."""

    __slots__ = ("booking", "endpoint", "epoch", "place", "slots")

    def __init__(self) -> None:
        self.slots: list[asyncio.Semaphore] = []
        self.endpoint: _Endpoint | None = None
        self.epoch = 0
        self.place = 0
        self.booking: Booking | None = None


class Limits:
    """The limits of one run on one event loop."""

    def __init__(self, runtime: RuntimeConfig) -> None:
        self._runtime = runtime
        self._tasks = asyncio.Semaphore(runtime.max_concurrent_tasks)
        self._stages = {
            name: asyncio.Semaphore(limit) for name, limit in runtime.stage_concurrency.items()
        }
        self._endpoints: dict[str, _Endpoint] = {}

    def counts_tokens(self, provider: str | None) -> bool:
        """Return whether calls to this endpoint need a token estimate."""
        return provider is not None and self._endpoint(provider).pace.counts_tokens

    async def acquire(self, stage: Stage, provider: str | None, tokens: float = 0) -> Permit:
        """Wait until a call may start and return what it holds, to be given to ``release``.

        Args:
            stage: the stage that calls.
            provider: the endpoint called, if it names one.
            tokens: tokens expected, for an endpoint with a limit on them.

        Raises:
            WorkStoppedError: the limits were closed while it waited.
        """
        permit = Permit()
        try:
            if (by_stage := self._stages.get(stage)) is not None:
                await by_stage.acquire()
                permit.slots.append(by_stage)
            if provider is None:
                await self._tasks.acquire()
            else:
                # The tasks' slot comes last: waiting for an endpoint holds none that others could
                # use, and a call whose turn has come begins at once.
                endpoint = self._endpoint(provider)
                await endpoint.enter(permit)
                is_open = endpoint.pace.is_open
                if is_open:
                    await self._tasks.acquire()
                    is_open = endpoint.pace.is_open
                    if not is_open:  # it asked for a pause meanwhile
                        self._tasks.release()
                if not is_open:
                    permit.booking = await endpoint.pace.turn(tokens, lambda: self._tasks)
            permit.slots.append(self._tasks)
        except BaseException:
            self.release(permit)
            raise
        return permit

    def close(self) -> None:
        """Let no call wait for its turn any more: the run is stopping, and none is to begin."""
        for endpoint in self._endpoints.values():
            endpoint.pace.close()

    def settle(self, permit: Permit, tokens: float) -> None:
        """Say how many tokens a call really used."""
        if permit.booking is not None and permit.endpoint is not None:
            permit.endpoint.pace.settle(permit.booking, tokens)
            permit.booking = None

    def failed(self, permit: Permit, error: BaseException) -> None:
        """Learn from a failed call: what the endpoint bears, and what it asked for."""
        endpoint = permit.endpoint
        if endpoint is None or not isinstance(error, ProviderError):
            return
        if error.unreachable:
            endpoint.unreached += 1
        else:
            endpoint.unreached = 0
        if error.status in _TOO_MANY:
            self.settle(permit, 0)
            if error.retry_after:
                endpoint.pause(error.retry_after)

    def pause(self, permit: Permit, seconds: float) -> None:
        """Let no call to the permit's endpoint begin for so long: it said that nothing remains."""
        if permit.endpoint is not None:
            permit.endpoint.pause(seconds)

    def is_given_up(self, provider: str | None) -> bool:
        """Return whether an endpoint could not be reached several times, and not once between."""
        found = None if provider is None else self._endpoints.get(provider)
        return found is not None and found.unreached >= _UNREACHED_TRIES

    def release(self, permit: Permit, ending: Ending = "other") -> None:
        """Give back what a call held, and say how it ended."""
        for slot in permit.slots:
            slot.release()
        permit.slots.clear()
        if permit.endpoint is not None:
            permit.endpoint.leave(permit, ending)
            permit.endpoint = None

    def _endpoint(self, provider: str) -> _Endpoint:
        found = self._endpoints.get(provider)
        if found is None:
            runtime = self._runtime
            cap = runtime.provider_concurrency.get(provider, runtime.max_concurrent_tasks)
            pace = _pace(runtime.provider_rate_limits.get(provider))
            found = self._endpoints[provider] = _Endpoint(provider, cap, pace)
        return found


def ending_of(error: BaseException) -> Ending:
    """Return how a failed call ended, as far as the endpoint's concurrency is concerned."""
    if not isinstance(error, ProviderError) or error.status is None:
        return "other"
    return "refused" if error.status in _TOO_MANY else "answered"


class _Endpoint:
    """The calls under way at one endpoint, and those that wait to be."""

    def __init__(self, name: str, cap: int, pace: Pace) -> None:
        self._name = name
        self.pace = pace
        self.unreached = 0
        """Tries in a row that could not connect."""
        self._adaptive = AdaptiveConcurrency(cap)
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[tuple[int, int]]] = deque()

    def pause(self, seconds: float) -> None:
        """Let no call begin for so long; a long pause is told, lest it be taken for a hang."""
        if self.pace.pause(seconds) and seconds >= _WORTH_TELLING:
            _LOG.warning("%s asked for a pause of %.0f s; its calls wait", self._name, seconds)

    async def enter(self, permit: Permit) -> None:
        """Wait for a place among the calls under way."""
        if self._waiting or self._in_flight >= self._adaptive.limit:
            loop = asyncio.get_running_loop()
            turn: asyncio.Future[tuple[int, int]] = loop.create_future()
            self._waiting.append(turn)
            try:
                permit.epoch, permit.place = await turn  # whoever wakes it has counted it in
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._in_flight -= 1
                    self._wake()
                raise
        else:
            permit.epoch, permit.place = self._count_in()
        permit.endpoint = self

    def leave(self, permit: Permit, ending: Ending) -> None:
        """Give a place back and let others in."""
        self._in_flight -= 1
        if ending == "answered":
            self.unreached = 0
            self._adaptive.answered(permit.epoch)
        elif ending == "refused":
            self._adaptive.refused(permit.epoch, permit.place)
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self._in_flight < self._adaptive.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(self._count_in())

    def _count_in(self) -> tuple[int, int]:
        """Count a call in and return the epoch that it begins in, and as which of how many."""
        self._in_flight += 1
        self._adaptive.began(self._in_flight)
        return self._adaptive.epoch, self._in_flight


def _pace(limit: RateLimit | None) -> Pace:
    if limit is None:
        return Pace()
    limits: Mapping[str, int] = limit if isinstance(limit, dict) else {"requests_per_minute": limit}
    return Pace(limits.get("requests_per_minute"), limits.get("tokens_per_minute"))
