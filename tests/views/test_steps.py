"""What stands for a score, after any attempts: the graph of steps and a plain account agree.

Covers: themis.core.pipeline, themis.views.steps
"""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.test_pipeline import SHAPES, TOGETHER, Shape, ingredients
from tests.views.journals import Journal
from themis.core.events import Event, EventKind, Stage, StepAddress
from themis.core.pipeline import REDUCE, SELECT
from themis.core.snapshot import ComponentRef, MetricFacts
from themis.views.scores import score_case
from themis.views.steps import CaseSteps, subjects


class _Cut(Exception):
    """The attempt ends here."""


class _Attempts:
    """A case gone through by several attempts, as a run goes through it."""

    def __init__(self, shape: Shape, draw: st.DrawFn) -> None:
        self.shape = shape
        self.journal = Journal()
        self._draw = draw
        self._holds: dict[StepAddress, bool] = {}
        self._remade: set[StepAddress] = set()
        self._taken: set[StepAddress] = set()
        self._redo: Stage | None = None
        self._chosen: list[int] = []

    def attempt(self) -> None:
        until = self._draw(st.sampled_from([Stage.JUDGE, Stage.JUDGE, *Stage]))
        self._redo = self._draw(st.sampled_from([None, *Stage]))
        self._remade, self._taken = set(), set()
        try:
            self._walk(until)
        except _Cut:
            return
        for address in list(self._holds):
            rests_on_new = self._remade & ingredients(self.shape, address)
            if address.stage.order > until.order and rests_on_new:
                self.journal._add(EventKind.STEP_DROPPED, case_index=0, address=address)
                del self._holds[address]

    def _walk(self, until: Stage) -> None:
        shape = self.shape
        made = [
            sample
            for sample in range(shape.num_samples)
            if self._take(StepAddress(Stage.GENERATE, sample))
        ]
        whole = len(made) == shape.num_samples
        found: list[int | None] = [*made]
        if shape.selector and until.order >= Stage.SELECT.order:
            whole = whole and self._take(SELECT)
            found = [*self._chosen] if whole else []
        if shape.reducer and until.order >= Stage.REDUCE.order:
            if whole and shape.reads_parsed and shape.default_parser:
                for sample in found:
                    self._take(StepAddress(Stage.PARSE, sample, shape.default_parser))
            found = [None] if whole and self._take(REDUCE) else []
        if until.order < Stage.PARSE.order:
            return
        for subject in found:
            self._evaluate(subject, until)
        if len(made) < shape.num_samples or (shape.selector and not whole):
            return
        for one in shape.metrics:
            facts = _facts(one)
            if facts.subject == TOGETHER and until.order >= _stage(one).order:
                folded = [StepAddress(Stage.SCORE, sample, facts.of) for sample in made if facts.of]
                self._take(StepAddress(_stage(one), None, one.name), needs=folded)

    def _evaluate(self, subject: int | None, until: Stage) -> None:
        for parser in self.shape.parsers:
            self._take(StepAddress(Stage.PARSE, subject, parser))
        for one in self.shape.metrics:
            if _facts(one).subject != TOGETHER and until.order >= _stage(one).order:
                reads = [StepAddress(Stage.PARSE, subject, one.parser)]
                reads = reads if one.parser and not _facts(one).judged else []
                self._take(StepAddress(_stage(one), subject, one.name), needs=reads)

    def _take(self, address: StepAddress, *, needs: Iterable[StepAddress] = ()) -> bool:
        """Take a step, unless it holds; return whether it does now."""
        again = self._redo is not None and address.stage.order >= self._redo.order
        again = again or bool(self._taken & ingredients(self.shape, address))
        if self._holds.get(address) and not again:
            return True
        fate = self._draw(st.sampled_from(["done"] * 8 + ["failed"] * 2 + ["cut"]))
        if fate == "cut":
            raise _Cut
        self._taken.add(address)
        name = "r" if address.sample is None else f"c{address.sample}"
        holds = fate == "done" and all(self._holds.get(one) for one in needs)
        if holds:
            self._remade.add(address)
            payload: dict[str, object] = {"value": 1, "final_output": "x", "candidate_id": name}
            if address.stage is Stage.SELECT:
                samples = st.sampled_from(range(self.shape.num_samples))
                self._chosen = self._draw(st.lists(samples, min_size=1, unique=True))
                payload = {"chosen": self._chosen}
            if address.stage is Stage.REDUCE:
                payload["sources"] = [0]
            self.journal.done(0, address, payload, candidate_id=name)
        else:
            self.journal.failed(0, address, "timeout", candidate_id=name)
        self._holds[address] = holds
        return holds


@st.composite
def attempts(draw: st.DrawFn) -> tuple[Shape, CaseSteps]:
    shape = draw(st.sampled_from(SHAPES))
    case = _Attempts(shape, draw)
    for number in range(draw(st.integers(1, 3))):
        case.journal.attempt = number + 1
        case.attempt()
    steps = CaseSteps(0)
    for event in case.journal.events:
        steps.add(event)
    return shape, steps


@settings(max_examples=500, deadline=None)
@given(attempts())
def test_a_row_stands_for_what_is_newest_of_its_score_and_of_what_it_rests_on(
    case: tuple[Shape, CaseSteps],
) -> None:
    shape, steps = case
    pipeline = shape.pipeline()
    told = _Account(shape, steps)
    assert [one.sample for one in subjects(steps, pipeline)] == told.subjects()
    rows = {
        (row.metric_id, row.sample): row.event.seq
        for row in score_case(steps, pipeline, shape.metrics)
    }
    expected = {
        (one.name, sample): event.seq
        for one in shape.metrics
        for sample in ([None] if _facts(one).subject == TOGETHER else told.subjects())
        if (event := told.row(one, sample)) is not None
    }
    assert rows == expected


class _Account:
    """What stands for each score of a case, said for one kind of run after the other."""

    def __init__(self, shape: Shape, steps: CaseSteps) -> None:
        self._shape = shape
        self._newest = steps.newest
        self._samples = range(shape.num_samples)

    def subjects(self) -> list[int | None]:
        if self._shape.reducer or (self._shape.selector and self._whole_case() is not None):
            return [None]
        if not self._shape.selector:
            return [*self._samples]
        event = self._newest.get(SELECT)
        return [] if event is None or event.artifact is None else event.artifact.payload["chosen"]

    def row(self, one: ComponentRef, sample: int | None) -> Event | None:
        facts = _facts(one)
        event = self._newest.get(StepAddress(_stage(one), sample, one.name))
        if facts.subject == TOGETHER:
            blocked = self._whole_case()
        elif self._shape.reducer:
            blocked = self._reduction()
        elif sample is None:
            blocked = self._whole_case()
        else:
            blocked = _failed(self._newest.get(StepAddress(Stage.GENERATE, sample)))
        if one.parser is not None and not facts.judged:
            parsed = self._newest.get(StepAddress(Stage.PARSE, sample, one.parser))
            blocked = _failed(blocked, parsed)
        if facts.of is not None:
            folded = next(other for other in self._shape.metrics if other.name == facts.of)
            blocked = _failed(blocked, *(self.row(folded, each) for each in self._samples))
        if event is None or (blocked is not None and blocked.seq > event.seq):
            return blocked
        return event

    def _whole_case(self) -> Event | None:
        generated = [self._newest.get(StepAddress(Stage.GENERATE, one)) for one in self._samples]
        if not self._shape.selector:
            return _failed(*generated)
        return _beyond(self._newest.get(SELECT), _failed(*generated))

    def _reduction(self) -> Event | None:
        own = self._shape.default_parser
        read = [
            self._newest.get(StepAddress(Stage.PARSE, one, own)) for one in self._samples if own
        ]
        return _beyond(self._newest.get(REDUCE), _failed(self._whole_case(), *read))


def _facts(one: ComponentRef) -> MetricFacts:
    assert one.metric is not None
    return one.metric


def _stage(one: ComponentRef) -> Stage:
    return Stage.JUDGE if _facts(one).judged else Stage.SCORE


def _failed(*events: Event | None) -> Event | None:
    """Return the newest failure among some events."""
    failures = [one for one in events if one is not None and one.kind is EventKind.STEP_FAILED]
    return max(failures, key=lambda one: one.seq, default=None)


def _beyond(gate: Event | None, failure: Event | None) -> Event | None:
    """Return what stands in the way beyond a step: taken later, it got by without what failed."""
    if gate is None or (failure is not None and failure.seq > gate.seq):
        return failure
    return _failed(gate)
