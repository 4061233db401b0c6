"""One case on its way through the stages, in order, up to where the attempt goes."""

from __future__ import annotations

from collections.abc import Sequence

from themis.core.events import Stage
from themis.execution.flight import Candidate, CaseRun, Parsed, gather
from themis.execution.stages.fold import Scored, fold
from themis.execution.stages.generate import generate
from themis.execution.stages.judge import judge
from themis.execution.stages.parse import parse, unparsed
from themis.execution.stages.reduce import reduce
from themis.execution.stages.score import score
from themis.execution.stages.select import select


async def walk(case: CaseRun) -> None:
    """Carry a case through the stages."""
    run, reaches = case.engine.run, case.engine.reaches
    case.outages = 0
    samples = case.engine.num_samples
    candidates = await gather([generate(case, sample) for sample in range(samples)])
    made = [one for one in candidates if isinstance(one, Candidate)]
    case.generated = len(made)
    subjects = made
    whole = len(made) == len(candidates)
    if run.selector is not None and reaches[Stage.SELECT]:
        chosen = await select(case, made) if whole else None
        subjects, whole = chosen or [], chosen is not None
    if run.reducer is not None and reaches[Stage.REDUCE]:
        # A vote over what happens to be there would be another vote than the one asked for.
        reduced = await reduce(case, subjects) if whole else None
        subjects = [] if reduced is None else [reduced]
    if reaches[Stage.PARSE]:
        await evaluate(case, subjects, made if whole or run.selector is None else [])
    case.finish()


async def evaluate(
    case: CaseRun, subjects: Sequence[Candidate], samples: Sequence[Candidate]
) -> None:
    """Parse, score and judge the subjects, and take the samples together where a metric does."""
    engine = case.engine
    scored = await gather([evaluate_subject(case, subject) for subject in subjects])
    if len(samples) < len(case.generate_keys):
        return
    if engine.reaches[Stage.SCORE]:
        for metric, of in engine.folded:
            await fold(case, metric, [each[of] for each in scored])
    if engine.judged_together and engine.reaches[Stage.JUDGE]:
        await gather([judge(case, one, samples, None) for one in engine.judged_together])


async def evaluate_subject(case: CaseRun, subject: Candidate) -> dict[str, Scored]:
    """Take every parse, score and judge step of one subject; return its scores by metric."""
    engine = case.engine
    parsed: dict[str | None, Parsed] = {}
    for name, parser in engine.run.parsers.items():
        parsed[name] = await parse(case, parser, subject)
    scored: dict[str, Scored] = {}
    if engine.reaches[Stage.SCORE]:
        for metric in engine.scored:
            reads_from = metric.ref.parser
            if reads_from not in parsed:
                parsed[reads_from] = unparsed(subject)
            taken = await score(case, metric, subject, parsed[reads_from])
            scored[metric.name] = Scored(subject.sample or 0, parsed[reads_from], taken)
    if engine.judged and engine.reaches[Stage.JUDGE]:
        await gather([judge(case, one, [subject], subject.sample) for one in engine.judged])
    return scored
