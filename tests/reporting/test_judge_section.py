"""What reports tell of judges, read from what a run has kept.

Covers: themis.analysis.judges, themis.reporting.judge_section, themis.views.headline,
themis.views.judge_tallies, themis.views.judged_verdicts
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from themis import Experiment, use
from themis.analysis.judges import panel_agreement
from themis.core.base import Model, RunId
from themis.core.config import EvaluationConfig, GenerationConfig, RuntimeConfig, StorageConfig
from themis.core.events import Event
from themis.core.judging import JudgeResponse, RenderedJudgePrompt
from themis.core.models import Case, Dataset
from themis.experiment.result import RunResult
from themis.reporting import Reporter
from themis.stores.memory import InMemoryRunStore
from themis.testing.scripted import ScriptedGenerator, ScriptedJudge
from themis.views import judge_tallies
from themis.views.headline import fold_journal, read_standing
from themis.views.judge_tallies import JudgedTally, judged_tally

HOSTILE = '<script>alert("x")</script>|'
ANSWERS = {f"c{n}": [str(n), f"about {n}"] for n in range(6)}
DATA = Dataset(dataset_id="d", cases=[Case(case_id=name, input=f"n={name}") for name in ANSWERS])


class Paid:
    """A judge that says what it used, and sometimes nothing that is a verdict."""

    component_id = "judge/paid"
    version = "1"
    price: Any = None

    def fingerprint(self) -> str:
        return "paid"

    async def judge(self, prompt: RenderedJudgePrompt, *, seed: int | None = None) -> JudgeResponse:
        said = "I would rather not." if "n=c3" in prompt.text else "VERDICT: PASS"
        return JudgeResponse(text=said, token_usage={"prompt_tokens": 10, "completion_tokens": 1})


def strict(prompt: RenderedJudgePrompt, seed: int | None) -> str:
    if "n=c5" in prompt.text:
        raise ConnectionError("the judge is away")
    return "VERDICT: FAIL" if "n=c1" in prompt.text else "VERDICT: PASS"


def ran(*metrics: Any, judges: list[Any], samples: int = 1) -> Experiment:
    experiment = Experiment(
        generation=GenerationConfig(
            generator=ScriptedGenerator(ANSWERS), candidate_policy={"num_samples": samples}
        ),
        evaluation=EvaluationConfig(metrics=list(metrics), judge_models=judges),
        storage=StorageConfig(store="memory"),
        runtime=RuntimeConfig(judge_retry_attempts=1),
        datasets=[DATA],
    )
    experiment.run(progress=False)
    return experiment


def panel() -> Experiment:
    return ran(
        use("builtin/panel_of_judges", rubric="Right?", min_judges=1, repeats=2, name="panel"),
        judges=[Paid(), ScriptedJudge(strict, component_id=HOSTILE)],
    )


def pairs() -> Experiment:
    return ran(
        use("builtin/pairwise_judge", rubric="Better?", name="pairs"),
        judges=[ScriptedJudge("VERDICT: A", component_id="first")],
        samples=2,
    )


def run_of(experiment: Experiment) -> RunId:
    return experiment.compile().run_id


def tallies_of(experiment: Experiment) -> list[JudgedTally]:
    store = experiment.store
    return read_standing(store, store.load_snapshot(run_of(experiment))).headline.judged


class CountingReads(InMemoryRunStore):
    """Counts the readings of cases' events."""

    def __init__(self, inner: InMemoryRunStore) -> None:
        super().__init__()
        self.__dict__.update(inner.__dict__)
        self.readings = 0

    def case_events(self, run_id: RunId, start: int, stop: int) -> Iterator[Event]:
        self.readings += 1
        return super().case_events(run_id, start, stop)


def test_a_report_tells_each_judges_calls_errors_and_answers_that_are_no_verdict() -> None:
    experiment = panel()
    told = Reporter(experiment.store).render(run_of(experiment), "json")
    (found,) = json.loads(told)["runs"][0]["judged"]
    assert (found["n_judged"], found["n_failed"]) == (6, 0)
    assert found["unpriced_calls"] == 12
    hostile, paid = found["judges"]
    assert (hostile["judge"], hostile["n_calls"], hostile["failures"]) == (
        HOSTILE,
        12,
        {"judge": 2},
    )
    assert (paid["n_calls"], paid["failures"]) == (12, {"unreadable_verdict": 2})
    assert found["agreement"]["n_shared"] == 4
    assert found["agreement"]["pairs"][0]["agreement"] == 0.75
    text = Reporter(experiment.store).render(run_of(experiment))
    assert "### Judges" in text
    assert "| panel | judge/paid | 12 | 0 | 2 | 1.000 | - | - | - | - |" in text
    assert "6 judged; 4 of 6 units judged by two judges or more" in text
    assert "cost unknown price" in text


def test_a_report_tells_a_judges_position_bias() -> None:
    experiment = pairs()
    text = Reporter(experiment.store).render(run_of(experiment))
    assert "| pairs | first | 12 | 0 | 0 | - | 6 | 6 | 6 | 1.000 |" in text


def test_a_judges_name_never_becomes_markup() -> None:
    experiment = panel()
    page = Reporter(experiment.store).render(run_of(experiment), "html")
    assert "<h3>Judges</h3>" in page
    assert HOSTILE not in page
    assert "\\<script\\>" in Reporter(experiment.store).render(run_of(experiment))


def test_a_run_without_judges_has_no_section_on_them() -> None:
    experiment = ran("builtin/exact_match", judges=[])
    for form in ("markdown", "html"):
        assert "Judges" not in Reporter(experiment.store).render(run_of(experiment), form)
    assert (
        json.loads(Reporter(experiment.store).render(run_of(experiment), "json"))["runs"][0][
            "judged"
        ]
        == []
    )


def test_only_the_metrics_that_were_asked_for_are_told_of() -> None:
    metrics = [use("builtin/llm_rubric", rubric=name, name=name) for name in ("one", "two")]
    experiment = ran(*metrics, judges=[ScriptedJudge("VERDICT: PASS")])
    text = Reporter(experiment.store).render(run_of(experiment), metric_ids=["two"])
    assert "| two | scripted/judge | 6 |" in text
    assert "| one |" not in text


@pytest.mark.parametrize("make", [panel, pairs])
def test_what_is_kept_says_what_the_verdicts_themselves_say(make: Any) -> None:
    experiment = make()
    store = experiment.store
    snapshot = store.load_snapshot(run_of(experiment))
    (tally,) = tallies_of(experiment)
    read = panel_agreement(judged_tally(store, snapshot, tally.metric_id))
    kept = panel_agreement(tally)
    assert kept is not None
    assert kept == read
    assert [tally] == fold_journal(store, snapshot).headline().judged
    assert JudgedTally.read(tally.model_dump(mode="json"), "tally") == tally


def test_a_report_of_a_judged_run_reads_no_journal() -> None:
    experiment = panel()
    counting = CountingReads(experiment.store)  # type: ignore[arg-type]
    assert "### Judges" in Reporter(counting).render(run_of(experiment))
    assert counting.readings == 0


def test_verdicts_too_many_to_keep_are_dropped_and_the_report_says_where_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(judge_tallies, "MOST_PATTERNS", 1)
    experiment = panel()
    (tally,) = tallies_of(experiment)
    assert tally.patterns is None
    assert panel_agreement(tally) is None
    assert "themis inspect judges" in Reporter(experiment.store).render(run_of(experiment))


class Listing(Model):
    """A workflow whose verdicts are a list, nothing, or an object that holds nothing."""

    said: Any
    other: Any = "other"
    judges: tuple[str, ...] = ("a", "b")

    def judge_calls(self) -> list[Any]:
        from themis.core.judging import JudgeCall

        return [JudgeCall(call_id=name, judge=name) for name in self.judges]

    def render_prompt(self, call: Any, subject: Any, ctx: Any) -> RenderedJudgePrompt:
        return RenderedJudgePrompt(text="?")

    def parse_judgment(self, call: Any, response: Any, ctx: Any) -> Any:
        from themis.core.judging import ParsedJudgment

        said = self.said if call.judge == "a" else self.other
        return ParsedJudgment(call_id=call.call_id, judge=call.judge, verdict=said)

    def score_judgment(self, call: Any, judgment: Any, ctx: Any) -> Any:
        from themis.core.models import Score

        return Score(metric_id="listing", value=1)

    def aggregate(self, judgments: Any, scores: Any, ctx: Any) -> Any:
        from themis.core.judging import AggregationResult

        return AggregationResult(value=1.0)


class ListingMetric:
    component_id = "listing"
    version = "1"
    subject = "candidate"

    def __init__(self, said: Any) -> None:
        self.said = said

    def fingerprint(self) -> str:
        return json.dumps(self.said)

    def build_workflow(self, subject: Any, ctx: Any) -> Listing:
        return Listing(said=self.said)


@pytest.mark.parametrize(
    "said", [["x", "y"], None, {"a": None}, True, 3, pytest.param(10**400, id="beyond floats")]
)
def test_a_verdict_of_any_json_is_read_back_and_counted(said: Any) -> None:
    judges = [ScriptedJudge("ok", component_id=name) for name in ("a", "b")]
    experiment = ran(ListingMetric(said), judges=judges)
    result = RunResult.of(experiment.store, run_of(experiment))
    (execution,) = result.cases[0].evaluation_executions
    assert [one.verdict for one in execution.judgments] == [said, "other"]
    agreement = result.judges("listing")
    assert (agreement.n_shared, agreement.pairs[0].agreement) == (6, 0.0)
    (tally,) = tallies_of(experiment)
    assert panel_agreement(tally) == agreement
    assert "| listing | a | 6 |" in Reporter(experiment.store).render(run_of(experiment))


def test_a_verdict_that_one_judge_only_gave_does_not_change_what_numbers_mean() -> None:
    class Halting(ListingMetric):
        def build_workflow(self, subject: Any, ctx: Any) -> Listing:
            if ctx.case_id == "c0":
                return Listing(said="unsure", judges=("a",))
            return Listing(said=int(ctx.case_id[1:]), other=3)

    judges = [ScriptedJudge("ok", component_id=name) for name in ("a", "b")]
    experiment = ran(Halting("halting"), judges=judges)
    (tally,) = tallies_of(experiment)
    agreement = RunResult.of(experiment.store, run_of(experiment)).judges("listing")
    assert (agreement.n_units, agreement.n_shared, agreement.level) == (6, 5, "interval")
    assert panel_agreement(tally) == agreement


def test_verdicts_of_one_judge_are_taken_for_no_numbers() -> None:
    experiment = ran(
        use("builtin/llm_rubric", rubric="Right?", name="one"),
        judges=[ScriptedJudge("VERDICT: PASS")],
    )
    assert RunResult.of(experiment.store, run_of(experiment)).judges("one").level == "nominal"
