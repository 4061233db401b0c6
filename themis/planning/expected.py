"""The steps that a case takes on its way through a run, by what the run has: known before any is.

Judge calls are left out: how many there are is their metric's to say, once it sees its subject.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from themis.core.events import Stage, StepAddress
from themis.planning.work import CompiledRun


def expected_steps(run: CompiledRun, chosen: Sequence[int] | None) -> Iterator[StepAddress]:
    """Yield the steps of a case, judge calls left out; of unknown samples chosen, one.

    Args:
        run: the run.
        chosen: the samples that a selector chose, where there is one and it is known.
    """
    samples = range(run.snapshot.identity.num_samples)
    for sample in samples:
        yield StepAddress(Stage.GENERATE, sample)
    going_on: Sequence[int] = samples
    if run.selector is not None:
        yield StepAddress(Stage.SELECT)
        going_on = samples[:1] if chosen is None else chosen
    subjects: Sequence[int | None] = going_on
    if run.reducer is not None:
        subjects = [None]
        if run.default_parser and getattr(run.reducer.component, "reads_parsed", False):
            for sample in going_on:
                yield StepAddress(Stage.PARSE, sample, run.default_parser)
        yield StepAddress(Stage.REDUCE)
    for subject in subjects:
        for parser in run.parsers:
            yield StepAddress(Stage.PARSE, subject, parser)
        for metric in run.metrics:
            if metric.facts.subject != "candidates":
                stage = Stage.JUDGE if metric.facts.judged else Stage.SCORE
                yield StepAddress(stage, subject, metric.name)
    for metric in run.metrics:
        if metric.facts.subject == "candidates":
            stage = Stage.JUDGE if metric.facts.judged else Stage.SCORE
            yield StepAddress(stage, None, metric.name)


def steps_per_case(run: CompiledRun) -> dict[Stage, int]:
    """Return how many steps a case takes in each stage that the run has.

    A judged metric counts once for each subject, however many judge calls it makes. Where a
    selector is to choose, it is as if it chose every sample: a case takes so many steps at most.
    """
    samples = range(run.snapshot.identity.num_samples)
    counts = Counter(address.stage for address in expected_steps(run, samples))
    return {stage: counts[stage] for stage in Stage if counts[stage]}
