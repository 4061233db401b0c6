"""A value over a whole run: made at its end, kept, and made again where it was not kept.

Covers: themis.exchange.bundle, themis.exchange.bundles, themis.execution.corpus_values
"""

from __future__ import annotations

import asyncio
import copy
import json
import math
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sacrebleu.metrics import BLEU, CHRF, TER

from tests.support.pairs import text_pairs
from tests.support.runs import experiment
from themis import InMemoryRunStore, Reporter, RunResult, SqliteRunStore, evaluate
from themis.adapters import function
from themis.core.base import RunId
from themis.core.config import StorageConfig
from themis.core.errors import DefinitionError, ParseError
from themis.core.events import Event, EventKind
from themis.core.models import Case, Dataset, Score, ScoreError
from themis.exchange.bundle import Bundle
from themis.exchange.bundles import (
    export_evaluation_bundle,
    export_score_bundle,
    import_evaluation_bundle,
    import_score_bundle,
)
from themis.testing.scripted import CountingMetric, CountingParser, ScriptedGenerator

SACRE = {"builtin/bleu": BLEU, "builtin/chrf": CHRF, "builtin/ter": TER}
PAIRS = text_pairs(60, seed=5)


class MicroF1(CountingMetric):
    """A user's corpus metric: F1 of counts that are added up over the run."""

    kind = "value"
    value_range = (0.0, 1.0)
    additive = True

    def __init__(self) -> None:
        super().__init__(component_id="micro_f1")
        self.rows: list[int] = []

    def score(self, parsed: Any, case: Case, ctx: Any) -> Score | ScoreError:
        right, given = set(case.expected_output), set(parsed.value)
        counts = [len(right & given), len(given - right), len(right - given)]
        value = 2 * counts[0] / max(1, 2 * counts[0] + counts[1] + counts[2])
        return Score(metric_id="micro_f1", value=value, details={"statistics": counts})

    def aggregate(self, statistics: Sequence[Sequence[float]]) -> float:
        self.rows.append(len(statistics))
        hit, extra, missed = (sum(column) for column in zip(*statistics, strict=True))
        return 2 * hit / (2 * hit + extra + missed)


SETS = [("ab", "abc"), ("xy", "abc"), ("abc", "abc"), ("a", "ab"), ("bcd", "ab")]


def sets_run(metric: Any, store: Any) -> RunResult:
    return experiment(
        ScriptedGenerator(lambda case, ctx: list(SETS[case.input][0]), fingerprint="sets"),
        cases=Dataset(
            dataset_id="sets",
            cases=[
                Case(case_id=f"c{i}", input=i, expected_output=list(right))
                for i, (_, right) in enumerate(SETS)
            ],
        ),
        metrics=[metric],
    ).run(store=store)


def test_a_users_aggregate_is_made_at_the_runs_end_and_kept_for_who_has_no_component(
    tmp_path: Path,
) -> None:
    store = SqliteRunStore(tmp_path / "runs.db")
    store.initialize()
    metric = MicroF1()
    result = sets_run(metric, store)
    run_id = result.run_id
    store.close()
    metric.rows.clear()
    opened = SqliteRunStore(tmp_path / "runs.db")
    opened.initialize()
    summary = RunResult.of(opened, run_id).metrics["micro_f1"]
    assert metric.rows == []
    hit = [len(set(said) & set(right)) for said, right in SETS]
    extra = [len(set(said) - set(right)) for said, right in SETS]
    missed = [len(set(right) - set(said)) for said, right in SETS]
    assert summary.corpus is not None
    assert summary.value == summary.corpus.value
    assert summary.value == 2 * sum(hit) / (2 * sum(hit) + sum(extra) + sum(missed))
    assert summary.mean != summary.value
    assert summary.corpus.interval is not None
    low, high = summary.corpus.interval
    assert low < summary.value < high
    assert (summary.corpus.resamples, summary.corpus.interval_method) == (1000, "bootstrap")
    opened.close()


def pairs_run(store: Any, **more: Any) -> RunResult:
    """Run the pairs, answers arriving out of order."""

    async def wait() -> None:
        await asyncio.sleep(waits.random() / 200)

    waits = Random(3)
    return experiment(
        ScriptedGenerator({f"c{i}": pair.answer for i, pair in enumerate(PAIRS)}, wait=wait),
        cases=Dataset(
            dataset_id="pairs",
            cases=[
                Case(case_id=f"c{i}", input="?", expected_output=pair.right)
                for i, pair in enumerate(PAIRS)
            ],
        ),
        metrics=list(SACRE),
        max_concurrent_tasks=16,
        **more,
    ).run(store=store)


def expected(name: str, most: int | None = None) -> float:
    pairs = PAIRS[:most]
    width = max(len(pair.right) for pair in pairs)
    streams = [
        [pair.right[place] if place < len(pair.right) else None for pair in pairs]
        for place in range(width)
    ]
    return float(SACRE[name]().corpus_score([pair.answer for pair in pairs], streams).score)


class Counting(InMemoryRunStore):
    """A store that counts readings of cases."""

    readings = 0

    def case_events(self, run_id: RunId, start: int, stop: int) -> Iterator[Event]:
        self.readings += 1
        return super().case_events(run_id, start, stop)


def test_corpus_scores_are_sacrebleus_whether_kept_or_made_again() -> None:
    store = Counting()
    result = pairs_run(store)
    store.readings = 0
    kept = {name: result.metrics[name].corpus for name in SACRE}
    assert store.readings == 0
    for name, corpus in kept.items():
        assert corpus is not None
        assert corpus.value == expected(name)
        assert corpus.n_cases == len(PAIRS)
    # A journal that goes on after the end has kept nothing that holds.
    (last,) = store.events(result.run_id, kinds=[EventKind.RUN_FINISHED])
    note = Event(kind=EventKind.NOTE, attempt=1, at=last.at, seq=last.seq + 1, data={"text": "x"})
    store.append(result.run_id, [note], epoch=1)
    again = RunResult.of(store, result.run_id)
    assert {name: again.metrics[name].corpus for name in SACRE} == kept
    assert store.readings > 0


def test_an_imported_run_has_the_corpus_scores_of_the_one_it_came_from() -> None:
    store, target = InMemoryRunStore(), Counting()
    result = pairs_run(store)
    import_evaluation_bundle(target, export_evaluation_bundle(store, result.run_id))
    target.readings = 0
    brought = RunResult.of(target, result.run_id)
    assert {name: one.corpus for name, one in brought.metrics.items()} == {
        name: one.corpus for name, one in result.metrics.items()
    }
    assert target.readings == 0


@pytest.mark.parametrize(
    ("leave", "enter"),
    [
        (export_evaluation_bundle, import_evaluation_bundle),
        (export_score_bundle, import_score_bundle),
    ],
)
def test_a_users_corpus_value_goes_along_in_a_bundle_and_on_to_the_next(
    leave: Any, enter: Any
) -> None:
    stores = [InMemoryRunStore() for _ in range(3)]
    result = sets_run(MicroF1(), stores[0])
    for one, other in pairwise(stores):
        enter(other, leave(one, result.run_id))
    brought = RunResult.of(stores[-1], result.run_id).metrics["micro_f1"].corpus
    assert brought is not None
    assert brought.value is not None
    assert brought == result.metrics["micro_f1"].corpus


def test_a_users_corpus_value_of_other_scores_than_those_that_arrived_is_not_taken_over() -> None:
    store, target = InMemoryRunStore(), InMemoryRunStore()
    result = sets_run(MicroF1(), store)
    bundle = export_evaluation_bundle(store, result.run_id)
    told = {**bundle.manifest["corpus"]["micro_f1"], "statistics": "0" * 64}
    changed = Bundle.of({**bundle.manifest, "corpus": {"micro_f1": told}}, bundle.records())
    import_evaluation_bundle(target, changed)
    corpus = RunResult.of(target, result.run_id).metrics["micro_f1"].corpus
    assert corpus is not None
    assert corpus.value is None
    assert "not the catalog's" in str(corpus.failure)


def test_a_run_as_of_an_earlier_attempt_has_the_value_of_that_attempt() -> None:
    store = InMemoryRunStore()
    value = iter([0.25, 0.75])

    class Changing(CountingMetric):
        def score(self, parsed: Any, case: Case, ctx: Any) -> Score:
            return Score(metric_id="m", value=1, details={"statistics": [1]})

        def aggregate(self, statistics: Sequence[Sequence[float]]) -> float:
            return one_value

    one = experiment(metrics=[Changing()])
    one_value = next(value)
    run_id = one.run(store=store).run_id
    one_value = next(value)
    one.replay(stage="score", store=store)
    assert RunResult.of(store, run_id).metrics["counting/metric"].value == 0.75
    assert RunResult.of(store, f"{run_id}@1").metrics["counting/metric"].value == 0.25


def test_what_is_no_score_is_outside_and_counted() -> None:
    def read(output: Any) -> Any:
        if output == PAIRS[1].answer:
            raise ParseError("nothing found")
        return output

    store = InMemoryRunStore()
    result = experiment(
        ScriptedGenerator(
            {f"c{i}": pair.answer for i, pair in enumerate(PAIRS[:8])},
            failures={"c0": ConnectionError("down")},
        ),
        cases=Dataset(
            dataset_id="pairs",
            cases=[
                Case(case_id=f"c{i}", input="?", expected_output=pair.right)
                for i, pair in enumerate(PAIRS[:8])
            ],
        ),
        parser=CountingParser(read),
        metrics=["builtin/bleu"],
        generation_retry_attempts=1,
    ).run(store=store)
    summary = result.metrics["builtin/bleu"]
    assert summary.corpus is not None
    assert (summary.corpus.n_cases, summary.corpus.n_without) == (6, 2)
    assert (summary.n_errors, summary.n_unparsed) == (1, 1)
    kept = PAIRS[2:8]
    width = max(len(pair.right) for pair in kept)
    streams = [
        [pair.right[place] if place < len(pair.right) else None for pair in kept]
        for place in range(width)
    ]
    score = BLEU().corpus_score([pair.answer for pair in kept], streams).score
    assert summary.value == score
    assert "2 rows without statistics are not in it" in repr(result)


@pytest.mark.parametrize(
    ("statistics", "said"),
    [
        (None, "statistics"),
        ([], "statistics"),
        ([True], "statistics"),
        (["1"], "statistics"),
        ([10**400], "no float can hold"),
    ],
)
def test_a_score_without_numbers_to_aggregate_is_an_error_of_its_case(
    statistics: Any, said: str
) -> None:
    class Careless(MicroF1):
        def score(self, parsed: Any, case: Case, ctx: Any) -> Score:
            details = {} if statistics is None else {"statistics": statistics}
            return Score(metric_id="m", value=1, details=details)

    result = experiment(metrics=[Careless()]).run()
    assert result.metrics["micro_f1"].n_errors == 3
    assert all(said in str(row.error_message) for row in result.score_rows())


def test_an_aggregate_that_raises_costs_its_value_only_and_says_why() -> None:
    class Broken(MicroF1):
        def score(self, parsed: Any, case: Case, ctx: Any) -> Score:
            return Score(metric_id="m", value=1, details={"statistics": [1, 2]})

        def aggregate(self, statistics: Sequence[Sequence[float]]) -> float:
            raise ZeroDivisionError("nothing to divide by")

    result = experiment(metrics=[Broken()]).run()
    assert result.status == "completed"
    summary = result.metrics["micro_f1"]
    assert (summary.mean, summary.value) == (1.0, None)
    assert "ZeroDivisionError: nothing to divide by" in repr(result)


@pytest.mark.parametrize(
    "said",
    [
        {"interval": [0.1]},
        {"interval": [0.1, 0.2, 0.3]},
        {"interval": [0.9, 0.1]},
        {"interval": None},
        {"interval_method": None},
        {"resamples": None},
        {"resamples": -5},
        {"seed": None},
        {"interval_failure": "none"},
        {"value": None},
        {"value": None, "failure": "none"},
        {"failure": "none"},
        {"n_cases": -1},
    ],
)
def test_a_corpus_value_that_no_run_could_have_kept_is_refused_with_its_bundle(said: Any) -> None:
    store, target = InMemoryRunStore(), InMemoryRunStore()
    bundle = export_evaluation_bundle(store, sets_run(MicroF1(), store).run_id)
    told = copy.deepcopy(bundle.manifest["corpus"])
    told["micro_f1"]["value"] |= said
    with pytest.raises(DefinitionError, match="micro_f1"):
        import_evaluation_bundle(
            target,
            Bundle.read(Bundle.of({**bundle.manifest, "corpus": told}, bundle.records()).data),
        )
    assert target.runs() == []


def test_a_value_whose_cases_drawn_again_have_none_is_shown_without_an_interval() -> None:
    class Rare(MicroF1):
        def score(self, parsed: Any, case: Case, ctx: Any) -> Score:
            found = [1, 1 if case.case_id == "c0" else 0]
            return Score(metric_id="m", value=1, details={"statistics": found})

        def aggregate(self, statistics: Sequence[Sequence[float]]) -> float:
            return sum(row[0] for row in statistics) / sum(row[1] for row in statistics)

    summary = (result := sets_run(Rare(), InMemoryRunStore())).metrics["micro_f1"]
    assert summary.value == len(SETS)
    assert summary.corpus is not None
    assert summary.corpus.interval is None
    assert "no interval, since a resample of the cases has no value" in repr(result)


def test_a_users_value_that_no_end_has_kept_is_told_to_be_missing_and_why() -> None:
    store = InMemoryRunStore()
    result = sets_run(MicroF1(), store)
    (last,) = store.events(result.run_id, kinds=[EventKind.RUN_FINISHED])
    note = Event(kind=EventKind.NOTE, attempt=1, at=last.at, seq=last.seq + 1, data={"text": "x"})
    store.append(result.run_id, [note], epoch=1)
    summary = RunResult.of(store, result.run_id).metrics["micro_f1"]
    assert summary.mean is not None
    assert summary.corpus is not None
    assert (summary.corpus.value, summary.corpus.n_rows) == (None, len(SETS))
    assert "not the catalog's" in str(summary.corpus.failure)


def test_a_run_that_is_interrupted_does_not_wait_for_an_aggregate() -> None:
    released = threading.Event()

    class Endless(MicroF1):
        def aggregate(self, statistics: Sequence[Sequence[float]]) -> float:
            if not released.is_set():
                os.kill(os.getpid(), signal.SIGINT)
                released.wait(120)
            return super().aggregate(statistics)

    store = InMemoryRunStore()
    try:
        result = sets_run(Endless(), store)
    finally:
        assert not released.is_set()
        released.set()
    assert result.status == "completed"
    (end,) = store.events(result.run_id, kinds=[EventKind.RUN_FINISHED])
    assert "headline" in end.data
    assert "corpus" not in end.data


def test_a_corpus_metric_does_not_change_what_a_run_is_called_or_what_its_steps_are() -> None:
    class Plain(CountingMetric):
        pass

    class Corpus(CountingMetric):
        def aggregate(self, statistics: Sequence[Sequence[float]]) -> float:
            return 0.0

    ids = [experiment(metrics=[metric()]).compile().run_id for metric in (Plain, Corpus)]
    assert ids[0] == ids[1]


def test_every_report_tells_the_corpus_value_beside_the_mean_of_cases() -> None:
    store = InMemoryRunStore()
    result = pairs_run(store)
    summary = result.metrics["builtin/bleu"]
    assert summary.value is not None
    assert summary.mean is not None
    shown = {"corpus": f"{summary.value:.3f}", "mean of cases": f"{summary.mean:.3f}"}
    for form in ("md", "tex", "html"):
        told = "".join(Reporter(store).render(result.run_id, _FORMS[form]))
        for what, figure in shown.items():
            (line,) = [
                one for one in told.splitlines() if f"bleu, {what}" in one.replace("\\_", "_")
            ]
            assert figure in line
        assert "percentile bootstrap over cases (1,000 resamples, seed 12345)" in told
    (run,) = json.loads("".join(Reporter(store).render(result.run_id, "json")))["runs"]
    assert run["metrics"][0]["corpus"]["value"] == summary.value
    assert run["metrics"][0]["mean"] == summary.mean
    assert math.isfinite(summary.corpus.interval[0])  # type: ignore[union-attr, index]


def test_an_empty_answer_is_an_empty_segment_and_the_signature_stands_beside() -> None:
    import sacrebleu

    answers = ["the cat sat on the mat today", "", "a quick brown fox jumps over dogs"]
    right = ["the cat sat on the mat", "hello there world", "the quick brown fox jumps over dogs"]
    result = evaluate(
        model=function(lambda text: text.strip(), version="1"),
        data=[
            {"case_id": str(place), "input": one or " ", "expected_output": gold}
            for place, (one, gold) in enumerate(zip(answers, right, strict=True))
        ],
        metric=["builtin/bleu", "builtin/chrf", "builtin/ter"],
        parser="builtin/text",
        storage=StorageConfig(store="memory"),
        progress=False,
    )
    corpora = {name.removeprefix("builtin/"): one.corpus for name, one in result.metrics.items()}
    for name in ("bleu", "chrf", "ter"):
        found: Any = corpora[name]
        assert found.value == getattr(sacrebleu, f"corpus_{name}")(answers, [right]).score
        assert (found.n_rows, found.n_without) == (3, 0)
    assert "eff:no" in corpora["bleu"].signature  # type: ignore[union-attr, operator]


_FORMS = {"md": "markdown", "tex": "latex", "html": "html"}
