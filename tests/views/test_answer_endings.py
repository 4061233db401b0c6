"""How answers ended: told from what was generated, of the right rows, and missed nowhere.

Covers: themis.core.endings, themis.views.answer_endings, themis.views.scores, themis.views.steps
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.views.journals import EXACT, Journal, metric, snapshot_of, store_of, summaries_of
from themis.core.endings import ending_of
from themis.core.events import Artifact, Stage, StepAddress
from themis.core.pipeline import Pipeline
from themis.core.snapshot import RunSnapshot
from themis.views.answer_endings import subject_endings
from themis.views.scores import CaseScore, score_case
from themis.views.steps import CaseSteps, subjects

REDUCE = StepAddress(Stage.REDUCE)
CUT = {"finish_reason": "length"}
REFUSED = {"finish_reason": "refusal"}
UNREAD = {"category": "parse_failure", "message": "no number"}


def steps_of(journal: Journal) -> CaseSteps:
    steps = CaseSteps(0)
    for event in journal.events:
        steps.add(event)
    return steps


def rows_of(snapshot: RunSnapshot, journal: Journal) -> list[CaseScore]:
    identity = snapshot.identity
    return score_case(steps_of(journal), Pipeline(identity), identity.metrics)


def told(rows: list[CaseScore]) -> list[tuple[Any, ...]]:
    return [(row.outcome, row.category, row.message, row.ending) for row in rows]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
REASONS = st.sampled_from(["stop", "length", "refusal", "content_filter", "tool_calls"])
BLANK = st.text(alphabet=[chr(one) for one in range(0x3001) if chr(one).isspace()], max_size=4)


@given(
    BLANK | st.text() | JSON,
    st.none() | JSON | st.fixed_dictionaries({"finish_reason": REASONS | JSON}),
    st.dictionaries(st.sampled_from(["trace", "latency_ms", "a"]), JSON),
)
@example("\x1c\x1f \x0b\x85", None, {})
@example(2**70, {"finish_reason": "length"}, {})
@example("text", {"a": {"finish_reason": "stop"}, "finish_reason": "length"}, {})
@example("text", {"raw_response": {"final_output": ""}, "finish_reason": "stop"}, {})
def test_no_ending_is_missed_for_not_decoding(
    output: Any, artifacts: Any, more: dict[str, Any]
) -> None:
    journal = Journal()
    journal.generate(0, output=output, artifacts=artifacts, **more)
    pipeline = Pipeline(snapshot_of().identity)
    steps = steps_of(journal)
    found = subject_endings(steps, pipeline, subjects(steps, pipeline))
    ended = found.get(0)
    assert (None if ended is None else ended.ending) == ending_of(output, artifacts)


def test_an_answer_that_simply_ended_is_never_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []
    whole: property = vars(Artifact)["payload"]

    def counted(artifact: Artifact) -> Any:
        decoded.append(artifact.raw)
        assert whole.fget is not None
        return whole.fget(artifact)

    monkeypatch.setattr(Artifact, "payload", property(counted))
    journal = Journal()
    said = 'says "finish_reason":"length" and "final_output":""'
    response = {"choices": [{"finish_reason": "stop"}]}
    journal.generate(0, output=said, artifacts={"finish_reason": "stop", "raw": response})
    journal.score(0, 1)
    rows_of(snapshot_of(), journal)
    assert [raw for raw in decoded if b"final_output" in raw] == []


def test_a_cut_off_answer_is_scored_as_usual_with_its_ending_beside() -> None:
    snapshot = snapshot_of(1, metrics=[metric(), metric("f1", kind="value")])
    journal = Journal()
    journal.generate(0, artifacts=CUT)
    journal.score(0, 1)
    journal.score(0, 0, name="f1", failure=UNREAD)
    why = "the answer was cut off at its token limit"
    assert told(rows_of(snapshot, journal)) == [
        ("correct", "truncated", why, "truncated"),
        ("scored", "truncated", "no number", "truncated"),
    ]
    exact, f1 = summaries_of(store_of(snapshot, journal), snapshot)
    assert (exact.endings, exact.failures, exact.n_unparsed) == ({"truncated": 1}, {}, 0)
    assert (f1.endings, f1.failures, f1.n_unparsed) == ({"truncated": 1}, {"truncated": 1}, 1)


def test_an_outage_keeps_its_own_category_though_the_answer_was_cut_off() -> None:
    journal = Journal()
    journal.generate(0, artifacts=CUT)
    journal.failed(0, StepAddress(Stage.SCORE, 0, EXACT), "scoring", "it broke")
    assert told(rows_of(snapshot_of(), journal)) == [("error", "scoring", "it broke", "truncated")]


def test_an_answer_made_anew_lends_its_ending_to_no_earlier_score() -> None:
    journal = Journal()
    journal.generate(0)
    journal.score(0, 1)
    journal.generate(0, artifacts=CUT)
    assert told(rows_of(snapshot_of(), journal)) == [("correct", None, None, None)]
    journal.score(0, 1)
    assert [row.category for row in rows_of(snapshot_of(), journal)] == ["truncated"]


@pytest.mark.parametrize(
    ("artifacts", "sources", "category"),
    [
        ([CUT, CUT, CUT], [0, 1, 2], "truncated"),
        ([CUT, None, CUT], [0, 1, 2], None),
        ([CUT, None, CUT], [0, 2], "truncated"),
        ([CUT, None, REFUSED], [0, 2], None),
        ([CUT, None, None], [0], "truncated"),
        ([CUT, None, None], [1], None),
        ([CUT, CUT, CUT], [], None),
    ],
)
def test_a_reduced_candidate_has_the_ending_that_all_its_sources_share(
    artifacts: list[Any], sources: list[int], category: str | None
) -> None:
    journal = Journal()
    for sample, evidence in enumerate(artifacts):
        journal.generate(0, sample, artifacts=evidence)
    payload = {"candidate_id": "r", "final_output": "x", "sources": sources}
    journal.done(0, REDUCE, payload, candidate_id="r")
    journal.score(0, 1, None)
    snapshot = snapshot_of(num_samples=3, reducer=True)
    assert [row.category for row in rows_of(snapshot, journal)] == [category]


def test_sources_count_among_what_a_selector_chose() -> None:
    journal = Journal()
    for sample, evidence in enumerate([None, CUT, CUT]):
        journal.generate(0, sample, artifacts=evidence)
    journal.done(0, StepAddress(Stage.SELECT), {"chosen": [1, 2]})
    journal.done(0, REDUCE, {"candidate_id": "r", "final_output": "x", "sources": [0, 1]})
    journal.score(0, 1, None)
    snapshot = snapshot_of(num_samples=3, reducer=True, selector=True)
    assert [row.category for row in rows_of(snapshot, journal)] == ["truncated"]


@pytest.mark.parametrize("reducer", [False, True])
def test_candidates_that_are_scored_together_have_no_ending(reducer: bool) -> None:
    metrics = [metric("set", subject="candidates")]
    snapshot = snapshot_of(num_samples=2, metrics=metrics, reducer=reducer)
    journal = Journal()
    for sample in range(2):
        journal.generate(0, sample, artifacts=CUT)
    journal.done(0, REDUCE, {"candidate_id": "r", "final_output": "x", "sources": [0, 1]})
    journal.score(0, 1, None, name="set")
    assert told(rows_of(snapshot, journal)) == [("correct", None, None, None)]
