"""What a plan foretells is what the run then does: counted in calls, and in the journal's steps.

Covers: themis.adapters.function, themis.core.run_plan, themis.execution.plan,
themis.execution.plan.dry_run, themis.execution.plan.plan, themis.execution.unwritten,
themis.experiment.blocking, themis.planning.compare.closest_run, themis.planning.compare.reasons,
themis.planning.estimate
"""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from tests.support.foretold import WatchedStore, foretold, planned_run, why
from tests.support.runs import dataset, events, experiment
from themis import InMemoryRunStore, PromptSpec, use
from themis.adapters import function
from themis.core.errors import (
    DefinitionError,
    ProviderError,
    RunNotFoundError,
    RunStoppedError,
)
from themis.core.models import Dataset
from themis.testing.scripted import (
    CountingMetric,
    CountingParser,
    ScriptedGenerator,
    ScriptedJudge,
)

MANY = 1000


class Parts:
    """Components that count, and give each sample an output of its own."""

    def __init__(self) -> None:
        self.generator = ScriptedGenerator(
            lambda case, ctx: f"{case.input}/{ctx.sample_index}", fingerprint="distinct"
        )
        self.parser, self.metric = CountingParser(), CountingMetric()

    def experiment(self, **changes: Any) -> Any:
        return experiment(
            **{
                "generator": self.generator,
                "cases": MANY,
                "parser": self.parser,
                "metrics": [self.metric],
                **changes,
            }
        )

    def calls(self) -> tuple[int, int, int]:
        return len(self.generator.calls), len(self.parser.calls), len(self.metric.calls)


def after(parts: Parts, store: Any, **changes: Any) -> tuple[Any, tuple[int, int, int]]:
    """Run an experiment, then a changed one; return the second's plan and its calls."""
    before = parts.calls()
    plan, _ = planned_run(parts.experiment(**changes), store)
    now = parts.calls()
    return plan, (now[0] - before[0], now[1] - before[1], now[2] - before[2])


@pytest.fixture
def store() -> InMemoryRunStore:
    return InMemoryRunStore()


@pytest.fixture
def parts(store: InMemoryRunStore) -> Parts:
    made = Parts()
    plan, calls = after(made, store)
    assert calls == (MANY, MANY, MANY)
    assert why(plan, "generate") == {"the store knows nothing of it": MANY}
    return made


def test_one_gold_answer_changed_is_one_score(parts: Parts, store: InMemoryRunStore) -> None:
    cases = list(dataset(MANY).cases)
    cases[17] = cases[17].model_copy(update={"expected_output": "other"})
    plan, calls = after(parts, store, cases=Dataset(dataset_id="data", cases=cases))
    assert calls == (0, 0, 1)
    assert plan.to_run == {"generate": 0, "parse": 0, "score": 1}
    [reason] = plan.stages["score"].reasons
    assert reason.causes == ["case_changed"]
    assert reason.text == "the case's expected_output changed"
    assert reason.cases == ["c17"]


def test_one_metric_added_is_its_scores(parts: Parts, store: InMemoryRunStore) -> None:
    more = CountingMetric(component_id="more")
    plan, calls = after(parts, store, metrics=[parts.metric, more])
    assert (calls, len(more.calls)) == ((0, 0, 0), MANY)
    assert why(plan, "score") == {"metric 'more' is new": MANY}
    assert plan.stages["score"].reasons[0].component == "more"


def test_samples_from_four_to_eight_are_four_generations_a_case(
    parts: Parts, store: InMemoryRunStore
) -> None:
    _, calls = after(parts, store, samples=4)
    assert calls[0] == 3 * MANY
    plan, calls = after(parts, store, samples=8)
    assert calls == (4 * MANY, 4 * MANY, 4 * MANY)
    assert why(plan, "generate") == {"sample indices 4 to 7 are new": 4 * MANY}
    assert why(plan, "parse") == {"depends on 4,000 new generations": 4 * MANY}
    assert plan.reused == {"generate": 4 * MANY, "parse": 4 * MANY, "score": 4 * MANY}


def test_a_dataset_grown_by_ten_is_ten_generations(parts: Parts, store: InMemoryRunStore) -> None:
    plan, calls = after(parts, store, cases=MANY + 10)
    assert calls == (10, 10, 10)
    assert why(plan, "generate") == {"new cases": 10}
    assert plan.stages["generate"].reasons[0].cases == ["c1000", "c1001", "c1002"]


def test_another_parser_is_all_parses_and_scores(parts: Parts, store: InMemoryRunStore) -> None:
    other = CountingParser(lambda output: f"<{output}>", fingerprint="second")
    plan, calls = after(parts, store, parser=other)
    assert (calls, len(other.calls)) == ((0, 0, MANY), MANY)
    assert plan.to_run == {"generate": 0, "parse": MANY, "score": MANY}
    assert why(plan, "parse") == {
        'parser:counting/parser.fingerprint changed ("" -> "second")': MANY
    }
    assert why(plan, "score") == {"depends on 1,000 new parses": MANY}


def test_a_finished_run_has_nothing_to_run_and_nothing_is_read_of_its_cases(
    parts: Parts,
) -> None:
    store = WatchedStore()
    one = parts.experiment()
    one.run(store=store, progress=False)
    store.reads.clear()
    plan = one.plan(store=store)
    assert foretold(plan) == {}
    assert {name: stage.done for name, stage in plan.stages.items()} == {
        "generate": MANY,
        "parse": MANY,
        "score": MANY,
    }
    assert plan.compared_with == plan.run_id
    assert set(store.reads) == {"events"}


def test_planning_writes_nothing_and_reads_chunk_by_chunk(parts: Parts) -> None:
    store = WatchedStore()
    parts.experiment().run(store=store, progress=False)
    for name, changes in {
        "metric": {"metrics": [CountingMetric(component_id="other")]},
        "samples": {"samples": 2},
        "prompt": {"prompt": PromptSpec(prefix="Hm.")},
        "grown": {"cases": MANY + 1},
        "parser": {"parser": CountingParser(fingerprint="x")},
    }.items():
        calls = parts.calls()
        store.reads.clear()
        store.read_only = True
        plan = parts.experiment(**changes).plan(store=store)
        store.read_only = False
        assert plan.n_cases >= MANY
        assert parts.calls() == calls, name
        # Two chunks: of each its generations, its parses, its scores; and the data once.
        assert store.reads["lookup"] <= 8, name
        assert store.reads["cases"] <= 1, name
        assert store.reads["case_events"] == 0, name


def test_a_plan_leaves_no_case_to_the_collector(parts: Parts) -> None:
    """What a case held is gone with its chunk: a circle would stay until somebody looks for it."""
    one = parts.experiment(prompt=PromptSpec(prefix="Hm."))
    one.plan(store=InMemoryRunStore())  # what is loaded and cached once
    gc.collect()
    gc.disable()
    try:
        assert one.plan(store=InMemoryRunStore()).to_run["generate"] == MANY
        assert gc.collect() < MANY
    finally:
        gc.enable()


def test_planning_makes_no_file(tmp_path: Any) -> None:
    from themis.core.config import StorageConfig

    path = tmp_path / "runs.db"
    storage = StorageConfig(store="sqlite", parameters={"path": str(path)})
    plan = experiment(storage=storage).plan()
    assert plan.to_run == {"generate": 3, "score": 3}
    assert plan.compared_with is None
    assert list(tmp_path.iterdir()) == []


def test_an_estimate_says_what_the_plan_says(parts: Parts, store: InMemoryRunStore) -> None:
    for changes in ({}, {"samples": 2}, {"prompt": PromptSpec(suffix="?")}, {"cases": MANY + 3}):
        one = parts.experiment(**changes)
        plan, estimate = one.plan(store=store), one.estimate(store=store)
        assert estimate.to_run == {"generate": plan.to_run["generate"]}
        assert estimate.cost_usd == plan.cost_usd
    again = parts.experiment(existing_run_policy="rerun")
    assert again.estimate(store=store).to_run == {"generate": MANY}


def test_a_prompt_that_changed_is_named_by_its_field(store: InMemoryRunStore) -> None:
    before = PromptSpec(instructions="Be brief.", prefix="Q:")
    experiment(prompt=before).run(store=store)
    plan, _ = planned_run(
        experiment(prompt=PromptSpec(instructions="Be exact.", prefix="Q:")), store
    )
    assert why(plan, "generate") == {
        'prompt_spec.instructions changed ("Be brief." -> "Be exact.")': 3
    }
    assert plan.stages["generate"].reasons[0].causes == ["prompt_changed"]


def test_a_parameter_that_changed_is_told_from_and_to(store: InMemoryRunStore) -> None:
    def one(accuracy: float) -> Any:
        return experiment(use("builtin/demo_generator", accuracy=accuracy))

    one(0.5).run(store=store)
    plan, _ = planned_run(one(0.75), store)
    [text] = why(plan, "generate")
    assert text == "generator:builtin/demo_generator.settings.accuracy changed (0.5 -> 0.75)"


def test_an_endpoints_temperature_that_changed_is_told_from_and_to(
    store: InMemoryRunStore,
) -> None:
    from themis.adapters import vllm

    def one(temperature: float) -> Any:
        generator = vllm(
            "m", base_url="http://127.0.0.1:9/v1", sampling={"temperature": temperature}
        )
        return experiment(generator, generation_retry_attempts=1)

    store.save_snapshot(one(0).compile())
    plan = one(0.5).plan(store=store)
    [text] = why(plan, "generate")
    assert text == "generator:vllm/m.settings.sampling.temperature changed (0 -> 0.5)"
    assert plan.prompt_tokens is not None


def test_what_failed_is_tried_again_and_its_category_said(store: InMemoryRunStore) -> None:
    generator = ScriptedGenerator(failures={"c1": ValueError("down")})
    one = experiment(generator, generation_retry_attempts=1)
    one.run(store=store)
    generator.failures = {}
    plan, result = planned_run(one, store)
    assert result.status == "completed"
    assert why(plan, "generate") == {"failed before (generation), and is tried again": 1}
    assert plan.stages["generate"].reasons[0].cases == ["c1"]
    assert plan.stages["generate"].done == 2


def test_what_failed_in_a_related_run_is_said_to_have(store: InMemoryRunStore) -> None:
    generator = ScriptedGenerator(failures={"c1": ValueError("down")})
    experiment(generator, generation_retry_attempts=1).run(store=store)
    generator.failures = {}
    other = experiment(generator, metrics=[CountingMetric(component_id="other")])
    plan, _ = planned_run(other, store)
    assert why(plan, "generate") == {"failed before (generation), and is tried again": 1}


def test_what_an_early_end_left_is_said_to_be_unfinished(store: InMemoryRunStore) -> None:
    generator = ScriptedGenerator(failures={"c2": ProviderError("bad key", fatal=True)})
    one = experiment(generator, cases=6, max_concurrent_tasks=1)
    with pytest.raises(RunStoppedError):
        one.run(store=store)
    generator.failures = {}
    other = experiment(generator, cases=6, metrics=[CountingMetric(component_id="other")])
    elsewhere = other.plan(store=store)
    assert foretold(elsewhere)["generate"] == (4, 2)
    said = why(elsewhere, "generate")
    assert said.pop("failed before (generation), and is tried again") == 1
    [(text, count)] = said.items()
    assert (text.endswith("did not come to it"), count) == (True, 3)
    plan, _ = planned_run(one, store)
    assert {reason.causes[0]: reason.count for reason in plan.stages["generate"].reasons} == {
        "failed_before": 1,
        "never_finished": 3,
    }
    assert plan.stages["generate"].done == 2


def test_stages_that_were_not_asked_for_yet_are_said_to_be(store: InMemoryRunStore) -> None:
    one = experiment(parser=CountingParser())
    planned_run(one, store, until_stage="generate")
    plan, _ = planned_run(one, store)
    assert plan.stages["generate"].done == 3
    assert why(plan, "parse") == {"the run was to go through 'generate' only": 3}
    assert why(plan, "score") == {"depends on 3 new parses": 3}
    with pytest.raises(DefinitionError, match="did you mean 'parse'"):
        one.plan(until_stage="pars")


def test_a_rerun_does_everything_again(store: InMemoryRunStore) -> None:
    one = experiment(parser=CountingParser())
    one.run(store=store)
    again = one.runtime.model_copy(update={"existing_run_policy": "rerun"})
    plan, _ = planned_run(one, store, runtime=again)
    assert why(plan, "generate") == {"asked to be done again (rerun)": 3}
    assert plan.to_run == {"generate": 3, "parse": 3, "score": 3}


def test_answers_that_hold_for_one_run_only_are_not_counted_as_reused(
    store: InMemoryRunStore,
) -> None:
    def shout(text: Any) -> str:
        return f"{text}!"

    planned_run(experiment(function(shout)), store)
    other = experiment(function(shout), metrics=[CountingMetric(component_id="other")])
    plan, _ = planned_run(other, store)
    [reason] = plan.stages["generate"].reasons
    assert (reason.causes, reason.count) == (["this_run_only"], 3)


def test_an_equal_step_of_two_datasets_is_made_once(store: InMemoryRunStore) -> None:
    data = [dataset(3, dataset_id="a"), dataset(4, dataset_id="b")]
    generator = ScriptedGenerator()
    plan, _ = planned_run(experiment(generator, cases=data, max_concurrent_tasks=8), store)
    assert foretold(plan)["generate"] == (4, 3)
    assert generator.count() == 4


def test_metadata_of_a_dataset_is_a_reason_for_scores_only(store: InMemoryRunStore) -> None:
    cases = dataset(3).cases
    experiment(cases=Dataset(dataset_id="data", cases=cases, metadata={"k": 1})).run(store=store)
    data = Dataset(dataset_id="data", cases=cases, metadata={"k": 2})
    plan, _ = planned_run(experiment(cases=data), store)
    assert foretold(plan) == {"generate": (0, 3), "score": (3, 0)}
    assert why(plan, "score") == {"dataset:data.metadata.k changed (1 -> 2)": 3}


def judged(judge: Any, *, rubric: str = "Right?", **changes: Any) -> Any:
    metric = use("builtin/llm_rubric", rubric=rubric, name="rubric")
    return experiment(**{"metrics": [metric], "judges": [judge], **changes})


def test_judge_calls_are_foretold_where_the_answer_is_there(store: InMemoryRunStore) -> None:
    judge = ScriptedJudge()
    first = judged(judge).plan(store=store)
    assert first.to_run == {"generate": 3, "judge_calls": 3, "judge": 3}
    assert first.stages["judge_calls"].at_least
    assert not first.stages["judge"].at_least
    planned_run(judged(judge), store)
    plan, _ = planned_run(judged(judge, rubric="Is it right?"), store)
    assert foretold(plan) == {"generate": (0, 3), "judge_calls": (3, 0), "judge": (3, 0)}
    assert not plan.stages["judge_calls"].at_least
    [text] = why(plan, "judge_calls")
    assert 'metric:rubric.settings.rubric changed ("Right?" -> "Is it right?")' in text
    assert why(plan, "judge") == {"depends on 3 new judge calls": 3}
    assert judge.count() == 6


def test_a_new_metric_beside_a_judged_one_asks_no_judge(store: InMemoryRunStore) -> None:
    judge = ScriptedJudge()
    planned_run(judged(judge), store)
    rubric = use("builtin/llm_rubric", rubric="Right?", name="rubric")
    plan, _ = planned_run(judged(judge, metrics=[rubric, CountingMetric()]), store)
    assert foretold(plan) == {
        "generate": (0, 3),
        "score": (3, 0),
        "judge_calls": (0, 3),
        "judge": (0, 3),
    }


def test_settings_of_the_judging_are_named(store: InMemoryRunStore) -> None:
    judge = ScriptedJudge()
    planned_run(judged(judge, judge_config={"strict": 1}), store)
    plan, _ = planned_run(judged(judge, judge_config={"strict": 2}), store)
    assert why(plan, "judge")["judge_config.strict changed (1 -> 2)"] == 3


def test_a_selection_still_to_be_made_leaves_the_rest_open(store: InMemoryRunStore) -> None:
    judge = ScriptedJudge("VERDICT: 7")
    one = experiment(
        Parts().generator,
        samples=3,
        selector="builtin/best_of_n",
        judges=[judge],
        metrics=[CountingMetric()],
    )
    plan = one.plan(store=store)
    assert plan.to_run == {"generate": 9, "select": 3, "score": 3, "judge_calls": 0}
    assert plan.stages["score"].at_least
    assert plan.stages["judge_calls"].at_least
    one.run(store=store)
    assert foretold(one.plan(store=store)) == {}
    other = experiment(
        Parts().generator,
        samples=3,
        selector="builtin/best_of_n",
        judges=[judge],
        metrics=[CountingMetric(component_id="other")],
    )
    plan, _ = planned_run(other, store)
    assert not plan.stages["score"].at_least


def test_a_vote_is_foretold_with_the_parses_it_reads(store: InMemoryRunStore) -> None:
    def one(**changes: Any) -> Any:
        return experiment(
            Parts().generator,
            **{
                "samples": 3,
                "reducer": "builtin/majority_vote",
                "parser": CountingParser(),
                **changes,
            },
        )

    plan, _ = planned_run(one(), store)
    assert plan.to_run == {"generate": 9, "reduce": 3, "parse": 12, "score": 3}
    plan, _ = planned_run(one(metrics=[CountingMetric(component_id="m")]), store)
    assert plan.to_run == {"generate": 0, "reduce": 0, "parse": 0, "score": 3}
    plan = one(samples=4).plan(store=store)
    assert why(plan, "reduce") == {"depends on 3 new generations": 3}


def test_the_run_to_compare_with_may_be_named(store: InMemoryRunStore) -> None:
    first = experiment(prompt=PromptSpec(prefix="A")).run(store=store)
    experiment(prompt=PromptSpec(prefix="B"), cases=4).run(store=store)
    one = experiment(prompt=PromptSpec(prefix="C"), cases=4)
    near = one.plan(store=store)
    assert why(near, "generate") == {'prompt_spec.prefix changed ("B" -> "C")': 4}
    far = one.plan(store=store, compare_with=first.run_id)
    assert far.compared_with == first.run_id
    assert why(far, "generate") == {
        'prompt_spec.prefix changed ("A" -> "C")': 3,
        "new cases": 1,
    }
    assert foretold(far) == foretold(near)
    with pytest.raises(RunNotFoundError):
        one.plan(store=store, compare_with="f" * 32)


def test_a_plan_within_a_running_loop_is_a_plan(store: InMemoryRunStore) -> None:
    async def in_a_notebook() -> Any:
        return experiment().plan(store=store)

    assert asyncio.run(in_a_notebook()).to_run == {"generate": 3, "score": 3}


def test_an_equal_output_of_a_new_sample_is_counted_as_to_run_and_then_found(
    store: InMemoryRunStore,
) -> None:
    """A parse that rests on an answer still to come counts, though that answer may be no news."""
    parser = CountingParser()
    experiment(parser=parser).run(store=store)
    one = experiment(parser=parser, samples=2)
    plan = one.plan(store=store)
    assert foretold(plan)["parse"] == (3, 3)
    result = one.run(store=store)
    made = [one for one in events(result, store, "step_done") if not one.reused]
    assert sum(one.address.stage == "generate" for one in made if one.address) == 3
    assert sum(one.address.stage == "parse" for one in made if one.address) <= 3


def test_what_is_too_old_is_said_to_be(store: InMemoryRunStore) -> None:
    one = experiment(ScriptedGenerator(), parser=CountingParser())
    one.run(store=store)
    for reuse, text in (("none", "nothing made before is to be reused"), ("all", None)):
        plan, _ = planned_run(one, store, reuse=reuse)
        assert why(plan, "generate") == ({} if text is None else {text: 3})
    other = experiment(ScriptedGenerator(), metrics=[CountingMetric(component_id="m")])
    plan, _ = planned_run(other, store, reuse="none")
    assert foretold(plan) == {"generate": (3, 0), "score": (3, 0)}
    assert why(plan, "score") == {"depends on 3 new generations": 3}
    plan, _ = planned_run(one, store, reuse="1h")
    assert plan.to_run == {"generate": 0, "parse": 0, "score": 0}
