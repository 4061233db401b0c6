"""The scripted endpoint does what it says: what the other tests here stand on.

Covers: tests/support/endpoint.py
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import openai as sdk
import pytest

from tests.support.endpoint import Endpoint, Reply, busy, dropped, error
from tests.support.virtual_time import StuckError, run_virtually

pytestmark = pytest.mark.network


def _client(endpoint: Endpoint) -> sdk.AsyncOpenAI:
    return sdk.AsyncOpenAI(base_url=endpoint.url, api_key="key", max_retries=0)


async def _ask(client: sdk.AsyncOpenAI, text: str, **more: Any) -> Any:
    messages: Any = [{"role": "user", "content": text}]
    return await client.chat.completions.create(model="m", messages=messages, **more)


async def test_both_apis_are_spoken_whole_and_streamed() -> None:
    with Endpoint() as endpoint, _client_of(endpoint) as client:
        chat = await _ask(client, "what is said")
        assert chat.choices[0].message.content == "what is said"
        assert chat.usage.total_tokens == endpoint.requests[0].charged == 3 + 4 + 3 + 3
        whole = await client.responses.create(model="m", input="what is said")
        assert whole.output_text == "what is said"
        chunks = await _ask(client, "in pieces", stream=True)
        said = [one.choices[0].delta.content or "" async for one in chunks if one.choices]
        assert "".join(said) == "in pieces"
        assert len(said) > 2
        events = [e async for e in await client.responses.create(model="m", input="x", stream=True)]
        assert events[-1].type == "response.completed"
        assert events[-1].response.output_text == "x"
        cut = await _ask(client, "a long answer", max_tokens=2)
        assert cut.choices[0].finish_reason == "length"
        assert cut.usage.completion_tokens == 2
        assert len(endpoint.requests) == 5
        assert all(asked.delivered for asked in endpoint.requests)


class _client_of:
    """A client for the length of a ``with``: closed without an event loop's help."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.client = _client(endpoint)

    def __enter__(self) -> sdk.AsyncOpenAI:
        return self.client

    def __exit__(self, *_: object) -> None:
        """Connections end with the endpoint."""


async def test_what_a_script_says_is_what_the_client_meets() -> None:
    script = [busy(2.0, form="date"), error(500), dropped("before"), dropped("middle"), None]
    with Endpoint(script) as endpoint, _client_of(endpoint) as client:
        with pytest.raises(sdk.RateLimitError) as refused:
            await _ask(client, "q")
        assert "GMT" in refused.value.response.headers["retry-after"]
        with pytest.raises(sdk.InternalServerError):
            await _ask(client, "q")
        for _ in range(2):
            with pytest.raises(sdk.APIConnectionError):
                await _ask(client, "q")
        await _ask(client, "q")
        assert [one.nth for one in endpoint.requests] == [1, 2, 3, 4, 5]
        assert [one.delivered for one in endpoint.requests] == [True, True, False, False, True]
        assert [bool(one.charged) for one in endpoint.requests] == [False] * 2 + [True] * 3


async def test_a_client_that_leaves_is_charged_and_no_longer_under_way() -> None:
    with Endpoint([Reply(hang=True)]) as endpoint, _client_of(endpoint) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await _ask(client, "q")
        while endpoint.in_flight:
            await asyncio.sleep(0.005)
        assert not endpoint.requests[0].delivered
        assert endpoint.tokens == endpoint.requests[0].charged > 0


async def test_capacity_keys_and_models_are_kept_to() -> None:
    with Endpoint(delay=0.2, capacity=3, models=["m"]) as endpoint, _client_of(endpoint) as client:
        answers = await asyncio.gather(
            *(_ask(client, f"q{n}") for n in range(8)), return_exceptions=True
        )
        assert sum(isinstance(one, sdk.RateLimitError) for one in answers) == 5
        assert endpoint.statuses() == {200: 3, 429: 5}
        with pytest.raises(sdk.NotFoundError):
            await client.responses.create(model="unknown", input="q")
        endpoint.key = "another"
        with pytest.raises(sdk.AuthenticationError):
            await _ask(client, "q")


def test_on_a_clock_that_jumps_waiting_keeps_its_order_and_takes_no_time() -> None:
    async def later(seconds: float) -> AsyncIterator[float]:
        for _ in range(3):
            await asyncio.sleep(seconds)
            yield asyncio.get_running_loop().time()

    async def work() -> list[float]:
        return [now async for now in later(3600.0)]

    began = time.monotonic()
    assert run_virtually(work()) == pytest.approx([3600.0, 7200.0, 10800.0])
    assert time.monotonic() - began < 60

    async def stuck() -> None:
        await asyncio.Event().wait()

    with pytest.raises(StuckError):
        run_virtually(stuck())
