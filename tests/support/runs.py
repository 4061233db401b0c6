"""Small experiments over scripted components, and the few questions that tests ask of a result."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from themis import Experiment, InMemoryRunStore, RunResult
from themis.core.base import ArtifactKey, RunId
from themis.core.config import EvaluationConfig, GenerationConfig, RuntimeConfig, StorageConfig
from themis.core.events import Event
from themis.core.models import Case, Dataset
from themis.core.prompts import PromptSpec
from themis.core.store import Lease, RunStore
from themis.testing.scripted import CountingMetric, ScriptedGenerator

AT_ONCE: dict[str, Any] = {
    "generation_retry_delay": 0.0,
    "judge_retry_delay": 0.0,
    "store_retry_delay": 0.0,
}


def runtime(**settings: Any) -> RuntimeConfig:
    """Return settings under which nothing waits for a second try."""
    return RuntimeConfig(**{**AT_ONCE, **settings})


def dataset(
    n: int = 3, *, dataset_id: str = "data", gold: Callable[[int], Any] | None = None
) -> Dataset:
    """Return cases c0, c1, ... whose input is their number and whose gold answer is the same."""
    return Dataset(
        dataset_id=dataset_id,
        cases=[
            Case(case_id=f"c{i}", input=i, expected_output=i if gold is None else gold(i))
            for i in range(n)
        ],
    )


def experiment(
    generator: Any = None,
    *,
    cases: int | Dataset | Sequence[Dataset] = 3,
    samples: int = 1,
    metrics: Sequence[Any] | None = None,
    parser: Any = None,
    judges: Sequence[Any] = (),
    selector: Any = None,
    reducer: Any = None,
    prompt: PromptSpec | None = None,
    seeds: Sequence[int] = (),
    judge_config: Mapping[str, Any] | None = None,
    storage: StorageConfig | None = None,
    **settings: Any,
) -> Experiment:
    """Return an experiment that is kept in memory, with scripted parts where none are given."""
    data = dataset(cases) if isinstance(cases, int) else cases
    return Experiment(
        generation=GenerationConfig(
            generator=ScriptedGenerator() if generator is None else generator,
            candidate_policy={"num_samples": samples},
            selector=selector,
            reducer=reducer,
            prompt_spec=prompt,
        ),
        evaluation=EvaluationConfig(
            metrics=[CountingMetric()] if metrics is None else list(metrics),
            parsers=[] if parser is None else [parser],
            judge_models=list(judges),
            judge_config=dict(judge_config or {}),
        ),
        storage=storage or StorageConfig(store="memory"),
        runtime=runtime(**settings),
        datasets=[data] if isinstance(data, Dataset) else list(data),
        seeds=list(seeds),
    )


def table(result: RunResult) -> list[tuple[Any, ...]]:
    """Return the score table, as far as two runs of the same experiment must agree."""
    return [
        (row.dataset_id, row.case_id, row.metric_id, row.candidate_id, row.value, row.outcome)
        for row in result.score_rows()
    ]


def events(result: RunResult, store: RunStore, kind: str | None = None) -> list[Event]:
    """Return the run's events, of one kind if named."""
    return [one for one in store.events(result.run_id) if kind is None or one.kind == kind]


class UnreliableStore(InMemoryRunStore):
    """A store that is away for the first ``outages`` times that a method is asked."""

    def __init__(self, outages: Mapping[str, int]) -> None:
        super().__init__()
        self.outages = dict(outages)
        self.asked: dict[str, int] = {}

    def _maybe(self, name: str) -> None:
        from themis.core.errors import StoreUnavailableError

        self.asked[name] = self.asked.get(name, 0) + 1
        if self.outages.get(name, 0) > 0:
            self.outages[name] -= 1
            raise StoreUnavailableError(f"the store is away ({name})")

    def append(
        self, run_id: RunId, events: Sequence[Event], *, epoch: int
    ) -> Sequence[ArtifactKey]:
        self._maybe("append")
        return super().append(run_id, events, epoch=epoch)

    def lookup(self, keys: Collection[ArtifactKey]) -> Any:
        self._maybe("lookup")
        return super().lookup(keys)

    def save_cases(self, fingerprint: str, start: int, cases: Any) -> None:
        self._maybe("save_cases")
        super().save_cases(fingerprint, start, cases)

    def release(self, lease: Lease) -> None:
        self._maybe("release")
        super().release(lease)
