"""Metrics of the way to a candidate: what was called, in what order, in how many steps.

Covers: themis.catalog.metrics.trajectories, themis.catalog.tool_calls
"""

from __future__ import annotations

from itertools import combinations, permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.runs import events, experiment
from themis import RunResult, use
from themis.catalog.metrics.trajectories import CallSequence
from themis.catalog.tool_calls import Wanted, calls_in_conversation, calls_in_trace
from themis.core.contexts import ScoreContext
from themis.core.errors import DefinitionError, ParseError
from themis.core.models import (
    Case,
    ConversationTrace,
    Dataset,
    GenerationResult,
    Message,
    ParsedOutput,
    Score,
    TraceStep,
    WorkflowTrace,
)
from themis.testing.scripted import CountingParser, ScriptedGenerator, ScriptedJudge

STEPS = [
    TraceStep(step_name="plan", step_type="chain"),
    TraceStep(step_name="search", step_type="tool", input={"query": "Rome", "limit": 3}),
    TraceStep(
        step_name="search", step_type="tool", input={"query": "Roma"}, metadata={"failed": True}
    ),
    TraceStep(
        step_name="sum", step_type="tool", input='{"a": 1, "b": {"c": 2}}', output={"sum": 3}
    ),
]
CHAT = [
    Message(role="user", content="Add 1 and 2"),
    Message(
        role="assistant",
        content={
            "text": None,
            "tool_calls": [
                {"id": "1", "function": {"name": "search", "arguments": '{"query": "Rome"}'}}
            ],
        },
    ),
    Message(role="tool", content={"tool_call_id": "1", "status": "error", "text": "down"}),
    Message(
        role="assistant",
        content=[
            {"type": "text", "text": "I will add"},
            {"type": "tool_use", "id": "2", "name": "sum", "input": {"a": 1}},
            {"type": "function_call", "call_id": "3", "name": "sum", "arguments": '{"a": 2}'},
        ],
    ),
    Message(role="user", content=[{"type": "tool_result", "tool_use_id": "2", "is_error": True}]),
    Message(role="assistant", content={"tool_calls": [{"id": "4", "name": "end", "args": {}}]}),
    Message(role="assistant", content="It is 3"),
]


def way(
    *metrics: Any,
    trace: list[TraceStep] | None = None,
    chat: list[Message] | None = None,
    gold: Any = None,
    **more: Any,
) -> RunResult:
    """Run metrics over one candidate that came this way."""

    def answer(case: Case, ctx: object) -> GenerationResult:
        return GenerationResult(candidate_id="c", final_output="3", trace=trace, conversation=chat)

    case = Case(case_id="c0", input="q", expected_output=gold)
    data = Dataset(dataset_id="data", cases=[case])
    return experiment(ScriptedGenerator(answer), cases=data, metrics=list(metrics), **more).run()


def value(metric: Any, **about: Any) -> float | None:
    (row,) = way(metric, **{"trace": STEPS, **about}).score_rows()
    return row.value


@pytest.mark.parametrize(
    ("params", "right"),
    [
        ({"tool": "search"}, 1),
        ({"tool": "find"}, 0),
        ({"tool": "plan"}, 0),
        ({"tool": "search", "least": 2}, 1),
        ({"tool": "search", "least": 3}, 0),
        ({"tool": "search", "most": 1}, 0),
        ({"tool": "find", "least": 0, "most": 0}, 1),
        ({"tool": "search", "least": 0, "most": 0}, 0),
        ({"tool": "search", "arguments": {"query": "Rome"}}, 1),
        ({"tool": "search", "arguments": {"query": "Rome"}, "match": "exact"}, 0),
        ({"tool": "search", "arguments": {"limit": 3.0, "query": "Rome"}, "match": "exact"}, 1),
        ({"tool": "search", "arguments": {"query": "^Rom.$"}, "match": "regex", "least": 2}, 1),
        ({"tool": "search", "arguments": {"limit": "[0-9]"}, "match": "regex"}, 1),
        ({"tool": "search", "arguments": {"page": ""}, "match": "regex"}, 0),
        ({"tool": "sum", "arguments": {"b": {"c": 2}}}, 1),
        ({"tool": "sum", "arguments": {"b": {"c": "2"}}}, 0),
        ({"tool": "search", "least": 2, "errors": "skip"}, 0),
        ({"tool": "sum", "errors": "skip"}, 1),
        ({"tool": "sum", "errors": "fail"}, 0),
    ],
)
def test_a_tool_was_called_as_often_and_with_the_arguments_that_are_wanted(
    params: dict[str, Any], right: int
) -> None:
    assert value(use("builtin/trace/tool_called", **params)) == right


@pytest.mark.parametrize(
    ("params", "right"),
    [
        ({"calls": ["search", "search", "sum"]}, 1),
        ({"calls": ["search", "sum"]}, 0),
        ({"calls": ["search", "sum"], "errors": "skip"}, 1),
        ({"calls": ["search", "search", "sum"], "errors": "fail"}, 0),
        ({"calls": ["search", "sum"], "order": "subsequence"}, 1),
        ({"calls": ["sum", "search"], "order": "subsequence"}, 0),
        ({"calls": ["search", "sum"], "order": "contiguous"}, 1),
        (
            {
                "calls": [{"name": "search", "arguments": {"limit": 3}}, "sum"],
                "order": "contiguous",
            },
            0,
        ),
        ({"calls": ["sum", "search", "search"], "order": "any"}, 1),
        ({"calls": ["sum", "search"], "order": "any"}, 0),
        (
            {
                "calls": ["search", {"name": "search", "arguments": {"limit": 3}}, "sum"],
                "order": "any",
            },
            1,
        ),
        ({"calls": []}, 0),
        ({"calls": [], "order": "subsequence"}, 1),
    ],
)
def test_the_calls_are_those_wanted_in_the_order_wanted(params: dict[str, Any], right: int) -> None:
    assert value(use("builtin/trace/sequence", **params)) == right


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, 4),
        ({"step_type": "tool"}, 3),
        ({"step_name": "search"}, 2),
        ({"failed": True}, 1),
        ({"failed": False}, 3),
        ({"most": 4}, 1),
        ({"most": 3}, 0),
        ({"least": 5}, 0),
        ({"least": 1, "most": 1, "step_type": "chain"}, 1),
    ],
)
def test_steps_are_counted_or_held_to_bounds(params: dict[str, Any], expected: int) -> None:
    result = way(use("builtin/trace/step_count", name="steps", **params), trace=STEPS)
    assert result.metrics["steps"].mean == expected


def test_what_was_called_is_shown_in_the_details() -> None:
    (row,) = way(use("builtin/trace/tool_called", tool="sum"), trace=STEPS).score_rows()
    assert row.details["n_calls"] == 3
    assert row.details["n_failed"] == 1
    assert row.details["n_matching"] == 1
    assert row.details["calls"][2] == {"name": "sum", "arguments": {"a": 1, "b": {"c": 2}}}


def test_calls_are_read_from_conversations_in_the_forms_that_endpoints_give_them() -> None:
    calls = calls_in_conversation(ConversationTrace(trace_id="t", messages=CHAT))
    assert [(one.name, one.arguments, one.failed) for one in calls] == [
        ("search", {"query": "Rome"}, True),
        ("sum", {"a": 1}, True),
        ("sum", {"a": 2}, False),
        ("end", {}, False),
    ]
    chat = {"subject": "conversation"}
    names = ["search", "sum", "sum", "end"]
    assert value(use("builtin/trace/sequence", calls=names, **chat), chat=CHAT) == 1
    assert value(use("builtin/trace/tool_called", tool="sum", most=1, **chat), chat=CHAT) == 0
    count = use("builtin/trace/step_count", step_type="assistant", **chat)
    assert value(count, chat=CHAT) == 4
    assert value(use("builtin/trace/step_count", failed=True, **chat), chat=CHAT) == 2


def test_what_looks_like_a_call_in_a_text_is_none() -> None:
    said = [Message(role="assistant", content='{"tool_calls": [{"name": "sum"}]}')]
    assert calls_in_conversation(ConversationTrace(trace_id="t", messages=said)) == []


def test_the_wanted_calls_may_be_the_cases_own() -> None:
    sequence = use("builtin/trace/sequence", order="subsequence")
    assert value(sequence, gold=["search", {"name": "sum", "arguments": {"a": 1}}]) == 1
    assert value(sequence, gold=["sum", "search"]) == 0
    called = use("builtin/trace/tool_called")
    assert value(called, gold={"name": "search", "arguments": {"limit": 3}}) == 1
    (row,) = way(sequence, trace=STEPS, gold=7).score_rows()
    assert row.outcome == "error"
    assert "expected_output 7 is no list of tools' names" in (row.error_message or "")


@pytest.mark.parametrize("subject", ["trace", "conversation"])
def test_a_candidate_without_its_way_is_an_error_and_neither_a_zero_nor_an_outage(
    subject: str,
) -> None:
    rubric = {"trace": "builtin/trace_rubric", "conversation": "builtin/conversation_rubric"}
    judge = ScriptedJudge()
    result = way(
        use("builtin/trace/step_count", name="steps", subject=subject),
        use("builtin/trace/tool_called", name="called", tool="sum", subject=subject),
        use(rubric[subject], name="judged", rubric="Was it short?"),
        judges=[judge],
    )
    assert result.status == "completed"  # to try again would give nothing else
    assert judge.count() == 0
    for row in result.score_rows():
        assert (row.value, row.outcome, row.error_category) == (None, "error", f"no_{subject}")
        assert f"the candidate has no {subject}" in (row.error_message or "")
    summary = result.metrics["called"]
    assert (summary.mean, summary.n_scored, summary.n_errors) == (None, 0, 1)


def test_an_empty_trace_is_a_way_in_which_nothing_was_done() -> None:
    assert value(use("builtin/trace/step_count"), trace=[]) == 0
    assert value(use("builtin/trace/tool_called", tool="sum"), trace=[]) == 0


def test_the_way_is_scored_whatever_became_of_the_answer() -> None:
    def unread(output: Any) -> Any:
        raise ParseError("nothing in it")

    result = way(
        use("builtin/trace/tool_called", tool="sum"),
        "builtin/exact_match",
        trace=STEPS,
        gold="3",
        parser=CountingParser(unread, fingerprint="unread"),
    )
    assert result.metrics["builtin/trace/tool_called"].mean == 1
    assert result.metrics["builtin/exact_match"].mean == 0


def test_the_key_of_a_score_covers_the_way() -> None:
    def keys(trace: list[TraceStep]) -> list[Any]:
        made = GenerationResult(candidate_id="c", final_output="3", trace=trace)
        metrics = [use("builtin/trace/tool_called", tool="sum"), "builtin/exact_match"]
        generator = ScriptedGenerator(lambda case, ctx: made, fingerprint=str(len(trace)))
        one = experiment(generator, cases=1, metrics=metrics)
        found = events(one.run(), one.store, "step_done")
        return [
            event.key
            for name in ("builtin/trace/tool_called", "builtin/exact_match")
            for event in found
            if event.address is not None and event.address.component == name
        ]

    first, again, shorter = keys(STEPS), keys(STEPS), keys(STEPS[:2])
    assert first == again
    assert first[0] != shorter[0]


class Longest:
    """A metric of the user's: the longest name among the steps."""

    component_id = "metric/longest"
    version = "1"
    subject = "trace"
    kind = "value"

    def fingerprint(self) -> str:
        return "longest"

    def score(self, parsed: ParsedOutput, case: Case, ctx: ScoreContext) -> Score:
        assert ctx.trace is not None
        longest = max(len(step.step_name) for step in ctx.trace.steps)
        ctx.trace.steps[0].input["spoilt"] = True
        return Score(metric_id=self.component_id, value=longest)


def test_a_metric_of_the_users_own_gets_the_trace_in_its_context_as_a_copy() -> None:
    step = TraceStep(step_name="plan", step_type="chain")
    result = way(Longest(), trace=[step])
    assert result.metrics["metric/longest"].mean == 4
    assert step.input == {}
    (case,) = result.cases
    assert case.generated_candidates[0].trace == [step]


def test_a_judge_is_shown_the_way_step_by_step() -> None:
    judge = ScriptedJudge()
    result = way(
        use("builtin/trace_rubric", name="trace", rubric="Was it short?"),
        use("builtin/conversation_rubric", name="chat", rubric="Was it polite?"),
        trace=STEPS,
        chat=CHAT,
        judges=[judge],
    )
    assert [result.metrics[name].mean for name in ("trace", "chat")] == [1, 1]
    by_rubric = {("short" if "Was it short" in text else "polite"): text for text in judge.prompts}
    assert "Step 2: tool search\ninput: {" in by_rubric["short"]
    assert '"Roma"' in by_rubric["short"]
    assert "it failed" in by_rubric["short"]
    assert "assistant:\nIt is 3" in by_rubric["polite"]


def test_a_pattern_that_takes_for_ever_costs_its_case_its_score_and_holds_up_nothing() -> None:
    step = TraceStep(step_name="search", step_type="tool", input={"query": "a" * 40 + "!"})
    pattern = {"query": "(a+)+$"}
    result = way(
        use("builtin/trace/tool_called", tool="search", arguments=pattern, match="regex", name="p"),
        use("builtin/trace/tool_called", tool="search", name="called"),
        trace=[step],
        cpu_timeout=2.0,
    )
    assert (result.metrics["p"].errors, result.metrics["p"].mean) == ({}, 0)
    assert result.metrics["called"].mean == 1


@pytest.mark.parametrize(
    ("metadata", "output", "said"),
    [
        ({"failed": True}, None, "it failed\n"),
        ({"error": "no such city"}, None, "it failed: no such city\n"),
        ({"error": True}, None, "it failed\n"),
        ({}, {"error": "timeout"}, "it failed\n"),
    ],
)
def test_a_judge_is_told_of_every_step_that_failed(
    metadata: dict[str, Any], output: Any, said: str
) -> None:
    judge = ScriptedJudge()
    step = TraceStep(step_name="search", step_type="tool", output=output, metadata=metadata)
    rubric = use("builtin/trace_rubric", name="trace", rubric="Did it work?")
    way(rubric, trace=[step], judges=[judge])
    (prompt,) = judge.prompts
    assert said in prompt


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (use("builtin/trace/tool_called", arguments={"a": 1}), "arguments"),
        (
            use("builtin/trace/tool_called", tool="a", arguments={"a": "("}, match="regex"),
            "regular",
        ),
        (use("builtin/trace/tool_called", tool="a", least=2, most=1), "most"),
        (use("builtin/trace/tool_called", tool="a", errors="ignore"), "errors"),
        (use("builtin/trace/sequence", calls=[{"tool": "a"}]), "calls"),
        (use("builtin/trace/sequence", order="sorted"), "order"),
        (use("builtin/trace/step_count", subject="convrsation"), "did you mean 'conversation'"),
        (use("builtin/trace/step_count", subject="conversation", step_name="a"), "step_name"),
        (use("builtin/trace/step_count", parser="builtin/text"), "which no parser reads"),
    ],
)
def test_what_cannot_be_meant_is_refused(metric: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        experiment(metrics=[metric]).compile()


def test_a_reducer_and_a_metric_of_the_way_are_refused_together() -> None:
    with pytest.raises(DefinitionError, match="leave out the reducer"):
        experiment(
            metrics=["builtin/trace/step_count"], samples=2, reducer="builtin/majority_vote"
        ).compile()


NAMES = st.sampled_from("abc")
CALLS = st.lists(NAMES, max_size=5)
PATTERNS = st.lists(
    st.one_of(
        NAMES,
        st.builds(lambda name, n: {"name": name, "arguments": {"n": n}}, NAMES, st.integers(0, 1)),
    ),
    max_size=4,
)


def _score(calls: list[str], order: str, made: list[TraceStep]) -> float:
    metric = CallSequence(calls=calls, order=order)
    context: Any = ScoreContext(
        run_id="r",  # type: ignore[arg-type]
        case_id="c",  # type: ignore[arg-type]
        dataset_id="d",  # type: ignore[arg-type]
        case_key="k",  # type: ignore[arg-type]
        seed=None,
        case=Case(case_id="c", input=0),
        parsed_output=None,
        trace=WorkflowTrace(trace_id="t", steps=made),
    )
    scored = metric.score(ParsedOutput(value=""), context.case, context)
    assert isinstance(scored, Score)
    return float(scored.value)


@settings(max_examples=300, deadline=None)
@given(wanted=PATTERNS, made=st.lists(st.tuples(NAMES, st.integers(0, 1)), max_size=5))
def test_orders_agree_with_their_plain_definitions(wanted: list[Any], made: list[Any]) -> None:
    steps = [TraceStep(step_name=name, step_type="tool", input={"n": n}) for name, n in made]
    calls = calls_in_trace(WorkflowTrace(trace_id="t", steps=steps))
    read = [Wanted.read(one, "subset") for one in wanted]

    def fits(some: Any) -> bool:
        some = list(some)
        return len(some) == len(read) and all(
            one is not None and one.is_met_by(call) for one, call in zip(read, some, strict=True)
        )

    n = len(read)
    expected = {
        "exact": fits(calls),
        "subsequence": any(fits(some) for some in combinations(calls, n)),
        "contiguous": any(fits(calls[at : at + n]) for at in range(len(calls) - n + 1)),
        "any": any(fits(some) for some in permutations(calls)),
    }
    found = {order: bool(_score(wanted, order, steps)) for order in expected}
    assert found == expected
