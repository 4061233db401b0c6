"""One case on its way through the stages, in order, up to where the attempt goes."""

from __future__ import annotations

from collections.abc import Sequence

from themis.core.events import Stage
from themis.execution.candidates import Candidate, Parsed
from themis.execution.case_run import CaseRun
from themis.execution.gather import gather
from themis.execution.stages.generate import GenerateStep
from themis.execution.stages.judge import judge
from themis.execution.stages.parse import ParseStep, unparsed
from themis.execution.stages.reduce import ReduceStep
from themis.execution.stages.score import ScoreStep
from themis.execution.stages.score_set import ScoredSample, SetScoreStep
from themis.execution.stages.select import SelectStep
from themis.execution.step import RunStep


async def walk(case: CaseRun, run_step: RunStep) -> None:
    """Carry a case through the stages.

    Args:
        case: the case.
        run_step: how each step is taken: done or reused, or only planned.
    """
    pipeline, reaches = case.session.run.pipeline, case.session.reaches
    case.outages = 0
    steps = [GenerateStep(case, sample) for sample in pipeline.samples]
    results = await gather([run_step(step) for step in steps])
    made = [
        one
        for step, result in zip(steps, results, strict=True)
        if (one := step.candidate(result)) is not None
    ]
    case.generated = len(made)
    subjects: Sequence[Candidate] = made
    whole = len(made) == len(steps)
    if pipeline.selects and reaches[Stage.SELECT]:
        chosen = None
        if whole:
            select = SelectStep(case, made, run_step)
            chosen = select.chosen(await run_step(select))
        subjects, whole = chosen or [], chosen is not None
    if pipeline.reduces and reaches[Stage.REDUCE]:
        # A vote over what happens to be there would be another vote than the one asked for.
        reduced = None
        if whole:
            parsed = await _parsed_for_reducer(case, subjects, run_step)
            reduce = ReduceStep(case, subjects, parsed)
            reduced = reduce.candidate(await run_step(reduce))
        subjects = [] if reduced is None else [reduced]
    if reaches[Stage.PARSE]:
        scored = await gather([evaluate_subject(case, one, run_step) for one in subjects])
        together = case.session.folded or case.session.judged_together
        if together and len(made) == len(steps) and (whole or not pipeline.selects):
            await _evaluate_together(case, made, scored, run_step)
    case.finish()


async def evaluate_subject(
    case: CaseRun, subject: Candidate, run_step: RunStep
) -> dict[str, ScoredSample]:
    """Take every parse, score and judge step of one subject; return its scores by metric."""
    session = case.session
    parsed: dict[str | None, Parsed] = {}
    for name, parser in session.run.parsers.items():
        step = ParseStep(case, parser, subject)
        parsed[name] = step.parsed(await run_step(step))
    scored: dict[str, ScoredSample] = {}
    if session.reaches[Stage.SCORE]:
        for metric in session.scored:
            reads_from = metric.ref.parser
            if reads_from not in parsed:
                parsed[reads_from] = unparsed(subject)
            read = parsed[reads_from]
            result = await run_step(ScoreStep(case, metric, subject, read))
            scored[metric.name] = ScoredSample(subject.sample or 0, read, result)
    if session.judged and session.reaches[Stage.JUDGE]:
        judging = [judge(case, one, [subject], subject.sample, run_step) for one in session.judged]
        await gather(judging)
    return scored


async def _evaluate_together(
    case: CaseRun,
    samples: Sequence[Candidate],
    scored: Sequence[dict[str, ScoredSample]],
    run_step: RunStep,
) -> None:
    """Take the steps of the metrics that are about all of a case's samples."""
    session = case.session
    if session.reaches[Stage.SCORE]:
        for metric in session.folded:
            of = metric.facts.of or ""
            await run_step(SetScoreStep(case, metric, [each[of] for each in scored]))
    if session.judged_together and session.reaches[Stage.JUDGE]:
        together = session.judged_together
        await gather([judge(case, one, samples, None, run_step) for one in together])


async def _parsed_for_reducer(
    case: CaseRun, candidates: Sequence[Candidate], run_step: RunStep
) -> Sequence[Parsed]:
    """Parse the samples, for a reducer that reads their parsed values."""
    run = case.session.run
    name = run.pipeline.parser_before_reduction
    if name is None:
        return []
    steps = [ParseStep(case, run.parsers[name], one) for one in candidates]
    results = await gather([run_step(step) for step in steps])
    return [step.parsed(result) for step, result in zip(steps, results, strict=True)]
