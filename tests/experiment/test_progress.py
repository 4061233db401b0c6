"""Progress: what is shown was committed, begins where the run already was, and stops nothing.

Covers: themis.experiment.progress, themis.planning.compiled_run
"""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from themis import Experiment, InMemoryRunStore, RuntimeConfig, use
from themis.core.base import ArtifactKey
from themis.core.config import EvaluationConfig, GenerationConfig, StorageConfig
from themis.core.events import Artifact, Event, EventKind, Stage, StepAddress
from themis.core.models import Case, Dataset
from themis.core.snapshot import RunSnapshot
from themis.experiment import progress
from themis.experiment.progress import Lines, Tally, shown_progress
from themis.planning.compiled_run import CompiledRun


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def experiment(n: int = 5, **generation: Any) -> Experiment:
    return Experiment(
        generation=GenerationConfig(
            generator="builtin/demo_generator", candidate_policy={"num_samples": 2}, **generation
        ),
        evaluation=EvaluationConfig(
            metrics=["builtin/exact_match", use("builtin/llm_rubric", rubric="?", name="judged")],
            parsers=["builtin/text"],
            judge_models=["builtin/demo_judge"],
        ),
        storage=StorageConfig(store="memory"),
        datasets=[
            Dataset(
                dataset_id="d",
                cases=[
                    Case(case_id=str(i), input=str(i), expected_output=str(i)) for i in range(n)
                ],
            )
        ],
    )


def compiled(one: Experiment) -> CompiledRun:
    """Return the run as it is carried out."""
    return one._compile(one.runtime)


def tally_of(one: Experiment, store: InMemoryRunStore) -> Tally:
    """Return a tally that was told every event of the run."""
    tally = Tally(compiled(one))
    tally.committed(list(store.events(one.compile().run_id)))
    return tally


@pytest.fixture
def store() -> InMemoryRunStore:
    made = InMemoryRunStore()
    made.initialize()
    return made


def started(snapshot: RunSnapshot, **data: Any) -> Event:
    return Event(kind=EventKind.RUN_STARTED, attempt=1, at=0.0, data={"until": "judge", **data})


def test_every_stage_in_use_ends_full(store: InMemoryRunStore) -> None:
    one = experiment(reducer="builtin/majority_vote", selector="builtin/best_of_n")
    result = one.run(store=store)
    tally = tally_of(one, store)
    assert set(tally.totals) == set(Stage)
    assert {stage: tally.done(stage) for stage in tally.totals} == tally.totals
    assert tally.cases == tally.n_cases == 5
    assert tally.tokens == sum(result.progress.tokens.values())


def test_stages_that_are_not_in_use_are_not_shown(store: InMemoryRunStore) -> None:
    one = experiment()
    one.run(store=store, until_stage="parse")
    assert list(tally_of(one, store).totals) == [Stage.GENERATE, Stage.PARSE]


def test_a_replay_shows_only_what_is_done_again(store: InMemoryRunStore) -> None:
    one = experiment()
    one.run(store=store)
    seen = len(list(store.events(one.compile().run_id)))
    one.replay(stage="score", store=store)
    tally = Tally(compiled(one))
    tally.committed(list(store.events(one.compile().run_id, after=seen)))
    assert list(tally.totals) == [Stage.SCORE, Stage.JUDGE]
    assert tally.done(Stage.SCORE) == 10


def test_a_resumed_run_begins_where_it_was() -> None:
    run = compiled(experiment(10))
    tally = Tally(run)
    tally.committed([started(run.snapshot, done_cases=4)])
    assert tally.cases == 4
    assert tally.done(Stage.GENERATE) == 8
    assert tally.seconds_left is None


def test_rate_and_time_left_are_those_of_this_attempt() -> None:
    now = [0.0]
    run = compiled(experiment(10))
    tally = Tally(run, clock=lambda: now[0])
    now[0] = 100.0
    tally.committed([started(run.snapshot, done_cases=4)])
    now[0] = 102.0
    tally.committed(
        [Event(kind=EventKind.CASE_FINISHED, attempt=1, at=0.0, case_index=i) for i in range(4)]
    )
    assert tally.rate == 2.0
    assert tally.seconds_left == 1.0
    assert tally.summary() == "8/10 cases, 2.0 a second, 0 errors, 2.0 s so far, 1.0 s left"


def test_failures_are_counted_as_steps_and_as_errors() -> None:
    run = compiled(experiment())
    tally = Tally(run)
    failed = Event(
        kind=EventKind.STEP_FAILED,
        attempt=1,
        at=0.0,
        case_index=0,
        address=StepAddress(Stage.GENERATE, 0),
    )
    tally.committed([started(run.snapshot), failed])
    assert (tally.errors, tally.done(Stage.GENERATE)) == (1, 1)


def test_cost_is_shown_as_far_as_it_is_known_and_of_new_work_only() -> None:
    run = compiled(experiment())
    tally = Tally(run, clock=lambda: 0.0)
    raw = b'{"final_output":"x","token_usage":{"prompt_tokens":3,"completion_tokens":2}}'

    def answered(*, reused: bool = False, **data: Any) -> Event:
        return Event(
            kind=EventKind.STEP_DONE,
            attempt=1,
            at=0.0,
            case_index=0,
            address=StepAddress(Stage.GENERATE, 0),
            reused=reused,
            data=data,
            artifact=Artifact(key=ArtifactKey("k"), raw=raw, at=0.0),
        )

    tally.committed([started(run.snapshot), answered(reused=True)])
    assert "price" not in tally.summary()
    assert "$" not in tally.summary()
    tally.committed([answered()])
    assert "5 tokens, unknown price, 0 errors" in tally.summary()
    tally.committed([answered(cost=0.01), answered(cost=0.0023)])
    assert "15 tokens, $0.0123 + 1 call at an unknown price, 0 errors" in tally.summary()


def test_plain_lines_come_seldom_and_once_at_the_end() -> None:
    now = [0.0]
    run = compiled(experiment(100))
    stream = io.StringIO()
    lines = Lines(Tally(run, clock=lambda: now[0]), stream, clock=lambda: now[0])
    lines.committed([started(run.snapshot)])
    for tick in range(110):
        now[0] = tick / 10
        lines.committed([Event(kind=EventKind.CASE_FINISHED, attempt=1, at=0.0, case_index=tick)])
    lines.end()
    assert stream.getvalue().count("\n") == 3


def test_nothing_is_written_where_nothing_happened() -> None:
    stream = io.StringIO()
    lines = Lines(Tally(compiled(experiment())), stream)
    lines.end()
    assert stream.getvalue() == ""


def test_a_stream_that_broke_does_not_stop_a_run() -> None:
    stream = io.StringIO()
    stream.close()
    run = compiled(experiment())
    lines = Lines(Tally(run), stream)
    lines.committed([started(run.snapshot)])
    lines.end()


@pytest.mark.parametrize(
    ("asked", "is_terminal", "shows"),
    [
        (None, False, None),
        (None, True, progress.Bars),
        (True, False, progress.Lines),
        (True, True, progress.Bars),
        (False, False, None),
        (False, True, None),
    ],
)
def test_bars_on_a_terminal_lines_elsewhere_and_nothing_unasked(
    monkeypatch: pytest.MonkeyPatch, asked: bool | None, is_terminal: bool, shows: type | None
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal() if is_terminal else io.StringIO())
    with shown_progress(asked, compiled(experiment())) as display:
        assert display is None if shows is None else isinstance(display, shows)


def test_a_run_on_a_terminal_draws_a_bar_for_each_stage(
    monkeypatch: pytest.MonkeyPatch, store: InMemoryRunStore
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    experiment().run(store=store, runtime=RuntimeConfig(max_concurrent_tasks=2))
    drawn = screen.getvalue()
    for words in (
        "generate",
        "parse",
        "score",
        "judge",
        "10/10",
        "5/5 cases",
        "tokens",
        "0 errors",
    ):
        assert words in drawn
    assert "select" not in drawn


def test_a_run_with_nothing_left_to_do_draws_nothing(
    monkeypatch: pytest.MonkeyPatch, store: InMemoryRunStore
) -> None:
    experiment().run(store=store)
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    experiment().run(store=store)
    assert screen.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "shown"), [(1.25, "1.2 s"), (59, "59 s"), (61, "1 min 01 s"), (3700, "1 h 01 min")]
)
def test_times_are_written_as_people_read_them(seconds: float, shown: str) -> None:
    assert progress._duration(seconds) == shown


def test_tokens_are_read_without_decoding_and_not_from_the_answer() -> None:
    raw = (
        b'{"final_output":"\\"token_usage\\":{\\"prompt_tokens\\":9}","artifacts":{"usage":'
        b'{"prompt_tokens":7}},"token_usage":{"prompt_tokens":3,"completion_tokens":2,'
        b'"cached_tokens":1},"latency_ms":5}'
    )
    assert progress._tokens(raw) == 5
    assert progress._tokens(b'{"value":1}') == 0
