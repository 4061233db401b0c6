"""Cases are read from the dataset as they are needed, and not far ahead.

Covers: themis.execution.feed
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.runs import experiment
from themis.core.errors import ProviderError, RunStoppedError
from themis.core.models import Case, Dataset
from themis.testing.scripted import ScriptedGenerator


class CountedSource:
    """A lazily read dataset that knows how far it was read."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.read = 0

    def __iter__(self) -> Any:
        for i in range(self.n):
            self.read += 1
            yield Case(case_id=f"c{i}", input=i, expected_output=i)


def test_a_blocked_generator_bounds_what_is_read_ahead() -> None:
    source = CountedSource(20_000)
    read_at: list[int] = []

    async def blocked() -> None:
        await asyncio.sleep(0.3)
        read_at.append(source.read)
        raise ProviderError("enough", fatal=True)

    data = Dataset.from_source(source, dataset_id="large")
    one = experiment(ScriptedGenerator(wait=blocked), cases=data, max_concurrent_tasks=8)
    with pytest.raises(RunStoppedError):
        one.run()
    assert max(read_at) - 20_000 <= 2_000
