"""All that came of a case, its traces and its judgments.

Covers: themis.core.results, themis.views.case_results, themis.views.cases, themis.views.steps,
themis.views.traces
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.views.journals import PARSER, Journal, metric, snapshot_of, store_of
from themis.core.errors import DefinitionError
from themis.core.events import Stage, StepAddress
from themis.core.results import CaseResult
from themis.core.snapshot import DatasetRef, RunSnapshot
from themis.views.case_results import case_result, case_results
from themis.views.cases import find_case
from themis.views.steps import CaseSteps
from themis.views.traces import evaluation_execution

REDUCE = StepAddress(Stage.REDUCE)
CALL = {"call_id": "a", "judge": "j1", "repeat": 0, "details": {}}
ANSWER = {
    "call": CALL,
    "prompt": {"text": "Is it right?"},
    "response": {"text": "yes"},
    "tries": [{"category": "timeout"}],
}


def result_of(snapshot: RunSnapshot, journal: Journal, index: int = 0) -> CaseResult:
    return case_result(store_of(snapshot, journal), snapshot, index)


def steps_of(journal: Journal) -> CaseSteps:
    steps = CaseSteps(0)
    for event in journal.events:
        steps.add(event)
    return steps


def test_a_candidate_goes_by_its_unique_id_and_keeps_its_evidence() -> None:
    journal = Journal()
    journal.generate(0, output={"a": 1}, token_usage={"prompt_tokens": 1}, tries=[{"a": 1}])
    result = result_of(snapshot_of(), journal)
    made = result.generated_candidates[0]
    assert (made.candidate_id, made.final_output) == ("c0", {"a": 1})
    assert made.token_usage == {"prompt_tokens": 1}
    assert result.case_id == "case-0"


def test_the_only_candidate_has_its_parsed_value_at_hand() -> None:
    journal = Journal()
    journal.generate(0)
    address = StepAddress(Stage.PARSE, 0, PARSER)
    journal.done(0, address, {"value": "x"}, candidate_id="c0")
    result = result_of(snapshot_of(parser=PARSER), journal)
    assert result.parsed_output is not None
    assert result.parsed_output.value == "x"
    assert result.parsed_outputs == {"c0": result.parsed_output}
    assert result.parse_error is None


def test_a_candidate_that_could_not_be_parsed_has_the_models_failure() -> None:
    journal = Journal()
    journal.generate(0)
    failure = {"category": "parse_failure", "message": "no number", "cause": "ParseError"}
    address = StepAddress(Stage.PARSE, 0, PARSER)
    journal.done(0, address, {"failure": failure}, candidate_id="c0")
    result = result_of(snapshot_of(parser=PARSER), journal)
    assert result.parse_error is not None
    assert result.parse_error.category == "parse_failure"
    assert result.parse_error.component == PARSER
    assert result.parsed_output is None
    assert list(result.parse_errors) == ["c0"]


def test_several_samples_have_parsed_outputs_by_candidate_and_no_single_one() -> None:
    journal = Journal()
    for sample in range(2):
        journal.generate(0, sample)
        address = StepAddress(Stage.PARSE, sample, PARSER)
        journal.done(0, address, {"value": sample}, candidate_id=f"c{sample}")
    result = result_of(snapshot_of(num_samples=2, parser=PARSER), journal)
    assert {name: one.value for name, one in result.parsed_outputs.items()} == {"c0": 0, "c1": 1}
    assert result.parsed_output is None


def test_a_reduced_candidate_names_its_sources_by_their_unique_ids() -> None:
    journal = Journal()
    for sample in range(3):
        journal.generate(0, sample)
    payload = {"candidate_id": "r", "final_output": "x", "sources": [0, 2]}
    journal.done(0, REDUCE, payload, candidate_id="r")
    journal.done(0, StepAddress(Stage.PARSE, None, PARSER), {"value": "p"}, candidate_id="r")
    journal.score(0, 1, None)
    result = result_of(snapshot_of(num_samples=3, reducer=True, parser=PARSER), journal)
    assert result.reduced_candidate is not None
    assert result.reduced_candidate.source_candidate_ids == ["c0", "c2"]
    assert result.parsed_output is not None
    assert result.scores[0].value == 1.0


def test_sources_count_among_what_the_selector_chose() -> None:
    journal = Journal()
    for sample in range(3):
        journal.generate(0, sample)
    journal.done(0, StepAddress(Stage.SELECT), {"chosen": [1, 2]})
    journal.done(0, REDUCE, {"candidate_id": "r", "final_output": "x", "sources": [1]})
    result = result_of(snapshot_of(num_samples=3, reducer=True, selector=True), journal)
    assert result.selected_candidate_ids == ["c1", "c2"]
    assert result.reduced_candidate is not None
    assert result.reduced_candidate.source_candidate_ids == ["c2"]


@pytest.mark.parametrize("stage", [Stage.REDUCE, Stage.SELECT])
def test_why_there_is_no_reduced_candidate_is_said(stage: Stage) -> None:
    journal = Journal()
    journal.generate(0)
    journal.failed(0, StepAddress(stage), "reduction")
    result = result_of(snapshot_of(reducer=True, selector=True), journal)
    assert result.reduction_error is not None
    assert result.reduction_error.stage == stage.value


def test_only_a_metrics_own_failures_are_evaluation_failures() -> None:
    snapshot = snapshot_of(2)
    journal = Journal()
    journal.failed(0, StepAddress(Stage.GENERATE, 0), "timeout")
    journal.generate(1)
    journal.failed(1, StepAddress(Stage.SCORE, 0, "builtin/exact_match"), "scoring")
    store = store_of(snapshot, journal)
    upstream, own = case_results(store, snapshot)
    assert [one.category for one in upstream.generation_failures] == ["timeout"]
    assert upstream.evaluation_failures == []
    assert [one.category for one in own.evaluation_failures] == ["scoring"]


def test_a_case_without_events_is_there_and_empty() -> None:
    snapshot = snapshot_of(2)
    store = store_of(snapshot, Journal())
    assert [case.case_id for case in case_results(store, snapshot)] == ["case-0", "case-1"]
    with pytest.raises(IndexError, match="position 2"):
        case_result(store, snapshot, 2)


def test_a_judged_metric_shows_its_calls_and_what_became_of_them() -> None:
    snapshot = snapshot_of(1, metrics=[metric("rubric", judged=True)])
    journal = Journal()
    journal.generate(0)
    ask(journal, "a", ANSWER)
    ask(journal, "gone", ANSWER)
    address = StepAddress(Stage.JUDGE, 0, "rubric")
    journal.done(0, address, aggregated(value=1, details={"n": 1}), candidate_id="c0")
    result = result_of(snapshot, journal)
    (execution,) = result.evaluation_executions
    assert list(execution.prompts) == ["a"]
    assert execution.responses["a"].text == "yes"
    assert execution.judgments[0].verdict == "yes"
    assert [failure.call_id for failure in execution.failures] == ["b"]
    assert execution.aggregation is not None
    assert (execution.aggregation.value, execution.candidate_id) == (1, "c0")
    assert result.scores[0].details == {"n": 1}


def test_a_failed_aggregation_shows_what_it_had() -> None:
    snapshot = snapshot_of(1, metrics=[metric("rubric", judged=True)])
    journal = Journal()
    journal.generate(0)
    ask(journal, "a", ANSWER)
    address = StepAddress(Stage.JUDGE, 0, "rubric")
    journal.failed(0, address, "judge", candidate_id="c0", execution=aggregated())
    result = result_of(snapshot, journal)
    execution = result.evaluation_executions[0]
    assert execution.aggregation is None
    assert execution.responses["a"].text == "yes"
    assert [one.category for one in result.evaluation_failures] == ["judge"]


def test_calls_that_are_not_aggregated_yet_are_shown() -> None:
    journal = Journal()
    ask(journal, "a", ANSWER)
    journal.failed(0, StepAddress(Stage.JUDGE, 0, "rubric", "b"), "timeout", "j2: gone")
    execution = evaluation_execution(steps_of(journal), "rubric", 0)
    assert execution is not None
    assert [call.call_id for call in execution.calls] == ["a"]
    assert [(one.call_id, one.category) for one in execution.failures] == [("b", "timeout")]
    assert evaluation_execution(steps_of(journal), "rubric", 1) is None


def test_traces_and_conversations_go_by_candidate() -> None:
    journal = Journal()
    journal.generate(0, 0, trace=[{"step_name": "search", "step_type": "tool"}])
    journal.generate(0, 1, conversation=[{"role": "user", "content": "hi"}])
    first, second = result_of(snapshot_of(1, num_samples=2), journal).generated_candidates
    assert first.trace is not None
    assert (first.candidate_id, first.trace[0].step_name) == ("c0", "search")
    assert second.conversation is not None
    assert (second.candidate_id, second.conversation[0].content) == ("c1", "hi")


def test_a_case_id_that_two_datasets_share_asks_for_the_dataset() -> None:
    datasets = [DatasetRef(dataset_id=one, fingerprint=one, n_cases=1) for one in ("a", "b")]
    snapshot = snapshot_of(datasets=datasets)
    store = store_of(snapshot, Journal())
    with pytest.raises(DefinitionError, match="one of 'a', 'b'"):
        find_case(store, snapshot, "case-0")
    found = find_case(store, snapshot, "case-0", dataset_id="b")
    assert found.position == 1
    assert find_case(store, snapshot, "case-0", case_key=found.case_key) == found
    with pytest.raises(DefinitionError, match="no case 'nope'"):
        find_case(store, snapshot, "nope")


def ask(journal: Journal, call_id: str, answer: dict[str, Any]) -> None:
    address = StepAddress(Stage.JUDGE, 0, "rubric", call_id)
    journal.done(0, address, answer, candidate_id="c0")


def aggregated(**fields: Any) -> dict[str, Any]:
    return {
        **fields,
        "judgments": [{"call_id": "a", "judge": "j1", "verdict": "yes"}],
        "scores": [{"metric_id": "rubric", "value": 1.0}],
        "failures": [{"call_id": "b", "judge": "j2", "category": "judge", "reason": "gone"}],
        "calls": [CALL, {"call_id": "b", "judge": "j2"}],
    }
