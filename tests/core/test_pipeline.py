"""The graph of a run's steps, held against what each part of a run means, written down apart.

Covers: themis.core.pipeline
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import pytest

from tests.views.journals import component, metric
from themis.core.events import Stage, StepAddress
from themis.core.pipeline import REDUCE, SELECT, Pipeline
from themis.core.snapshot import ComponentRef, DatasetRef, RunIdentity

TOGETHER = "candidates"


class Shape(NamedTuple):
    """A run, as far as its steps depend on it."""

    num_samples: int
    selector: bool
    reducer: bool
    reads_parsed: bool
    default_parser: str | None
    other_parsers: tuple[str, ...]
    metrics: tuple[ComponentRef, ...]

    @property
    def parsers(self) -> list[str]:
        own = [] if self.default_parser is None else [self.default_parser]
        return [*own, *self.other_parsers]

    def pipeline(self) -> Pipeline:
        identity = RunIdentity(
            datasets=[DatasetRef(dataset_id="d", fingerprint="f", n_cases=1)],
            generator=component("generator", "gen"),
            selector=component("selector", "sel") if self.selector else None,
            reducer=component("reducer", "red") if self.reducer else None,
            parsers=[component("parser", name) for name in self.parsers],
            default_parser=self.default_parser,
            metrics=list(self.metrics),
            num_samples=self.num_samples,
        )
        return Pipeline(identity, reads_parsed=self.reads_parsed)


def _metrics(default: str | None, others: Sequence[str], *, set_metric: bool) -> list[ComponentRef]:
    made = [
        metric("judged", parser=default, judged=True),
        metric("plain", parser=default),
        metric("seen", subject="trace", judged=True),
        metric("ranked", subject=TOGETHER, judged=True),
        *(metric(f"of_{name}", parser=name) for name in others),
    ]
    if set_metric:
        made.insert(0, metric("folds", subject=TOGETHER, of="plain"))
    return made


SHAPES = [
    Shape(
        num_samples,
        selector,
        reducer,
        reads_parsed,
        default,
        others,
        tuple(_metrics(default, others, set_metric=not (selector or reducer))),
    )
    for num_samples, selector, reducer, reads_parsed, default, others in product(
        (1, 2, 3), (False, True), (False, True), (False, True), (None, "own"), ((), ("second",))
    )
]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=[str(n) for n in range(len(SHAPES))])


def walked(shape: Shape, chosen: Sequence[int]) -> Iterator[StepAddress]:
    """Yield a case's steps in the order in which a run takes them."""
    samples = range(shape.num_samples)
    yield from (StepAddress(Stage.GENERATE, one) for one in samples)
    if shape.selector:
        yield SELECT
    subjects: Sequence[int | None] = chosen
    if shape.reducer:
        if shape.default_parser and shape.reads_parsed:
            yield from (StepAddress(Stage.PARSE, one, shape.default_parser) for one in chosen)
        yield REDUCE
        subjects = [None]
    for subject in subjects:
        yield from (StepAddress(Stage.PARSE, subject, parser) for parser in shape.parsers)
        for one in shape.metrics:
            assert one.metric is not None
            if one.metric.subject != TOGETHER:
                stage = Stage.JUDGE if one.metric.judged else Stage.SCORE
                yield StepAddress(stage, subject, one.name)
    for one in shape.metrics:
        assert one.metric is not None
        if one.metric.subject == TOGETHER:
            stage = Stage.JUDGE if one.metric.judged else Stage.SCORE
            yield StepAddress(stage, None, one.name)


def choices(shape: Shape) -> list[tuple[int, ...]]:
    """Return what may be chosen: every sample, the last, and the ends in the other order."""
    every = tuple(range(shape.num_samples))
    if not shape.selector:
        return [every]
    return list(dict.fromkeys([every, every[-1:], every[::-2]]))


@every_shape
def test_a_case_takes_the_steps_that_a_run_takes(shape: Shape) -> None:
    pipeline = shape.pipeline()
    for chosen in choices(shape):
        assert list(pipeline.steps(chosen)) == list(walked(shape, chosen))
    if not shape.selector:
        assert pipeline.steps() == pipeline.steps(pipeline.samples)


@every_shape
def test_a_step_rests_on_what_was_taken_before_it_and_on_all_that_it_is_made_of(
    shape: Shape,
) -> None:
    pipeline = shape.pipeline()
    for chosen in choices(shape):
        before: set[StepAddress] = set()
        for step in walked(shape, chosen):
            unchosen = {one for one in before if one.sample not in (None, *chosen)}
            awaited = {one for one in pipeline.awaits(step) if one.sample in (None, *chosen)}
            assert awaited | unchosen <= before
            made_of = {one for one in pipeline.upstream(step) if one.sample in (None, *chosen)}
            assert made_of == {one for one in before if one in ingredients(shape, step)} - unchosen
            before.add(step)


def ingredients(shape: Shape, step: StepAddress) -> set[StepAddress]:
    """Return all that goes into a step, said one stage after the other."""
    samples = range(shape.num_samples)
    generated = {StepAddress(Stage.GENERATE, one) for one in samples}
    candidates = generated | ({SELECT} if shape.selector else set())
    read: set[StepAddress] = set()
    if shape.reducer and shape.reads_parsed and shape.default_parser:
        read = {StepAddress(Stage.PARSE, one, shape.default_parser) for one in samples}
    if step.stage is Stage.GENERATE:
        return set()
    if step.stage is Stage.SELECT:
        return generated
    if step.stage is Stage.REDUCE:
        return candidates | read
    facts: dict[str, Any] = {one.name: one for one in shape.metrics}
    one = facts.get(step.component or "")
    if one is not None and one.metric.subject == TOGETHER:
        if one.metric.of is None:
            return candidates
        base = facts[one.metric.of].parser
        scores = {StepAddress(Stage.SCORE, sample, one.metric.of) for sample in samples}
        parsed = {StepAddress(Stage.PARSE, sample, base) for sample in samples if base}
        return generated | scores | parsed
    if step.sample is None:
        source = candidates | read | {REDUCE}
    else:
        source = {StepAddress(Stage.GENERATE, step.sample)}
    if step.stage is Stage.SCORE and one.parser is not None:
        return source | {StepAddress(Stage.PARSE, step.sample, one.parser)}
    return source


@every_shape
def test_what_rests_on_a_step_is_told_from_both_ends(shape: Shape) -> None:
    pipeline = shape.pipeline()
    steps = set(pipeline.steps(pipeline.samples))
    for step in steps:
        assert pipeline.downstream(step) <= steps
        for other in steps:
            assert (other in pipeline.downstream(step)) is (step in pipeline.upstream(other))


@every_shape
def test_a_judge_call_rests_on_what_the_step_rests_on_that_it_is_part_of(shape: Shape) -> None:
    pipeline = shape.pipeline()
    for step in pipeline.steps(pipeline.samples):
        if step.stage is Stage.JUDGE:
            assert pipeline.rests_on(step._replace(call="c")) == pipeline.rests_on(step)
    call = StepAddress(Stage.SELECT, None, "some-judge", "c")
    assert pipeline.rests_on(call) == pipeline.rests_on(SELECT)


@every_shape
def test_each_metric_has_one_role(shape: Shape) -> None:
    pipeline = shape.pipeline()
    roles = [pipeline.scored, pipeline.folded, pipeline.judged, pipeline.judged_together]
    assert sorted(sum(roles, ())) == sorted(one.name for one in shape.metrics)
    assert set(pipeline.judged) == {"judged", "seen"}
    assert pipeline.judged_together == ("ranked",)
    assert pipeline.all_judged == ("judged", "seen", "ranked")


def test_of_a_choice_not_made_yet_the_whole_case_stands_for_the_samples() -> None:
    shape = Shape(3, True, False, False, "own", (), (metric("plain", parser="own"),))
    pipeline = shape.pipeline()
    assert pipeline.subjects() == (None,)
    assert pipeline.steps()[-2:] == (
        StepAddress(Stage.PARSE, None, "own"),
        StepAddress(Stage.SCORE, None, "plain"),
    )
    generated = {StepAddress(Stage.GENERATE, one) for one in range(3)}
    assert pipeline.awaits(StepAddress(Stage.SCORE, 2, "plain")) == {
        StepAddress(Stage.PARSE, 2, "own"),
        SELECT,
        *generated,
    }
    assert pipeline.upstream(StepAddress(Stage.SCORE, None, "plain")) == {
        StepAddress(Stage.PARSE, None, "own"),
        SELECT,
        *generated,
    }


def test_of_a_step_that_the_run_does_not_have_nothing_is_said() -> None:
    pipeline = Shape(1, False, False, False, None, (), ()).pipeline()
    assert pipeline.rests_on(StepAddress(Stage.SCORE, 0, "another")) == ()
    assert pipeline.downstream(StepAddress(Stage.SCORE, 0, "another")) == frozenset()
