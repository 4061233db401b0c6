"""Metrics of samples together fold every sample's score, or are an error for its reason.

Covers: themis.catalog.metrics.samples, themis.core.protocols, themis.execution.stages.score_set
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.runs import dataset, experiment
from themis import InMemoryRunStore, use
from themis.core.contexts import SetScoreContext
from themis.core.errors import DefinitionError, ParseError, ProviderError
from themis.core.events import EventKind, Stage
from themis.core.models import Case, SampleScore, Score, ScoreError
from themis.core.results import ScoreRow
from themis.testing.scripted import CountingMetric, CountingParser, ScriptedGenerator

BASE = "counting/metric"
PASS = use("builtin/pass_at_k", of=BASE, k=2, name="pass@2")


class Spread(CountingMetric):
    """A user's set metric: greatest less least score."""

    value_range = (0.0, 1.0)
    kind = "value"
    of = BASE

    def __init__(self) -> None:
        super().__init__(component_id="spread")
        self.seen: list[list[SampleScore]] = []

    def score_set(self, scores: list[SampleScore], case: Case, ctx: SetScoreContext) -> Score:
        self.seen.append(scores)
        values = [one.value for one in scores]
        return Score(metric_id="spread", value=max(values) - min(values))


def rows_of(result: Any, name: str) -> list[ScoreRow]:
    return [row for row in result.score_rows() if row.metric_id == name]


def answers(**by_case: list[Any]) -> ScriptedGenerator:
    return ScriptedGenerator(by_case)


def test_several_k_of_one_base_stand_side_by_side_and_have_the_papers_values() -> None:
    generator = answers(c0=[0, 9, 9, 9], c1=[1, 1, 9, 9], c2=[9, 9, 9, 9])
    passes = [use("builtin/pass_at_k", of=BASE, k=k, name=f"pass@{k}") for k in (1, 2, 4)]
    result = experiment(generator, samples=4, metrics=[*passes, CountingMetric()]).run()
    assert [row.value for row in rows_of(result, "pass@1")] == [0.25, 0.5, 0.0]
    assert [row.value for row in rows_of(result, "pass@2")] == [0.5, 1 - 1 / 6, 0.0]
    assert [row.value for row in rows_of(result, "pass@4")] == [1.0, 1.0, 0.0]
    (first, *_) = rows_of(result, "pass@2")
    assert (first.candidate_id, first.outcome, first.details) == (None, "scored", {"n": 4, "c": 1})
    summary = result.metrics["pass@2"]
    assert (summary.n_scored, summary.n_cases_scored, summary.value_range) == (3, 3, [0.0, 1.0])


def test_each_shipped_metric_folds_what_its_base_gave() -> None:
    generator = answers(c0=[0, 5, 5, 5])
    folded = ["best_at_k", "mean_at_k", "maj_at_k"]
    metrics = [use(f"builtin/{name}", of=BASE, k=3, name=name) for name in folded]
    consistency = use("builtin/consistency", of=BASE, name="consistency")
    result = experiment(
        generator, cases=1, samples=4, metrics=[CountingMetric(), *metrics, consistency]
    ).run()
    values = {name: one.value for name, one in result.metrics.items()}
    assert values == {
        BASE: 0.25,
        "best_at_k": 0.75,
        "mean_at_k": 0.25,
        "maj_at_k": 0.0,
        "consistency": 0.75,
    }


def test_the_best_is_the_least_where_less_is_better() -> None:
    class Edits(CountingMetric):
        kind = "value"
        higher_is_better = False
        value_range = (0.0, 9.0)
        unit = "edits"

    metric = Edits(lambda value, _: float(value))
    best = use("builtin/best_at_k", of=BASE, k=3, name="best")
    result = experiment(answers(c0=[4, 2, 7]), cases=1, samples=3, metrics=[metric, best]).run()
    summary = result.metrics["best"]
    assert summary.value == 2.0
    assert (summary.higher_is_better, summary.value_range) == (False, [0.0, 9.0])
    assert summary.unit == "edits"


def test_a_sample_that_was_not_generated_makes_the_case_an_error_and_heals() -> None:
    generator = ScriptedGenerator(
        {"c0": [0, 0, 0], "c1": [1, 9, 9], "c2": [2, 2, 2]},
        failures={"c1": [None, ProviderError("down", status=400, retryable=False)]},
    )
    one = experiment(generator, samples=3, metrics=[CountingMetric(), PASS])
    first = one.run()
    assert [(row.value, row.error_category) for row in rows_of(first, "pass@2")] == [
        (1.0, None),
        (None, "generation"),
        (1.0, None),
    ]
    assert first.metrics["pass@2"].n_errors == 1
    assert first.status == "partial_failure"
    again = one.run()
    assert [row.value for row in rows_of(again, "pass@2")] == [1.0, 2 / 3, 1.0]
    assert again.status == "completed"


def test_a_sample_that_could_not_be_scored_makes_the_case_an_error_of_that_category() -> None:
    def rule(value: Any, case: Case) -> Any:
        if value == "broken":
            raise RuntimeError("no scorer today")
        if value == "odd":
            return ScoreError(metric_id="m", reason="nothing to compare")
        return value == case.expected_output

    generator = answers(c0=[0, "odd"], c1=[1, "broken"], c2=["odd", "broken"])
    one = experiment(generator, samples=2, metrics=[CountingMetric(rule), PASS])
    result = one.run()
    rows = rows_of(result, "pass@2")
    assert [(row.value, row.error_category) for row in rows] == [(None, "scoring")] * 3
    assert "sample 1" in str(rows[0].error_message)
    assert "nothing to compare" in str(rows[0].error_message)
    assert "sample 1" in str(rows[2].error_message), "what may heal is told before what may not"
    failed = [
        "settled" in event.data
        for event in one.store.events(result.run_id, kinds=[EventKind.STEP_FAILED])
        if event.address is not None and event.address.component == "pass@2"
    ]
    assert sorted(failed) == [False, False, True]


def test_what_the_model_failed_at_is_incorrect_as_its_base_metric_has_it() -> None:
    def read(output: Any) -> Any:
        if output == "?":
            raise ParseError("nothing found")
        return output

    spread = Spread()
    spread.reads_parsed = True  # type: ignore[attr-defined]
    majority = use("builtin/maj_at_k", of=BASE, k=3, name="majority")
    consistency = use("builtin/consistency", of=BASE, name="consistency")
    result = experiment(
        answers(c0=[0, "?", "?"]),
        cases=1,
        samples=3,
        parser=CountingParser(read),
        metrics=[CountingMetric(), PASS, spread, majority, consistency],
    ).run()
    (row,) = rows_of(result, "pass@2")
    assert row.value == 2 / 3
    assert row.details == {"n": 3, "c": 1}
    assert result.metrics["majority"].value == 1.0
    assert result.metrics["consistency"].value == 1 / 3
    (seen,) = spread.seen
    assert [(one.value, one.failure) for one in seen] == [
        (1.0, None),
        (0.0, "parse_failure"),
        (0.0, "parse_failure"),
    ]
    assert [None if one.parsed is None else one.parsed.value for one in seen] == [0, None, None]


def test_a_users_set_metric_is_given_the_scores_in_order_and_no_parsed_values_unasked() -> None:
    spread = Spread()
    result = experiment(
        answers(c0=[9, 0, 9]), cases=1, samples=3, metrics=[CountingMetric(), spread]
    ).run()
    assert result.metrics["spread"].value == 1.0
    (seen,) = spread.seen
    assert [(one.sample, one.value, one.parsed) for one in seen] == [
        (0, 0.0, None),
        (1, 1.0, None),
        (2, 0.0, None),
    ]


def test_equal_scores_are_folded_once_and_more_samples_fold_anew() -> None:
    store = InMemoryRunStore()

    def folded(samples: int) -> int:
        spread = Spread()
        generator = ScriptedGenerator(lambda case, ctx: case.input, fingerprint="same")
        experiment(generator, cases=2, samples=samples, metrics=[CountingMetric(), spread]).run(
            store=store
        )
        return len(spread.seen)

    assert folded(2) == 2
    assert folded(2) == 0
    assert folded(3) == 2


def test_a_run_up_to_scores_folds_them_and_a_plan_foretells_every_step() -> None:
    one = experiment(answers(c0=[0, 1]), samples=2, metrics=[CountingMetric(), PASS])
    plan = one.plan()
    assert plan.stages["score"].to_run == 3 * (2 + 1)
    assert one.estimate().steps["score"] == 9
    result = one.run(until_stage="score")
    assert result.progress.stages["score"].done == 9
    assert one.plan().stages["score"].done == 9


def test_a_plan_knows_that_a_set_rests_on_scores_that_are_not_there() -> None:
    store = InMemoryRunStore()
    parts: dict[str, Any] = {"samples": 2}
    generator = ScriptedGenerator(fingerprint="same")
    experiment(generator, metrics=[CountingMetric(fingerprint="a"), PASS], **parts).run(store=store)
    changed = experiment(generator, metrics=[CountingMetric(fingerprint="b"), PASS], **parts)
    reasons = [
        reason
        for reason in changed.plan(store=store).stages["score"].reasons
        if reason.component == "pass@2"
    ]
    assert [(reason.count, reason.causes) for reason in reasons] == [(3, ["depends"])]
    assert "6 new score steps" in reasons[0].text


def test_replaying_the_scores_folds_them_again() -> None:
    spread = Spread()
    one = experiment(answers(), cases=2, samples=2, metrics=[CountingMetric(), spread])
    one.run()
    one.replay(stage=Stage.SCORE.value)
    assert len(spread.seen) == 4


REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    ({"metrics": [use("builtin/pass_at_k", of="counting/metri", k=1)]}, ["add it to metrics"]),
    (
        {"metrics": [CountingMetric(), use("builtin/pass_at_k", of="counting/metri", k=1)]},
        ["did you mean 'counting/metric'"],
    ),
    ({"samples": 1}, ["k = 2", "num_samples = 1"]),
    ({"reducer": "builtin/first"}, ["the reducer", "generation.reducer"]),
    ({"metrics": [PASS, use("builtin/best_at_k", of="pass@2", k=1)]}, ["candidate-set"]),
    ({"metrics": [use("builtin/pass_at_k", of="builtin/f1", k=1), "builtin/f1"]}, ["no binary"]),
    (
        {
            "metrics": [
                use("builtin/llm_rubric", rubric="It is right.", name="rubric"),
                use("builtin/pass_at_k", of="rubric", k=1),
            ]
        },
        ["of = 'rubric' is judged, and judging comes after", "without a judge"],
    ),
    (
        {"metrics": [CountingMetric(), PASS.model_copy(update={"parser": "builtin/text"})]},
        ["give the parser to the metric 'counting/metric'"],
    ),
]


@pytest.mark.parametrize(("change", "words"), REFUSED)
def test_a_set_metric_that_cannot_be_folded_is_refused_while_compiling(
    change: dict[str, Any], words: list[str]
) -> None:
    parts: dict[str, Any] = {"samples": 2, "metrics": [CountingMetric(), PASS], **change}
    if "candidate-set" in words:
        parts["metrics"] = [CountingMetric(), *parts["metrics"]]
    with pytest.raises(DefinitionError) as refused:
        experiment(cases=dataset(2), **parts).compile()
    assert [word for word in words if word not in str(refused.value)] == []
