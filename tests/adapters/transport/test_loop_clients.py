"""Clients and event loops: one client serves runs side by side and one after another.

Covers: themis.adapters.http, themis.adapters.transport.loop_clients
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from themis import Experiment, RunResult
from themis.adapters import http, openai
from themis.adapters.transport.loop_clients import LoopClients
from themis.core.config import EvaluationConfig, GenerationConfig, RuntimeConfig, StorageConfig
from themis.core.contexts import GenerateContext
from themis.core.errors import ProviderError
from themis.core.models import Case, Dataset

Context = Callable[..., GenerateContext]
TEXT = Case(case_id="case-1", input="What is 2+2?")


def experiment(generator: Any, cases: int, **runtime: Any) -> Experiment:
    return Experiment(
        generation=GenerationConfig(generator=generator),
        evaluation=EvaluationConfig(),
        storage=StorageConfig(store="memory"),
        runtime=RuntimeConfig(generation_retry_attempts=1, **runtime),
        datasets=[
            Dataset(
                dataset_id="d",
                cases=[Case(case_id=f"c{i}", input=f"{cases}-{i}") for i in range(cases)],
            )
        ],
    )


@pytest.mark.network
def test_a_given_client_serves_one_run_after_another_and_stays_open(server: Any) -> None:
    import openai as sdk

    client = sdk.AsyncOpenAI(base_url=server.url, api_key="k")
    generator = openai("m", client=client)
    for number in (1, 2, 3):
        result = experiment(generator, cases=5 + number).run(progress=False)
        assert result.status == "completed"
    assert len(server.requests) == 6 + 7 + 8
    assert not client.is_closed()


@pytest.mark.network
def test_a_connection_of_a_loop_that_ended_is_worth_another_try(
    server: Any, context: Context
) -> None:
    import openai as sdk

    generator = openai("m", client=sdk.AsyncOpenAI(base_url=server.url, api_key="k"))
    asyncio.run(generator.generate(TEXT, context()))  # and nobody closes it
    with pytest.raises(ProviderError, match="an event loop that has ended") as caught:
        asyncio.run(generator.generate(TEXT, context()))
    assert caught.value.retryable


@pytest.mark.network
@pytest.mark.parametrize("kind", ["openai", "http"])
async def test_a_run_that_ends_takes_nothing_from_another_on_the_same_loop(
    server: Any, kind: str
) -> None:
    server.hang = 0.05
    generator: Any = (
        openai("m", base_url=server.url, api_key="k")
        if kind == "openai"
        else http(server.url, body={"q": "{{ input }}"}, answer="id")
    )
    short, long = (experiment(generator, cases=n, max_concurrent_tasks=2) for n in (1, 12))
    found: tuple[RunResult, ...] = await asyncio.gather(
        short.run_async(progress=False), long.run_async(progress=False)
    )
    assert [result.status for result in found] == ["completed"] * 2
    assert len(server.requests) == 13


@pytest.mark.network
async def test_the_last_call_closes_the_connections_of_a_component_that_was_closed(
    server: Any, context: Context
) -> None:
    server.hang = 0.1
    generator = openai("m", base_url=server.url, api_key="k")
    call = asyncio.create_task(generator.generate(TEXT, context()))
    while not server.requests:
        await asyncio.sleep(0.01)
    client = generator._settings.endpoint._clients.current().client
    session = client._http._session
    await generator.aclose()
    assert not session.closed
    assert (await call).final_output == "four"
    assert session.closed
    assert (await generator.generate(TEXT, context())).final_output == "four"
    await generator.aclose()


class Client:
    """Knows how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1


@given(steps=st.lists(st.sampled_from(["begin", "end", "close"]), max_size=40))
async def test_a_client_is_closed_once_and_never_under_a_call(steps: list[str]) -> None:
    made: list[Client] = []

    def make() -> Client:
        made.append(Client())
        return made[-1]

    clients = LoopClients(make, Client.close)
    calls: list[tuple[Any, Client]] = []
    for step in [*steps, *["end"] * steps.count("begin"), "close"]:
        if step == "begin":
            held = clients.current()
            calls.append((held, await held.__aenter__()))
        elif step == "end" and calls:
            held, _ = calls.pop(0)
            await held.__aexit__(None, None, None)
        elif step == "close":
            await clients.aclose()
        assert all(client.closed == 0 for _, client in calls)
        assert all(client.closed <= 1 for client in made)
    assert all(client.closed == 1 for client in made)
    assert len(made) <= 1 + steps.count("close")
