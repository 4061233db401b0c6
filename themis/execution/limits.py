"""How much may happen at once: overall, by stage, and by the endpoint a call goes to.

Nothing is limited that nobody configured. A retry passes through here like a first try.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from themis.core.config import RateLimit, RuntimeConfig
from themis.core.events import Stage

if TYPE_CHECKING:
    from aiolimiter import AsyncLimiter

Slots = list[asyncio.Semaphore]


class Limits:
    """The limits of one run on one event loop."""

    def __init__(self, runtime: RuntimeConfig) -> None:
        self._tasks = asyncio.Semaphore(runtime.max_concurrent_tasks)
        self._stages = _semaphores(runtime.stage_concurrency)
        self._providers = _semaphores(runtime.provider_concurrency)
        self._requests: dict[str, AsyncLimiter] = {}
        self._tokens: dict[str, AsyncLimiter] = {}
        for provider, limit in runtime.provider_rate_limits.items():
            self._add_rates(provider, limit)

    def counts_tokens(self, provider: str | None) -> bool:
        """Return whether calls to this endpoint need a token estimate."""
        return provider is not None and provider in self._tokens

    async def acquire(self, stage: Stage, provider: str | None, tokens: int = 0) -> Slots:
        """Wait until a call may start and return the slots it holds, to be given to ``release``.

        Args:
            stage: the stage that calls.
            provider: the endpoint called, if it names one.
            tokens: prompt tokens expected, for an endpoint with a limit on them.
        """
        held: Slots = []
        try:
            for slot in self._narrow(stage, provider):
                await slot.acquire()
                held.append(slot)
            if provider is not None:
                await self._pace(provider, tokens)
            # Last: waiting for a stage or an endpoint holds no slot that others could use.
            await self._tasks.acquire()
            held.append(self._tasks)
        except BaseException:
            self.release(held)
            raise
        return held

    def release(self, held: Slots) -> None:
        """Give slots back."""
        for slot in held:
            slot.release()

    def _narrow(self, stage: Stage, provider: str | None) -> Slots:
        by_stage = self._stages.get(stage)
        by_provider = None if provider is None else self._providers.get(provider)
        return [slot for slot in (by_stage, by_provider) if slot is not None]

    async def _pace(self, provider: str, tokens: int) -> None:
        if (requests := self._requests.get(provider)) is not None:
            await requests.acquire()
        if tokens and (budget := self._tokens.get(provider)) is not None:
            await budget.acquire(min(tokens, budget.max_rate))

    def _add_rates(self, provider: str, limit: RateLimit) -> None:
        from aiolimiter import AsyncLimiter

        limits = limit if isinstance(limit, dict) else {"requests_per_minute": limit}
        if (requests := limits.get("requests_per_minute")) is not None:
            # One at a time, evenly: a burst of a minute's worth is what endpoints refuse.
            self._requests[provider] = AsyncLimiter(1, 60.0 / requests)
        if (tokens := limits.get("tokens_per_minute")) is not None:
            self._tokens[provider] = AsyncLimiter(tokens, 60.0)


def _semaphores(limits: Mapping[str, int]) -> dict[str, asyncio.Semaphore]:
    return {name: asyncio.Semaphore(limit) for name, limit in limits.items()}
