"""The limits of calls: overall, by stage, and by endpoint.

All limits are configured, except for the adaptive concurrency of endpoints with a ``provider_key``.
A retry waits for its turn like a first try.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Literal

from themis.core.config import RateLimit, RuntimeConfig
from themis.core.errors import ProviderError
from themis.core.events import Stage
from themis.core.shown_text import logger
from themis.execution.limits.concurrency import AdaptiveConcurrency
from themis.execution.limits.rate import Booking, Pace

_LOG = logger()

CallEnding = Literal["answered", "busy", "overwhelmed", "other"]
"""How a call ended: "answered"; "busy", refused since the endpoint has too many; "overwhelmed",
unanswered in time; "other", in a way that says nothing about the endpoint's capacity."""

BUSY = frozenset({429, 503, 529})
"""HTTP statuses with which an endpoint refuses a request since it has too many."""
_LOST = frozenset({502, 504, *range(520, 528)})
_BACK_OFF = (5.0, 15.0, 45.0)
"""Pauses in seconds after refusals without ``Retry-After``, since limits are often by minute."""
_UNREACHED_TRIES = 3
_UNREACHED_SECONDS = 20.0
_WORTH_TELLING = 20.0


class Permit:
    """The slots and bookings that a call holds while it is in flight."""

    __slots__ = ("booking", "endpoint", "place", "slots")

    def __init__(self) -> None:
        self.slots: list[asyncio.Semaphore] = []
        self.endpoint: _Endpoint | None = None
        self.place = 0
        """Calls in flight at the endpoint when this one began, itself included."""
        self.booking: Booking | None = None


class RunLimits:
    """The limits of one run on one event loop.

    Args:
        runtime: what is allowed.
        stop: stops the run, for a pause that is longer than it may be; given why. Without it, any
            pause is waited for.
    """

    def __init__(
        self, runtime: RuntimeConfig, *, stop: Callable[[str], None] | None = None
    ) -> None:
        self._runtime = runtime
        self._stop = stop
        self._tasks = asyncio.Semaphore(runtime.max_concurrent_tasks)
        self.stages = {
            name: asyncio.Semaphore(limit) for name, limit in runtime.stage_concurrency.items()
        }
        """Slots of the stages that have a limit of their own."""
        self._endpoints: dict[str, _Endpoint] = {}

    def counts_tokens(self, provider: str) -> bool:
        """Return whether calls to this endpoint need a token estimate."""
        return self._endpoint(provider).pace.counts_tokens

    def of_stage(self, stage: Stage) -> AbstractAsyncContextManager[object]:
        """Return a context manager that holds a stage's slot, for a step without a call."""
        return self.stages.get(stage) or nullcontext()

    async def acquire(self, stage: Stage, provider: str | None, tokens: float = 0) -> Permit:
        """Wait until a call may start and return its permit, to be given to ``release``.

        Args:
            stage: the stage that calls.
            provider: the endpoint called, if it names one.
            tokens: tokens expected, for an endpoint with a limit on them.

        Raises:
            WorkStoppedError: the limits were closed while it waited.
        """
        permit = Permit()
        by_stage = self.stages.get(stage) if self.stages else None
        shared = [self._tasks] if by_stage is None else [by_stage, self._tasks]
        try:
            if provider is None:
                for slot in shared:
                    await slot.acquire()
                    permit.slots.append(slot)
                return permit
            # Slots that other calls could use are acquired last, so that a call waiting for an
            # endpoint holds none of them, and begins as soon as it has them.
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
        """End all waits, since the run is stopping and no call may begin."""
        for endpoint in self._endpoints.values():
            endpoint.pace.close()

    def settle(self, permit: Permit, tokens: float) -> None:
        """Correct a call's expected tokens to the tokens that it used."""
        if permit.booking is not None and permit.endpoint is not None:
            permit.endpoint.pace.settle(permit.booking, tokens)
            permit.booking = None

    def failed(self, permit: Permit, error: BaseException) -> None:
        """Adapt the endpoint's concurrency and pauses to a failed call."""
        endpoint = permit.endpoint
        if not isinstance(error, ProviderError):
            return
        waits = error.retryable or error.status in BUSY
        if waits and self._is_too_long(permit, error.retry_after or 0):
            return
        if endpoint is None:
            return
        endpoint.reached(not error.unreachable)
        if error.status in BUSY:
            self.settle(permit, 0)
            if error.retry_after:
                endpoint.pause(error.retry_after)
        elif error.retry_after:
            endpoint.tell(error.retry_after)

    def pause(self, permit: Permit, seconds: float) -> None:
        """Let no call to the endpoint begin for some seconds, since its quota is used up."""
        if permit.endpoint is not None and not self._is_too_long(permit, seconds):
            permit.endpoint.pause(seconds)

    def _is_too_long(self, permit: Permit, seconds: float) -> bool:
        """Return whether a pause is longer than it may be, after stopping the run if so."""
        longest = self._runtime.longest_pause
        if self._stop is None or longest is None or seconds <= longest:
            return False
        name = "an endpoint" if permit.endpoint is None else permit.endpoint.name
        self._stop(
            f"{name} asked for a pause of {seconds:,.0f} s, more than longest_pause = {longest:g}"
        )
        return True

    def is_given_up(self, provider: str | None, *, last_try: bool) -> bool:
        """Return whether an endpoint is considered down: several tries in a row could not connect.

        Args:
            provider: the endpoint.
            last_try: whether the call has no tries left; otherwise some time must have passed as
                well.
        """
        found = None if provider is None else self._endpoints.get(provider)
        if found is None or found.unreached < _UNREACHED_TRIES:
            return False
        return last_try or found.unreached_for >= _UNREACHED_SECONDS

    def release(self, permit: Permit, ending: CallEnding = "other") -> None:
        """Release a call's permit and record how the call ended."""
        for slot in permit.slots:
            slot.release()
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
    """Return how a failed call counts for the endpoint's concurrency."""
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
    """The calls in flight at one endpoint, and those that wait."""

    def __init__(self, name: str, cap: int, pace: Pace) -> None:
        self.name = name
        self.pace = pace
        self.unreached = 0
        """Number of tries in a row that could not connect."""
        self._unreached_since = 0.0
        self._adaptive = AdaptiveConcurrency(cap)
        self._let_in = 0
        """Calls that have a place: those in flight, and those admitted that have not begun."""
        self._under_way: dict[Permit, None] = {}
        """The calls in flight, in the order in which they began."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._told_until = -math.inf
        self._back_off = iter(_BACK_OFF)

    def pause(self, seconds: float) -> None:
        """Let no call begin for some seconds."""
        self.pace.pause(seconds)
        self.tell(seconds)

    def tell(self, seconds: float) -> None:
        """Log a long pause, which could be taken for a hang; overlapping ones once."""
        now = asyncio.get_running_loop().time()
        if seconds >= _WORTH_TELLING and now + seconds > self._told_until + 1:
            self._told_until = now + seconds
            _LOG.warning("%s asked for a pause of %.0f s", self.name, seconds)

    @property
    def unreached_for(self) -> float:
        """Seconds since the first of the tries in a row that could not connect."""
        return asyncio.get_running_loop().time() - self._unreached_since

    def reached(self, connected: bool) -> None:
        """Record whether a try could connect; the first that could not is logged."""
        if connected:
            self.unreached = 0
            return
        if not self.unreached:
            self._unreached_since = asyncio.get_running_loop().time()
            _LOG.warning("%s cannot be reached; its calls are tried again", self.name)
        self.unreached += 1

    async def enter(self, permit: Permit) -> None:
        """Wait for a place among the calls."""
        if self._waiting or self._let_in >= self._adaptive.limit:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn  # the waker has counted it as admitted
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._let_in -= 1
                    self._wake()
                raise
        else:
            self._let_in += 1
        permit.endpoint = self

    def begin(self, permit: Permit) -> None:
        """Record that a call begins now."""
        self._under_way[permit] = None
        permit.place = len(self._under_way)
        self._adaptive.began(permit.place)

    def leave(self, permit: Permit, ending: CallEnding) -> None:
        """Free a call's place and admit waiting calls."""
        self._let_in -= 1
        if ending == "busy":
            for later in reversed(self._under_way):
                if later is permit:
                    break
                later.place -= 1  # the refused call before it does not count
        self._under_way.pop(permit, None)
        if ending == "answered":
            self.reached(True)
            self._back_off = iter(_BACK_OFF)
            self._adaptive.answered(permit.place)
        elif ending == "busy":
            if self._adaptive.refused(permit.place) and self.pace.is_open():
                # Refused at a known concurrency and without a pause: it has another kind of limit.
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
