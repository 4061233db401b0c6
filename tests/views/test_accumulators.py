"""A fold may stop anywhere, go on later, and take the cases in any order: one result.

Covers: themis.core.results, themis.views, themis.views.accumulators, themis.views.case_results,
themis.views.cases, themis.views.headline, themis.views.scores, themis.views.state,
themis.views.steps, themis.views.timeline
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.views.journals import EXACT, Journal, metric, snapshot_of, store_of, summaries_of
from themis.core.events import Event, Stage, StepAddress
from themis.core.pipeline import Pipeline
from themis.core.snapshot import RunSnapshot
from themis.views.accumulators import Latencies, Moments, Total, scaled
from themis.views.case_results import fold_case
from themis.views.cases import run_cases
from themis.views.headline import Headline, RunStanding, execution_state
from themis.views.scores import ScoresFold
from themis.views.state import ProgressFold, RunHead
from themis.views.steps import PAGE, CaseSteps, fold_cases, read_steps
from themis.views.timeline import TimelineFold

FINITE = st.floats(allow_nan=False, allow_infinity=False)
N_CASES = 4


@st.composite
def journals(draw: st.DrawFn) -> tuple[RunSnapshot, Journal]:
    """A run of a few cases whose steps succeed, fail and are taken again in any order."""
    shape = draw(st.sampled_from(["plain", "samples", "selector", "reducer"]))
    samples = 1 if shape == "plain" else 3
    snapshot = snapshot_of(
        N_CASES,
        num_samples=samples,
        selector=shape == "selector",
        reducer=shape == "reducer",
        metrics=[metric(), metric("judged", judged=True), metric("set", subject="candidates")],
        parser="p",
    )
    journal = Journal()
    journal.started()
    for _ in range(draw(st.integers(0, 40))):
        journal.attempt = draw(st.sampled_from([1, 1, 2]))
        case = draw(st.integers(0, N_CASES - 1))
        sample = draw(st.sampled_from([*range(samples), None]))
        take_step(draw, journal, case, sample)
    if draw(st.booleans()):
        journal.finished()
    return snapshot, journal


def take_step(draw: st.DrawFn, journal: Journal, case: int, sample: int | None) -> None:
    value = draw(st.sampled_from([0, 1, 0.5]))
    steps: dict[str, tuple[StepAddress, dict[str, Any]]] = {
        "generate": (
            StepAddress(Stage.GENERATE, sample or 0),
            {
                "candidate_id": "g",
                "final_output": draw(st.sampled_from(["x", ""])),
                "token_usage": {"prompt_tokens": 3},
                "artifacts": {"finish_reason": draw(st.sampled_from(["stop", "length"]))},
            },
        ),
        "select": (StepAddress(Stage.SELECT), {"chosen": [0]}),
        "reduce": (
            StepAddress(Stage.REDUCE),
            {"candidate_id": "r", "final_output": "x", "sources": [0]},
        ),
        "parse": (StepAddress(Stage.PARSE, sample, "p"), {"value": "x"}),
        "score": (StepAddress(Stage.SCORE, sample, EXACT), {"value": int(value)}),
        "set": (StepAddress(Stage.SCORE, None, "set"), {"value": int(value)}),
        "judge": (StepAddress(Stage.JUDGE, sample, "judged"), {"value": int(value)}),
        "ask": (
            StepAddress(Stage.JUDGE, sample, "judged", "call"),
            {
                "call": {"call_id": "call", "judge": "j"},
                "prompt": {"text": "?"},
                "response": {"text": "!", "latency_ms": 0.1},
            },
        ),
    }
    name = draw(st.sampled_from([*steps, "end"]))
    if name == "end":
        journal.case_finished(case)
        return
    address, payload = steps[name]
    candidate = "r" if sample is None else f"c{sample}"
    if draw(st.integers(0, 3)) == 0:
        category = draw(st.sampled_from(["timeout", "parse_failure"]))
        journal.failed(case, address, category, candidate_id=candidate)
    else:
        reused = draw(st.booleans())
        ms = draw(st.sampled_from([0.1, 0.2, 7.0]))
        event = journal.done(case, address, payload, candidate_id=candidate, reused=reused, ms=ms)
        if not reused and draw(st.booleans()):
            event.data["cost"] = draw(st.sampled_from([0.1, 0.7, 1e-9]))


def folded(snapshot: RunSnapshot, head_events: list[Event], cases: list[CaseSteps]) -> Any:
    """Everything the views say of a run, given its cases in some order."""
    head = RunHead()
    timeline = TimelineFold()
    for event in head_events:
        head.add(event)
        timeline.take_event(event)
    scores, progress = ScoresFold(snapshot), ProgressFold(head, snapshot.n_cases)
    for steps in cases:
        for fold in (scores, progress, timeline):
            fold.add(steps)
    state = RunStanding(head, Headline(progress=progress.progress())).state(snapshot.run_id)
    return scores.summaries(), state, timeline.timeline()


def cases_of(events: list[Event]) -> dict[int, CaseSteps]:
    cases: dict[int, CaseSteps] = {}
    for event in events:
        if event.case_index is not None:
            cases.setdefault(event.case_index, CaseSteps(event.case_index)).add(event)
    return cases


@settings(max_examples=150, deadline=None)
@given(journals(), st.randoms(use_true_random=False))
def test_any_interleaving_of_cases_gives_the_same_result(
    run: tuple[RunSnapshot, Journal], random: Any
) -> None:
    snapshot, journal = run
    heads = [event for event in journal.events if event.case_index is None]
    straight = folded(snapshot, heads, list(cases_of(journal.events).values()))
    mixed = journal.events.copy()
    random.shuffle(mixed)
    cases = list(cases_of(mixed).values())
    random.shuffle(cases)
    assert folded(snapshot, heads, cases) == straight


@settings(max_examples=100, deadline=None)
@given(journals(), st.data())
def test_a_prefix_and_then_the_rest_is_the_whole(
    run: tuple[RunSnapshot, Journal], data: st.DataObject
) -> None:
    snapshot, journal = run
    cut = data.draw(st.integers(0, len(journal.events)))
    cases = cases_of(journal.events[:cut])
    head = RunHead()
    for event in journal.events[:cut]:
        head.add(event)
    folded(snapshot, journal.events[:cut], list(cases.values()))  # looking changes nothing
    for event in journal.events[cut:]:
        head.add(event)
        if event.case_index is not None:
            cases.setdefault(event.case_index, CaseSteps(event.case_index)).add(event)
    whole = cases_of(journal.events)
    heads = journal.events
    assert folded(snapshot, heads, list(cases.values())) == folded(
        snapshot, heads, list(whole.values())
    )
    at_once = RunHead()
    for event in journal.events:
        at_once.add(event)
    assert vars(head) == vars(at_once)


@settings(max_examples=60, deadline=None)
@given(journals())
def test_a_store_read_page_by_page_gives_what_the_events_give(
    run: tuple[RunSnapshot, Journal],
) -> None:
    snapshot, journal = run
    store = store_of(snapshot, journal)
    heads = [event for event in journal.events if event.case_index is None]
    cases = cases_of(journal.events)
    summaries, state, _ = folded(snapshot, heads, [cases[index] for index in sorted(cases)])
    assert summaries_of(store, snapshot) == summaries
    assert execution_state(store, snapshot.run_id) == state
    for page in (1, 3):
        read = list(read_steps(store, snapshot.run_id, 0, N_CASES, page=page))
        assert [steps.index for steps in read] == sorted(cases)
        for steps in read:
            assert [one.seq for one in steps.events] == [
                one.seq for one in cases[steps.index].events
            ]


@settings(max_examples=100, deadline=None)
@given(journals())
def test_every_metric_has_at_most_one_row_a_subject_and_the_case_result_agrees(
    run: tuple[RunSnapshot, Journal],
) -> None:
    snapshot, journal = run
    store = store_of(snapshot, journal)
    fold = ScoresFold(snapshot)
    fold_cases(store, snapshot, fold)
    names = {case.position: case for case in run_cases(store, snapshot)}
    pipeline = Pipeline(snapshot.identity)
    n_scores = 0
    for index, steps in cases_of(journal.events).items():
        n_scores += len(fold_case(pipeline, names[index], steps).scores)
    summaries = fold.summaries()
    assert n_scores == sum(summary.n_scored for summary in summaries)
    for summary in summaries:
        assert sum(summary.outcomes.values()) == summary.n_scored + summary.n_errors
        assert sum(summary.errors.values()) == summary.n_errors
        most = N_CASES * (1 if summary.metric_id == "set" else snapshot.identity.num_samples)
        assert summary.n_scored + summary.n_errors <= most
        assert summary.n_cases == N_CASES
        assert summary.n_cases_scored + summary.n_missing <= N_CASES
        if summary.bounds is not None and summary.mean is not None:
            assert summary.bounds[0] <= summary.bounds[1]
            whole = not summary.n_missing and not summary.n_errors
            if whole and (summary.n_scored == most or snapshot.identity.selector):
                assert summary.bounds == [summary.mean, summary.mean]


def test_reading_a_run_asks_for_no_more_than_a_page_of_cases_at_a_time() -> None:
    snapshot = snapshot_of(3 * PAGE)
    journal = Journal()
    for case in range(0, 3 * PAGE, 7):
        journal.score(case, 1)
    store = store_of(snapshot, journal)
    asked: list[tuple[int, int]] = []
    whole = store.case_events

    def counted(run_id: Any, start: int, stop: int) -> Any:
        asked.append((start, stop))
        return whole(run_id, start, stop)

    store.case_events = counted  # type: ignore[method-assign]
    summaries_of(store, snapshot)
    assert asked == [(0, PAGE), (PAGE, 2 * PAGE), (2 * PAGE, 3 * PAGE)]


@given(st.lists(FINITE, max_size=20))
def test_moments_are_exact(values: list[float]) -> None:
    moments = Moments()
    for value in values:
        moments.add(scaled(value))
    assert moments.count == len(values)
    if not values:
        assert moments.mean is None
        return
    exact = [Fraction(value) for value in values]
    mean = sum(exact, Fraction(0)) / len(exact)
    assert moments.mean == float(mean)
    if len(values) > 1:
        spread = sum(((one - mean) ** 2 for one in exact), Fraction(0)) / (len(exact) - 1)
        try:
            assert moments.variance == float(spread)
        except OverflowError:
            assert moments.variance is None
    else:
        assert moments.variance is None


def test_a_variance_survives_values_far_from_zero() -> None:
    moments = Moments()
    for value in (1e9, 1e9 + 1, 1e9 + 2):
        moments.add(scaled(value))
    assert moments.variance == 1.0


@given(st.lists(FINITE, max_size=20), st.randoms(use_true_random=False))
def test_a_total_is_exact_in_any_order(values: list[float], random: Any) -> None:
    total = Total()
    random.shuffle(values)
    for value in values:
        total.add(value)
    exact = sum(map(Fraction, values), Fraction(0))
    try:
        assert total.value == float(exact)
    except OverflowError:
        with pytest.raises(OverflowError):
            _ = total.value


DURATIONS = st.lists(st.floats(0.0, 1e7), max_size=200)


@given(DURATIONS, DURATIONS, st.randoms(use_true_random=False))
def test_latencies_taken_apart_and_merged_are_those_taken_together(
    some: list[float], others: list[float], random: Any
) -> None:
    together, one, other = Latencies(), Latencies(), Latencies()
    for value in some:
        one.add(value)
    for value in others:
        other.add(value)
    one.merge(other)
    everything = some + others
    random.shuffle(everything)
    for value in everything:
        together.add(value)
    assert one.figures() == together.figures()
    assert (one.count, one.sum_ms) == (together.count, together.sum_ms)
    assert list(one.figures()) == (["p50", "p90", "p99", "max"] if everything else [])


@given(st.lists(st.floats(0.1, 1e7), min_size=1, max_size=300))
def test_percentiles_are_those_of_numpy_within_one_percent(values: list[float]) -> None:
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    figures = latencies.figures()
    for name, share in (("p50", 50), ("p90", 90), ("p99", 99)):
        exact = float(numpy.percentile(values, share, method="inverted_cdf"))
        assert figures[name] == pytest.approx(exact, rel=0.011)
    assert figures["max"] == pytest.approx(max(values), abs=0.001)


@given(st.lists(st.floats(0.0, 1e7), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_percentile_is_within_one_percent_of_the_value_at_its_rank(
    values: list[float], share: float
) -> None:
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    exact = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    found = latencies.quantile(share)
    assert found is not None
    assert found == pytest.approx(exact, rel=0.011, abs=1e-9)
    assert latencies.sum_ms == pytest.approx(math.fsum(values), abs=1e-3)
