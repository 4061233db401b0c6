"""What a model refuses, cuts off or leaves empty is a result: kept, counted, told apart.

Covers: themis.core.endings, themis.execution.stages.parse, themis.execution.stages.score
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.runs import dataset, events, experiment
from themis import InMemoryRunStore, use
from themis.core.contexts import GenerateContext
from themis.core.errors import DefinitionError, ParseError
from themis.core.events import Event, EventKind, Stage
from themis.core.models import Case, GenerationResult, ParsedOutput, Score
from themis.testing.scripted import CountingMetric, CountingParser, ScriptedGenerator, ScriptedJudge

ANSWERS: dict[str, tuple[str, str]] = {
    "c0": ("B", "stop"),
    "c1": ("I will not say B", "refusal"),
    "c2": ("B", "content_filter"),
    "c3": ("It is B, beca", "length"),
    "c4": ("Well, let us see", "length"),
    "c5": (" \n\u00a0", "stop"),
}
GOLD = dataset(len(ANSWERS), gold=lambda _: "B")


def saying(answers: Mapping[str, tuple[Any, str]]) -> ScriptedGenerator:
    """Return a generator that gives, by case id, an output and the reason of its end."""

    def answer(case: Case, ctx: GenerateContext) -> GenerationResult:
        output, reason = answers[case.case_id]
        if isinstance(output, list):
            output, reason = output[ctx.sample_index], reason.split()[ctx.sample_index]
        return GenerationResult(
            candidate_id="x", final_output=output, artifacts={"finish_reason": reason}
        )

    return ScriptedGenerator(answer, fingerprint=repr(sorted(answers.items())))


def letter(output: Any) -> str:
    if "B" not in output:
        raise ParseError("no letter")
    return "B"


class Refusals(CountingMetric):
    """Scores 1 for a refusal."""

    scores_refusals = True
    higher_is_better = False

    def __init__(self) -> None:
        super().__init__(component_id="refusals")
        self.seen: list[tuple[Any, Any]] = []

    def score(self, parsed: ParsedOutput, case: Case, ctx: Any) -> Score:
        self.seen.append((parsed.value, parsed.metadata))
        return Score(metric_id=self.component_id, value=bool(parsed.metadata.get("refused")))


def told(rows: Any) -> list[tuple[Any, ...]]:
    return [(row.outcome, row.value, row.error_category) for row in rows]


def steps(store: InMemoryRunStore, result: Any, stage: Stage) -> list[Event]:
    return [
        one
        for one in events(result, store, EventKind.STEP_DONE)
        if one.address is not None and one.address.stage is stage
    ]


def test_the_models_failures_are_told_apart_and_change_no_status() -> None:
    parser, metric = CountingParser(letter), CountingMetric()
    one = experiment(saying(ANSWERS), cases=GOLD, parser=parser, metrics=[metric])
    result = one.run()
    rows = list(result.score_rows())
    assert told(rows) == [
        ("correct", 1.0, None),
        ("incorrect", 0.0, "refused"),
        ("incorrect", 0.0, "refused"),
        ("correct", 1.0, "truncated"),
        ("incorrect", 0.0, "truncated"),
        ("incorrect", 0.0, "empty"),
    ]
    assert [row.error_message for row in rows] == [
        None,
        "the model refused to answer",
        "a content filter withheld the answer",
        "the answer was cut off at its token limit",
        "no letter",
        "no letter",
    ]
    summary = result.metrics["counting/metric"]
    assert summary.endings == {"empty": 1, "refused": 2, "truncated": 2}
    assert summary.failures == {"empty": 1, "refused": 2, "truncated": 1}
    assert (summary.n_unparsed, summary.n_errors) == (2, 0)
    assert summary.mean == pytest.approx(2 / 6)
    assert result.status == "completed"
    assert "answers: 1 empty, 2 refused, 2 truncated" in repr(result)
    assert result.cases[1].generated_candidates[0].artifacts == {"finish_reason": "refusal"}
    assert result.cases[1].parse_error is not None
    assert result.cases[1].parse_error.category == "refused"
    assert len(parser.calls) == 4  # never of what was refused
    assert sorted(metric.calls) == ["c0", "c3"]


def test_without_a_parser_a_refusal_is_not_scored_by_its_words_either() -> None:
    result = experiment(saying(ANSWERS), cases=GOLD).run()
    assert told(result.score_rows()) == [
        ("correct", 1.0, None),
        ("incorrect", 0.0, "refused"),
        ("incorrect", 0.0, "refused"),
        ("incorrect", 0.0, "truncated"),
        ("incorrect", 0.0, "truncated"),
        ("incorrect", 0.0, "empty"),
    ]
    assert result.metrics["counting/metric"].failures == {"refused": 2}


def test_a_bounded_value_gets_its_worst_and_an_unbounded_one_an_error() -> None:
    class Distance(CountingMetric):
        kind = "value"
        value_range = (0.0, 9.0)
        higher_is_better = False

    class Length(CountingMetric):
        kind = "value"
        value_range = None  # type: ignore[assignment]

    class Strict(CountingMetric):
        unparsed = "error"

    answers = {"c0": ("B", "refusal"), "c1": ("C", "length")}
    metrics = [
        Distance(lambda value, case: 4, component_id="distance"),
        Length(lambda value, case: len(value), component_id="length"),
        Strict(component_id="strict"),
    ]
    parser = CountingParser(letter)
    one = experiment(saying(answers), cases=2, metrics=metrics, parser=parser)
    result = one.run()
    assert told(result.score_rows()) == [
        ("scored", 9.0, "refused"),
        ("error", None, "refused"),
        ("error", None, "refused"),
        ("scored", 9.0, "truncated"),
        ("error", None, "truncated"),
        ("error", None, "truncated"),
    ]
    strict = result.metrics["strict"]
    assert (strict.errors, strict.n_unparsed) == ({"refused": 1, "truncated": 1}, 1)
    assert strict.endings == {"refused": 1, "truncated": 1}
    assert result.status == "completed"


def test_a_metric_that_scores_refusals_sees_their_text_and_is_told() -> None:
    metric = Refusals()
    parser = CountingParser(letter)
    result = experiment(saying(ANSWERS), cases=GOLD, metrics=[metric], parser=parser).run()
    assert ("I will not say B", {"refused": True}) in metric.seen
    assert ("B", {"refused": True}) in metric.seen
    assert ("B", {}) in metric.seen
    rows = list(result.score_rows())
    assert [row.value for row in rows] == [0.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    assert [row.error_category for row in rows[:4]] == [None, "refused", "refused", "truncated"]
    assert result.metrics["refusals"].failures == {"empty": 1, "truncated": 1}


def test_whether_a_metric_scores_refusals_is_asked_only_where_it_says_so() -> None:
    def asked(value: Any) -> tuple[str, bool]:
        metric = CountingMetric()
        if value is not None:
            metric.scores_refusals = value  # type: ignore[attr-defined]
        snapshot = experiment(metrics=[metric]).compile()
        return snapshot.run_id, "scores_refusals" in str(snapshot.identity.asked())

    assert asked(None) == asked(False)
    assert not asked(None)[1]
    assert asked(True)[0] != asked(None)[0]
    with pytest.raises(DefinitionError, match="scores_refusals is 'yes'; it must be True or False"):
        asked("yes")


def test_a_judge_sees_a_refusal_as_it_is() -> None:
    judge = ScriptedJudge("VERDICT: PASS")
    rubric = use("builtin/llm_rubric", rubric="Is it polite?", name="polite")
    answers = {"c0": ("I would rather not", "refusal")}
    result = experiment(saying(answers), cases=1, metrics=[rubric], judges=[judge]).run()
    assert "I would rather not" in judge.prompts[0]
    (row,) = result.score_rows()
    assert (row.value, row.error_category) == (1.0, "refused")
    assert result.metrics["polite"].failures == {}
    assert result.metrics["polite"].endings == {"refused": 1}


@pytest.mark.parametrize("reducer", [None, "builtin/majority_vote"])
@pytest.mark.parametrize("stage", [Stage.PARSE, Stage.SCORE])
def test_the_same_text_has_another_key_where_it_is_a_refusal_and_only_there(
    stage: Stage, reducer: str | None
) -> None:
    def key(reason: str | None) -> Any:
        store = InMemoryRunStore()
        store.initialize()
        result = GenerationResult(
            candidate_id="x",
            final_output="B",
            artifacts=None if reason is None else {"finish_reason": reason},
        )
        generator = ScriptedGenerator(lambda case, ctx: result, fingerprint=str(reason))
        one = experiment(generator, cases=1, parser=CountingParser(letter), reducer=reducer)
        return steps(store, one.run(store=store), stage)[-1].key

    plain = key(None)
    assert key("stop") == key("length") == plain
    assert len({plain, key("refusal"), key("content_filter")}) == 3


def test_a_refusal_in_the_store_is_still_one_when_it_is_found_again() -> None:
    store = InMemoryRunStore()
    store.initialize()
    generator = saying(ANSWERS)
    experiment(generator, cases=GOLD, metrics=[]).run(store=store)
    result = experiment(generator, cases=GOLD, parser=CountingParser(letter)).run(store=store)
    assert generator.count() == len(ANSWERS)
    assert [row.outcome for row in result.score_rows()].count("correct") == 2


def test_each_sample_has_its_own_ending() -> None:
    answers = {"c0": (["B", "B", "B"], "stop refusal length")}
    result = experiment(saying(answers), cases=dataset(1, gold=lambda _: "B"), samples=3).run()
    assert told(result.score_rows()) == [
        ("correct", 1.0, None),
        ("incorrect", 0.0, "refused"),
        ("correct", 1.0, "truncated"),
    ]


VOTES = {
    "all cut off": (["B", "B", "B"], "length length length", ("correct", 1.0, "truncated")),
    "one cut off": (["B", "B", "B"], "stop length stop", ("correct", 1.0, None)),
    "cut off and empty": (["B", "B", ""], "length length stop", ("correct", 1.0, None)),
    "all refused": (["B", "B", "B"], "refusal refusal refusal", ("incorrect", 0.0, "refused")),
    "one answered": (["C", "B", "C"], "refusal stop refusal", ("correct", 1.0, None)),
    "one unreadable": (["B", "?", "B"], "refusal stop refusal", ("incorrect", 0.0, "refused")),
}


@pytest.mark.parametrize("what", VOTES)
def test_a_vote_counts_no_refusal_and_has_the_ending_that_all_share(what: str) -> None:
    outputs, reasons, row = VOTES[what]
    one = experiment(
        saying({"c0": (outputs, reasons)}),
        cases=dataset(1, gold=lambda _: "B"),
        samples=3,
        reducer="builtin/majority_vote",
        parser=CountingParser(letter),
    )
    assert told(one.run().score_rows()) == [row]


def test_a_blank_text_beside_tool_calls_is_no_empty_answer() -> None:
    answers = {"c0": ("", "tool_calls"), "c1": ("", "stop")}
    result = experiment(saying(answers), cases=2).run()
    assert [row.error_category for row in result.score_rows()] == [None, "empty"]


def test_tries_that_failed_before_an_answer_are_told_with_it() -> None:
    generator = ScriptedGenerator(failures={"c0": [ConnectionError("gone"), TimeoutError("late")]})
    judge = ScriptedJudge("VERDICT: PASS", failures=[ConnectionError("busy")])
    one = experiment(
        generator,
        cases=1,
        metrics=[use("builtin/llm_rubric", rubric="Is it right?", name="right")],
        judges=[judge],
        generation_retry_attempts=3,
        judge_retry_attempts=2,
    )
    case = one.run().cases[0]
    artifacts = case.generated_candidates[0].artifacts or {}
    assert [one["message"] for one in artifacts["tries"]] == ["gone", "late"]
    (response,) = case.evaluation_executions[0].responses.values()
    tries = (response.artifacts or {})["tries"]
    assert [(one["category"], one["cause"]) for one in tries] == [("judge", "ConnectionError")]
    assert "asked" in (response.artifacts or {})
