"""The graph of a run's steps: the steps of a case, and which of them depend on each other.

The graph is computed from a run's identity, before anything ran, and is the same for every case.
The effect of a selector, a reducer or a kind of metric on a case's steps is decided in this module
alone; other modules query the graph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from themis.core.events import Stage, StepAddress, address_of
from themis.core.snapshot import ComponentRef, MetricFacts, RunIdentity

SELECT = StepAddress(Stage.SELECT)
REDUCE = StepAddress(Stage.REDUCE)
Chosen = Sequence[int] | None
"""The samples that a selector chose; None where it has not chosen yet, or there is none."""


class MetricRole(StrEnum):
    """What kind of steps a metric has."""

    SCORES = "scores"
    """It scores one subject at a time and asks no judge."""
    FOLDS = "folds"
    """It folds another metric's scores of a case's samples."""
    JUDGES = "judges"
    """It asks judges about one subject at a time."""
    JUDGES_TOGETHER = "judges together"
    """It asks judges about all candidates of a case."""

    @property
    def asks_judges(self) -> bool:
        """Whether a metric of this role needs a judge."""
        return self in (MetricRole.JUDGES, MetricRole.JUDGES_TOGETHER)


def role_of(facts: MetricFacts) -> MetricRole:
    """Return a metric's role, by its declared facts."""
    is_together = facts.subject == "candidates"
    if facts.judged:
        return MetricRole.JUDGES_TOGETHER if is_together else MetricRole.JUDGES
    return MetricRole.FOLDS if is_together else MetricRole.SCORES


class MetricSteps(NamedTuple):
    """A metric's steps in the pipeline."""

    name: str
    role: MetricRole
    stage: Stage
    """Score, or judge for a metric that asks judges."""
    is_together: bool
    """Whether it has one step for each case, about all candidates, not one for each subject."""
    parser: str | None
    """The parser whose values it scores; None for judged metrics, which use the output itself."""
    of: str | None
    """The metric whose scores of the samples it folds."""

    def step(self, sample: int | None) -> StepAddress:
        """Return the metric's step for a subject."""
        return address_of(self.stage, None if self.is_together else sample, self.name)


class Pipeline:
    """The steps of every case of one run.

    A subject, which is parsed, scored and judged, is a sample; or None for the reduced candidate.
    Where a selector has not chosen yet, None stands for the samples that it will choose.

    Args:
        identity: what was asked.
        reads_parsed: whether the reducer is given the parsed values of the samples. It is not part
            of the identity, and may be omitted to read a journal: steps that were never done have
            no events.

    Attributes:
        identity: what was asked.
        samples: the indices of a case's samples.
        metrics: by name, in the run's order.
        scored: metrics that score one subject at a time and ask no judge, in the run's order.
        folded: metrics that fold another metric's scores of a case's samples.
        judged: metrics that ask judges about one subject at a time.
        judged_together: metrics that ask judges about all candidates of a case.
        all_judged: the names in ``judged`` and ``judged_together``.
        selects: whether a selector chooses among the samples.
        reduces: whether a reducer makes one candidate of them.
        parser_before_reduction: name of the parser that reads the samples for the reducer.
    """

    def __init__(self, identity: RunIdentity, *, reads_parsed: bool = True) -> None:
        self.identity = identity
        self.samples = tuple(range(identity.num_samples))
        self.selects = identity.selector is not None
        self.reduces = identity.reducer is not None
        self.parser_before_reduction = (
            identity.default_parser if self.reduces and reads_parsed else None
        )
        self.parsers = tuple(parser.name for parser in identity.parsers)
        places = [_metric_steps(metric) for metric in identity.metrics]
        self.metrics = {place.name: place for place in places}
        self.scored = _with_role(MetricRole.SCORES, places)
        self.folded = _with_role(MetricRole.FOLDS, places)
        self.judged = _with_role(MetricRole.JUDGES, places)
        self.judged_together = _with_role(MetricRole.JUDGES_TOGETHER, places)
        self.all_judged = tuple(place.name for place in places if place.role.asks_judges)
        self._generations = tuple(address_of(Stage.GENERATE, sample) for sample in self.samples)
        self._candidates = (SELECT,) if self.selects else self._generations
        self._rests_on: dict[StepAddress, tuple[StepAddress, ...]] = {}
        self._upstream: dict[StepAddress, frozenset[StepAddress]] = {}
        self._downstream: dict[StepAddress, frozenset[StepAddress]] = {}

    @property
    def decides_subjects(self) -> bool:
        """Whether a case's subjects are known only once a selector has chosen."""
        return self.selects and not self.reduces

    def subjects(self, chosen: Chosen = None) -> Sequence[int | None]:
        """Return a case's subjects: indices of samples, or None for the reduced candidate."""
        if self.reduces or (self.selects and chosen is None):
            return (None,)
        return self.samples if chosen is None else chosen

    def subjects_of(self, metric: str, chosen: Chosen = None) -> Sequence[int | None]:
        """Return a metric's subjects in a case; a metric about all candidates has one."""
        return (None,) if self.metrics[metric].is_together else self.subjects(chosen)

    def source(self, subject: int | None) -> StepAddress:
        """Return the step that makes a subject; for samples not chosen yet, the selection."""
        if subject is not None:
            return address_of(Stage.GENERATE, subject)
        return REDUCE if self.reduces else SELECT

    def steps(self, chosen: Chosen = None) -> tuple[StepAddress, ...]:
        """Return the steps of a case in order, without judge calls, which only their metric knows.

        Where a selector has not chosen yet, one sample stands for those that it will choose.
        """
        found = [*self._generations]
        if self.selects:
            found.append(SELECT)
        if self.reduces:
            unknown = self.samples[:1] if self.selects else self.samples
            found += self._before_reduction(unknown if chosen is None else chosen)
            found.append(REDUCE)
        places = self.metrics.values()
        for subject in self.subjects(chosen):
            found += [address_of(Stage.PARSE, subject, parser) for parser in self.parsers]
            found += [place.step(subject) for place in places if not place.is_together]
        found += [place.step(None) for place in places if place.is_together]
        return tuple(found)

    def steps_per_case(self) -> dict[Stage, int]:
        """Return how many steps a case takes in each stage that the run has.

        A judged metric counts once for each subject, however many judge calls it makes. With a
        selector this is an upper limit, as if it chose every sample.
        """
        counts = Counter(address.stage for address in self.steps(self.samples))
        return {stage: counts[stage] for stage in Stage if counts[stage]}

    def rests_on(self, address: StepAddress) -> tuple[StepAddress, ...]:
        """Return the steps whose results a step uses directly.

        A judge call depends on the same steps as its metric's or selector's step. That a sample was
        chosen is not used by the sample's own steps. A step that the run does not have has none.
        """
        step = part_of(address)
        known = self._rests_on.get(step)
        if known is None:
            known = self._rests_on[step] = tuple(self._made_of(step))
        return known

    def upstream(self, address: StepAddress) -> frozenset[StepAddress]:
        """Return all steps that a step depends on, directly or indirectly."""
        step = part_of(address)
        known = self._upstream.get(step)
        if known is None:
            direct = self.rests_on(step)
            known = frozenset(direct).union(*(self.upstream(one) for one in direct))
            self._upstream[step] = known
        return known

    def awaits(self, address: StepAddress) -> frozenset[StepAddress]:
        """Return all steps that must be done before a step.

        These are the steps upstream and, for a step of a chosen sample, the selection.
        """
        upstream = self.upstream(address)
        if not self.selects or address.stage.order <= Stage.SELECT.order or SELECT in upstream:
            return upstream
        return upstream.union([SELECT], self._generations)

    def downstream(self, address: StepAddress) -> frozenset[StepAddress]:
        """Return all steps that depend on a step, directly or indirectly, for any selection."""
        if not self._downstream:
            found: dict[StepAddress, set[StepAddress]] = {}
            for step in self.steps(self.samples):
                for one in self.upstream(step):
                    found.setdefault(one, set()).add(step)
            self._downstream = {one: frozenset(steps) for one, steps in found.items()}
        return self._downstream.get(address, frozenset())

    def is_within(self, address: StepAddress, last: Stage) -> bool:
        """Return whether a step is of a stage up to ``last``, or upstream of such a step."""
        return address.stage.order <= last.order or any(
            step.stage.order <= last.order for step in self.downstream(address)
        )

    def _made_of(self, step: StepAddress) -> Sequence[StepAddress]:
        stage, sample, component, _ = step
        match stage:
            case Stage.GENERATE:
                return ()
            case Stage.SELECT:
                return self._generations
            case Stage.REDUCE:
                return (*self._candidates, *self._before_reduction(self.samples))
            case Stage.PARSE:
                return (self.source(sample),)
        place = self.metrics.get(component or "")
        if place is None:
            return ()
        if (folded := self.metrics.get(place.of or "")) is not None:
            return [folded.step(one) for one in self.samples]
        if place.is_together:
            return self._candidates
        if place.parser is not None:
            return (address_of(Stage.PARSE, sample, place.parser),)
        return (self.source(sample),)

    def _before_reduction(self, samples: Sequence[int]) -> list[StepAddress]:
        parser = self.parser_before_reduction
        if parser is None:
            return []
        return [address_of(Stage.PARSE, sample, parser) for sample in samples]


def part_of(address: StepAddress) -> StepAddress:
    """Return the metric's or selector's step of a judge call; any other step unchanged."""
    if address.call is None:
        return address
    if address.stage is Stage.SELECT:
        return SELECT
    return address_of(address.stage, address.sample, address.component)


def _metric_steps(metric: ComponentRef) -> MetricSteps:
    facts = metric.metric or MetricFacts()
    role = role_of(facts)
    return MetricSteps(
        name=metric.name,
        role=role,
        stage=Stage.JUDGE if role.asks_judges else Stage.SCORE,
        is_together=role in (MetricRole.FOLDS, MetricRole.JUDGES_TOGETHER),
        parser=None if role.asks_judges else metric.parser,
        of=facts.of if role is MetricRole.FOLDS else None,
    )


def _with_role(role: MetricRole, places: Sequence[MetricSteps]) -> tuple[str, ...]:
    return tuple(place.name for place in places if place.role is role)
