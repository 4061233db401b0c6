"""Only what changed is done again: every count here is of calls really made.

Covers: themis.execution.case, themis.execution.case_run, themis.execution.run_or_reuse,
themis.planning.keys
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.runs import dataset, experiment, table
from themis import InMemoryRunStore, use
from themis.core.base import CaseId
from themis.core.errors import DefinitionError, ParseError, RunExistsError
from themis.core.models import Case, Dataset
from themis.core.prompts import PromptSpec
from themis.testing.scripted import (
    CountingMetric,
    CountingParser,
    ScriptedGenerator,
    ScriptedJudge,
)


def test_samples_without_a_reducer_are_each_parsed_and_scored() -> None:
    generator = ScriptedGenerator({"c0": [0, 9, 0, 0], "c1": [9, 9, 1, 1]})
    parser, metric = CountingParser(), CountingMetric()
    result = experiment(generator, cases=2, samples=4, parser=parser, metrics=[metric]).run()
    rows = list(result.score_rows())
    assert len(rows) == 8
    assert len({(row.case_id, row.candidate_id) for row in rows}) == 8
    assert [row.value for row in rows] == [1, 0, 1, 1, 0, 0, 1, 1]
    assert result.metrics[metric.component_id].mean == pytest.approx((0.75 + 0.5) / 2)
    assert result.metrics[metric.component_id].n_cases_scored == 2
    assert len(parser.calls) == len(metric.calls) == 8
    case = result.cases[0]
    assert len(case.generated_candidates) == 4
    assert sorted(case.parsed_outputs) == sorted(c.candidate_id for c in case.generated_candidates)


def test_running_again_does_nothing() -> None:
    generator, parser, metric = ScriptedGenerator(), CountingParser(), CountingMetric()
    one = experiment(generator, parser=parser, metrics=[metric])
    first = one.run()
    journal = len(list(one.store.events(first.run_id)))
    second = one.run()
    assert table(first) == table(second)
    assert len(generator.calls) == len(parser.calls) == len(metric.calls) == 3
    assert len(list(one.store.events(first.run_id))) == journal


def test_another_metric_generates_nothing_and_another_prompt_everything() -> None:
    store, generator = InMemoryRunStore(), ScriptedGenerator()
    first = experiment(generator).run(store=store)
    other = experiment(generator, metrics=[CountingMetric(component_id="other")]).run(store=store)
    assert generator.count() == 3
    assert other.run_id != first.run_id
    assert other.progress.stages["generate"].reused == 3
    prompted = experiment(generator, prompt=PromptSpec(prefix="Think.")).run(store=store)
    assert generator.count() == 6
    assert prompted.run_id not in (first.run_id, other.run_id)


def test_two_experiments_over_one_store_share_what_they_have_in_common() -> None:
    store = InMemoryRunStore()
    generator, parser, metric = ScriptedGenerator(), CountingParser(), CountingMetric()
    experiment(generator, parser=parser, metrics=[metric]).run(store=store)
    added = CountingMetric(component_id="added")
    experiment(generator, parser=parser, metrics=[metric, added]).run(store=store)
    assert len(generator.calls) == len(parser.calls) == len(metric.calls) == len(added.calls) == 3


def test_a_corrected_gold_answer_redoes_that_score_only() -> None:
    store = InMemoryRunStore()
    generator, parser, metric = ScriptedGenerator(), CountingParser(), CountingMetric()
    wrong = dataset(5, gold=lambda i: i if i != 2 else 99)
    before = experiment(generator, cases=wrong, parser=parser, metrics=[metric]).run(store=store)
    after = experiment(generator, cases=5, parser=parser, metrics=[metric]).run(store=store)
    assert before.run_id != after.run_id
    assert (generator.count(), len(parser.calls), len(metric.calls)) == (5, 5, 6)
    assert metric.calls[-1] == "c2"
    assert before.metrics[metric.component_id].mean == 0.8
    assert after.metrics[metric.component_id].mean == 1.0


def test_more_samples_keep_those_there_are() -> None:
    store, generator, metric = InMemoryRunStore(), ScriptedGenerator(), CountingMetric()
    experiment(generator, samples=4, metrics=[metric]).run(store=store)
    generator.calls.clear()
    metric.calls.clear()
    result = experiment(generator, samples=8, metrics=[metric]).run(store=store)
    assert sorted(generator.calls) == [
        (f"c{i}", sample) for i in range(3) for sample in range(4, 8)
    ]
    assert len(metric.calls) <= 12
    assert len(table(result)) == 24


def test_a_dataset_that_grew_generates_its_new_cases_only() -> None:
    store, generator = InMemoryRunStore(), ScriptedGenerator()
    experiment(generator, cases=3).run(store=store)
    experiment(generator, cases=7).run(store=store)
    assert [case_id for case_id, _ in generator.calls[3:]] == ["c3", "c4", "c5", "c6"]


def test_another_order_of_the_cases_generates_nothing() -> None:
    store, generator = InMemoryRunStore(), ScriptedGenerator()
    data = dataset(5)
    first = experiment(generator, cases=data).run(store=store)
    turned = Dataset(dataset_id="data", cases=list(reversed(data.cases)))
    second = experiment(generator, cases=turned).run(store=store)
    assert generator.count() == 5
    assert first.run_id != second.run_id
    assert [case.case_id for case in second.cases] == ["c4", "c3", "c2", "c1", "c0"]


def test_another_name_or_revision_of_the_dataset_generates_nothing() -> None:
    store, generator = InMemoryRunStore(), ScriptedGenerator()
    experiment(generator).run(store=store)
    experiment(generator, cases=dataset(3, dataset_id="copy")).run(store=store)
    newer = Dataset(dataset_id="data", cases=dataset(3).cases, revision="v2")
    experiment(generator, cases=newer).run(store=store)
    assert generator.count() == 3


def test_another_parser_generates_nothing() -> None:
    store, generator, metric = InMemoryRunStore(), ScriptedGenerator(), CountingMetric()
    first, second = CountingParser(fingerprint="one"), CountingParser(fingerprint="two")
    experiment(generator, parser=first, metrics=[metric]).run(store=store)
    experiment(generator, parser=second, metrics=[metric]).run(store=store)
    assert (generator.count(), len(first.calls), len(second.calls)) == (3, 3, 3)
    assert len(metric.calls) == 3  # what was read is the same, so that its score stands


def test_another_generator_with_the_same_outputs_is_parsed_and_scored_anew_for_nobody() -> None:
    store, metric = InMemoryRunStore(), CountingMetric()
    first = ScriptedGenerator(component_id="first")
    second = ScriptedGenerator(component_id="second")
    experiment(first, metrics=[metric]).run(store=store)
    experiment(second, metrics=[metric]).run(store=store)
    assert first.count() == second.count() == 3


def test_a_metadata_edit_that_a_generator_does_not_read_generates_nothing() -> None:
    store, metric = InMemoryRunStore(), CountingMetric()
    generator = ScriptedGenerator(reads=("input",))
    plain = dataset(2)
    noted = Dataset(
        dataset_id="data",
        cases=[case.model_copy(update={"metadata": {"topic": "sums"}}) for case in plain.cases],
    )
    experiment(generator, cases=plain, metrics=[metric]).run(store=store)
    experiment(generator, cases=noted, metrics=[metric]).run(store=store)
    assert generator.count() == 2
    assert len(metric.calls) == 4
    reader = ScriptedGenerator(reads=("input", "metadata"))
    experiment(reader, cases=plain).run(store=store)
    experiment(reader, cases=noted).run(store=store)
    assert reader.count() == 4


def test_what_a_component_does_not_declare_to_read_it_is_not_shown() -> None:
    generator = ScriptedGenerator(reads=("input",))
    case = Case(case_id="c0", input="q", expected_output="gold", metadata={"answer": "gold"})
    experiment(generator, cases=Dataset(dataset_id="d", cases=[case])).run()
    shown, ctx = generator.seen[0]
    assert shown.input == "q"
    assert shown.expected_output is None
    assert shown.metadata == {}
    assert dict(ctx.metadata) == {}
    assert ctx.case_id == CaseId("c0")


def test_the_same_question_in_two_datasets_is_told_apart() -> None:
    generator = ScriptedGenerator()
    data = [dataset(3, dataset_id="a"), dataset(3, dataset_id="b")]
    result = experiment(generator, cases=data, max_concurrent_tasks=1).run()
    assert result.status == "completed"
    assert len(table(result)) == 6
    assert len({case.case_key for case in result.cases}) == 6


def test_derived_seeds_are_fixed_by_case_and_sample_and_given_ones_are_handed_on() -> None:
    generator = ScriptedGenerator()
    experiment(generator, samples=2).run()
    derived = {(case.case_id, ctx.sample_index): ctx.seed for case, ctx in generator.seen}
    assert len(set(derived.values())) == 6
    again = ScriptedGenerator()
    experiment(again, cases=5, samples=4).run()
    assert (
        derived.items()
        <= {(case.case_id, ctx.sample_index): ctx.seed for case, ctx in again.seen}.items()
    )
    given = ScriptedGenerator()
    experiment(given, samples=2, seeds=[11, 12]).run()
    assert {ctx.seed for _, ctx in given.seen} == {11, 12}


def test_until_a_stage_then_on_generates_nothing_twice() -> None:
    generator, parser, metric = ScriptedGenerator(), CountingParser(), CountingMetric()
    one = experiment(generator, parser=parser, metrics=[metric])
    first = one.run(until_stage="generate")
    assert first.status == "completed"
    assert first.completed_through_stage == "generate"
    assert (generator.count(), len(parser.calls), len(metric.calls)) == (3, 0, 0)
    assert list(first.score_rows()) == []
    assert one.run(until_stage="parse").completed_through_stage == "parse"
    assert (generator.count(), len(parser.calls), len(metric.calls)) == (3, 3, 0)
    last = one.run()
    assert last.completed_through_stage == "judge"
    assert (generator.count(), len(parser.calls), len(metric.calls)) == (3, 3, 3)
    assert table(last) == table(experiment(parser=CountingParser()).run())


def test_an_unknown_stage_is_refused_with_the_nearest() -> None:
    with pytest.raises(DefinitionError, match="did you mean 'generate'"):
        experiment().run(until_stage="generation")


def _whole() -> tuple[Any, dict[str, Any]]:
    """An experiment with every stage, and its counting parts."""
    parts: dict[str, Any] = {
        "generate": ScriptedGenerator(),
        "parse": CountingParser(),
        "score": CountingMetric(),
        "judge": ScriptedJudge(),
    }
    one = experiment(
        parts["generate"],
        cases=2,
        samples=2,
        parser=parts["parse"],
        metrics=[parts["score"], use("builtin/llm_rubric", rubric="Is it right?", name="rubric")],
        judges=[parts["judge"]],
        reducer="builtin/majority_vote",
    )
    return one, parts


def _counts(parts: dict[str, Any]) -> dict[str, int]:
    return {
        "generate": len(parts["generate"].calls),
        "parse": len(parts["parse"].calls),
        "score": len(parts["score"].calls),
        "judge": len(parts["judge"].prompts),
    }


ONCE = {"generate": 4, "parse": 6, "score": 2, "judge": 2}


@pytest.mark.parametrize(
    ("stage", "again"),
    [
        ("generate", {"generate", "parse", "score", "judge"}),
        ("reduce", {"parse", "score", "judge"}),
        ("parse", {"parse", "score", "judge"}),
        ("score", {"score", "judge"}),
        ("judge", {"judge"}),
    ],
)
def test_replay_does_a_stage_and_those_below_again_and_nothing_above(
    stage: str, again: set[str]
) -> None:
    one, parts = _whole()
    first = one.run()
    once = _counts(parts)
    assert {name: once[name] for name in ("generate", "score", "judge")} == {
        name: ONCE[name] for name in ("generate", "score", "judge")
    }
    second = one.replay(stage=stage)
    assert second.run_id == first.run_id
    assert second.status == "completed"
    twice = _counts(parts)
    for name in once:
        assert (twice[name] > once[name]) == (name in again), name
    assert twice["generate"] == once["generate"] * (2 if "generate" in again else 1)
    assert table(second) == table(first)
    assert [one["mode"] for one in second.state.attempts] == ["run", "replay"]
    assert one.run().status == "completed"
    assert _counts(parts) == twice


def test_replaying_one_metric_leaves_the_others_alone() -> None:
    first, second = CountingMetric(component_id="first"), CountingMetric(component_id="second")
    one = experiment(metrics=[first, second])
    one.run()
    one.replay(stage="score", metric_ids=["second"])
    assert (len(first.calls), len(second.calls)) == (3, 6)
    with pytest.raises(DefinitionError, match="did you mean 'second'"):
        one.replay(stage="score", metric_ids=["secnd"])


def test_rejudging_asks_the_judges_again_and_nobody_else() -> None:
    one, parts = _whole()
    one.run()
    once = _counts(parts)
    parts["judge"].answer = "VERDICT: FAIL"
    result = one.rejudge()
    assert _counts(parts) == {**once, "judge": once["judge"] + 2}
    assert result.metrics["rubric"].mean == 0
    assert one.run().metrics["rubric"].mean == 0


def test_rerun_really_runs_again_and_the_latest_answer_counts() -> None:
    generator = ScriptedGenerator()
    one = experiment(generator)
    one.run()
    assert generator.count() == 3
    generator.answers = {"c0": 5}
    result = one.run(runtime=one.runtime.model_copy(update={"existing_run_policy": "rerun"}))
    assert generator.count() == 6
    assert [row.value for row in result.score_rows()] == [0, 1, 1]
    assert [attempt["mode"] for attempt in result.state.attempts] == ["run", "rerun"]
    plain = one.run()
    assert generator.count() == 6
    assert [row.value for row in plain.score_rows()] == [0, 1, 1]


def test_an_existing_run_is_refused_where_the_policy_says_so() -> None:
    one = experiment(existing_run_policy="error")
    first = one.run()
    with pytest.raises(RunExistsError, match=first.run_id):
        one.run()


def test_estimating_calls_nobody_and_knows_what_is_there() -> None:
    generator = ScriptedGenerator()
    one = experiment(generator, cases=5, samples=2)
    assert one.estimate().to_run == {"generate": 10}
    one.run()
    assert one.estimate().to_run == {"generate": 0}
    assert experiment(generator, cases=6, samples=3).estimate(store=one.store).to_run == {
        "generate": 8
    }
    assert generator.count() == 10


def test_what_a_rerun_failed_at_is_not_filled_with_the_answer_it_was_to_replace() -> None:
    generator = ScriptedGenerator()
    one = experiment(generator)
    one.run()
    generator.failures = {"c1": ValueError("down")}
    rerun = one.runtime.model_copy(update={"existing_run_policy": "rerun"})
    assert one.run(runtime=rerun).status == "partial_failure"
    generator.failures = {}
    assert one.run().status == "completed"
    assert generator.count("c1") == 3
    assert generator.count() == 7


def test_what_a_metric_calls_better_is_part_of_what_its_scores_depend_on() -> None:
    class Graded(CountingMetric):
        kind = "value"
        value_range = (0.0, 10.0)

    def read(output: Any) -> Any:
        raise ParseError("nothing")

    store = InMemoryRunStore()
    means = []
    for better in (True, False):
        metric = Graded()
        metric.higher_is_better = better  # type: ignore[attr-defined]
        one = experiment(parser=CountingParser(read), metrics=[metric])
        means.append(one.run(store=store).metrics["counting/metric"].mean)
    assert means == [0.0, 10.0]  # the worst there is, either way


@pytest.mark.parametrize(("cases", "cap"), [(3, 32), (40, 2), (400, 1)])
async def test_a_case_that_stands_in_two_datasets_is_generated_once(cases: int, cap: int) -> None:
    generator = ScriptedGenerator(wait=lambda: asyncio.sleep(0))
    data = [dataset(cases, dataset_id=name) for name in ("a", "b")]
    result = await experiment(generator, cases=data, max_concurrent_tasks=cap).run_async()
    assert result.status == "completed"
    assert [row.outcome for row in result.score_rows()] == ["correct"] * 2 * cases
    assert generator.count() == cases
