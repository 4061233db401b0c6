"""How much may happen at once: overall, by stage, and at the endpoint that a call goes to.

Nothing is limited that nobody configured, except that concurrency adapts to an endpoint that names
itself (``provider_key``). A retry passes through here like a first try.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Literal

from themis.core.config import RateLimit, RuntimeConfig
from themis.core.errors import ProviderError
from themis.core.events import Stage
from themis.execution.adaptive import AdaptiveConcurrency
from themis.execution.pacing import Booking, Pace, give_each, take_each

_LOG = logging.getLogger("themis")

CallEnding = Literal["answered", "busy", "overwhelmed", "other"]
"""How a call ended: with an answer of whatever kind, with "too many", in no time allowed for it, or
in some way that says nothing of how much the endpoint bears."""

BUSY = frozenset({429, 503, 529})
"""Statuses with which an endpoint refuses what is too much for it, before it has worked."""
_LOST = frozenset({502, 504})
_BACK_OFF = (5.0, 15.0, 45.0)
"""Seconds of pause for an endpoint that refuses and names none: the limit may be a minute's."""
_UNREACHED_TRIES = 3
_UNREACHED_SECONDS = 20.0
_WORTH_TELLING = 20.0


class Permit:
    """What a call holds while it is under way."""

    __slots__ = ("booking", "endpoint", "place", "slots")

    def __init__(self) -> None:
        self.slots: list[asyncio.Semaphore] = []
        self.endpoint: _Endpoint | None = None
        self.place = 0
        """Calls that the endpoint was bearing when it began, itself included."""
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

    def has_stage(self, stage: Stage) -> bool:
        """Return whether a stage has a limit of its own."""
        return stage in self._stages

    def of_stage(self, stage: Stage) -> AbstractAsyncContextManager[object]:
        """Return what holds a stage's slot, for a step that makes no call of its own."""
        return self._stages.get(stage) or nullcontext()

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
        by_stage = self._stages.get(stage) if self._stages else None
        shared = [self._tasks] if by_stage is None else [by_stage, self._tasks]
        try:
            if provider is None:
                await take_each(shared)
                permit.slots = shared
                return permit
            # The slots that others could use come last: waiting for an endpoint holds none of
            # them, and a call whose turn has come begins at once.
            endpoint = self._endpoint(provider)
            await endpoint.enter(permit)
            permit.booking = await endpoint.pace.turn(tokens, shared)
            permit.slots = shared
            endpoint.begin(permit)
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
        endpoint.reached(not error.unreachable)
        if error.status in BUSY:
            self.settle(permit, 0)
            if error.retry_after:
                endpoint.pause(error.retry_after)
        elif error.retry_after:
            endpoint.tell(error.retry_after)

    def pause(self, permit: Permit, seconds: float) -> None:
        """Let no call to the permit's endpoint begin for so long: it said that nothing remains."""
        if permit.endpoint is not None:
            permit.endpoint.pause(seconds)

    def is_given_up(self, provider: str | None, *, last_try: bool) -> bool:
        """Return whether an endpoint could not be reached several times, and not once between.

        Args:
            provider: the endpoint.
            last_try: whether a call has no more tries; else it takes a while of it, too.
        """
        found = None if provider is None else self._endpoints.get(provider)
        if found is None or found.unreached < _UNREACHED_TRIES:
            return False
        return last_try or found.unreached_for >= _UNREACHED_SECONDS

    def release(self, permit: Permit, ending: CallEnding = "other") -> None:
        """Give back what a call held, and say how it ended."""
        give_each(permit.slots)
        permit.slots = []
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


def call_ending(error: BaseException) -> CallEnding:
    """Return how a failed call ended, as far as the endpoint's concurrency is concerned."""
    if isinstance(error, TimeoutError):
        return "overwhelmed"
    status = error.status if isinstance(error, ProviderError) else None
    if status is None:
        return "other"
    if status in BUSY:
        return "busy"
    if status in _LOST:
        return "overwhelmed"
    return "answered" if status < 500 else "other"


class _Endpoint:
    """The calls under way at one endpoint, and those that wait to be."""

    def __init__(self, name: str, cap: int, pace: Pace) -> None:
        self._name = name
        self.pace = pace
        self.unreached = 0
        """Tries in a row that could not connect."""
        self._unreached_since = 0.0
        self._adaptive = AdaptiveConcurrency(cap)
        self._let_in = 0
        """Calls that have a place: those under way, and those whose turn is to come."""
        self._under_way: dict[Permit, None] = {}
        """The calls that have begun, in that order."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._told_until = -math.inf
        self._back_off = iter(_BACK_OFF)

    def pause(self, seconds: float) -> None:
        """Let no call begin for so long."""
        self.pace.pause(seconds)
        self.tell(seconds)

    def tell(self, seconds: float) -> None:
        """Tell of a long pause, lest it be taken for a hang; of those that overlap once."""
        now = asyncio.get_running_loop().time()
        if seconds >= _WORTH_TELLING and now + seconds > self._told_until + 1:
            self._told_until = now + seconds
            _LOG.warning("%s asked for a pause of %.0f s", self._name, seconds)

    @property
    def unreached_for(self) -> float:
        """Seconds since the first of the tries in a row that could not connect."""
        return asyncio.get_running_loop().time() - self._unreached_since

    def reached(self, connected: bool) -> None:
        """Take note of whether a try could connect; the first that could not is told."""
        if connected:
            self.unreached = 0
            return
        if not self.unreached:
            self._unreached_since = asyncio.get_running_loop().time()
            _LOG.warning("%s cannot be reached; its calls are tried again", self._name)
        self.unreached += 1

    async def enter(self, permit: Permit) -> None:
        """Wait for a place among the calls."""
        if self._waiting or self._let_in >= self._adaptive.limit:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn  # whoever wakes it has let it in
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._let_in -= 1
                    self._wake()
                raise
        else:
            self._let_in += 1
        permit.endpoint = self

    def begin(self, permit: Permit) -> None:
        """Take note that a call begins now."""
        self._under_way[permit] = None
        permit.place = len(self._under_way)
        self._adaptive.began(permit.place)

    def leave(self, permit: Permit, ending: CallEnding) -> None:
        """Give a place back and let others in."""
        self._let_in -= 1
        if ending == "busy":
            for later in reversed(self._under_way):
                if later is permit:
                    break
                later.place -= 1  # it turned out that there was one less before it
        self._under_way.pop(permit, None)
        if ending == "answered":
            self.reached(True)
            self._back_off = iter(_BACK_OFF)
            self._adaptive.answered(permit.place)
        elif ending == "busy":
            if self._adaptive.refused(permit.place) and self.pace.is_open():
                # It refuses what it bore before and asked for no pause: it counts in another way.
                self.pause(next(self._back_off, _BACK_OFF[-1]))
        elif ending == "overwhelmed":
            self._adaptive.overwhelmed()
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self._let_in < self._adaptive.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self._let_in += 1
                turn.set_result(None)


def _pace(limit: RateLimit | None) -> Pace:
    if limit is None:
        return Pace()
    limits: Mapping[str, int] = limit if isinstance(limit, dict) else {"requests_per_minute": limit}
    return Pace(limits.get("requests_per_minute"), limits.get("tokens_per_minute"))
