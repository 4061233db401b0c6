"""Judging: a metric's workflow of judge calls, each a step of its own, and their aggregation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from themis.core.base import CandidateId
from themis.core.contexts import EvalScoreContext
from themis.core.errors import ComponentError, InvalidResultError, MissingJudgmentsError
from themis.core.events import Event, EventKind, Stage, StepAddress
from themis.core.hashing import canonical, digest, digest_parts
from themis.core.judging import (
    UNREADABLE,
    AggregationResult,
    CandidateSetSubject,
    ConversationSubject,
    JudgeCall,
    JudgedCandidate,
    JudgeResponse,
    ParsedJudgment,
    RenderedJudgePrompt,
    TraceSubject,
    WorkflowFailure,
)
from themis.core.models import Score
from themis.core.results import StepFailure
from themis.execution.calls import call_inline
from themis.execution.engine import PASS_THROUGH
from themis.execution.failures import ExplainedError, category_of, failure_of, said
from themis.execution.flight import Candidate, CaseRun, gather, own_copy
from themis.execution.stage import take
from themis.execution.stages.score import checked_number
from themis.execution.stages.way import conversation_of, trace_of
from themis.execution.step import Payload, Step
from themis.planning.keys import aggregate_key, judge_call_key
from themis.planning.seeds import derived_seed
from themis.planning.work import Bound


class JudgeFailedError(ComponentError):
    """A judge gave no answer."""

    retryable = False


async def judge(
    case: CaseRun, metric: Bound, candidates: Sequence[Candidate], sample: int | None
) -> None:
    """Take every step of one judged metric of one subject.

    Args:
        case: the case.
        metric: the judged metric.
        candidates: the one candidate it is about, or all of the case.
        sample: index of that sample; None for the reduced candidate or the whole case.
    """
    one = candidates[0] if metric.facts.subject != "candidates" else None
    candidate_id = None if one is None else one.candidate_id
    engine = case.engine
    context = _context(case, metric, candidate_id)
    address = StepAddress(Stage.JUDGE, sample, metric.name)
    try:
        subject = subject_of(metric, candidates)
        build = engine.method(metric, "build_workflow")
        workflow = await call_inline(lambda: build(subject, context))
        calls = list(await call_inline(engine.method(metric, "judge_calls", of=workflow)))
        _check_calls(calls, case)
        asked = await gather(
            [_call(case, metric, workflow, call, subject, context, address) for call in calls]
        )
    except PASS_THROUGH:
        raise
    except Exception as error:  # noqa: BLE001 - the boundary to user code
        _journal_broken(case, metric, address, candidate_id, error)
        return
    await _aggregate(case, metric, workflow, calls, asked, candidates, context, address)


class _Asked:
    """One call's outcome: a judgment with its score, or why there is none."""

    __slots__ = ("failure", "judgment", "score")

    def __init__(
        self,
        judgment: ParsedJudgment | None = None,
        score: Score | None = None,
        failure: WorkflowFailure | None = None,
    ) -> None:
        self.judgment = judgment
        self.score = score
        self.failure = failure


async def ask(
    case: CaseRun,
    judge: Bound,
    prompt: RenderedJudgePrompt,
    *,
    seed: int | None,
    call: JudgeCall | None = None,
    address: StepAddress | None = None,
    candidate_id: str | None = None,
) -> JudgeResponse | StepFailure:
    """Take one judge call as a step of its own.

    A selector's call has no ``address`` of its own: it stands under the digest of its key.
    """
    engine = case.engine
    repeat = 0 if call is None else call.repeat
    plain = prompt.plain()
    twin = engine.run.twin(judge)
    key = judge_call_key(judge.digest, plain, seed, repeat, twin)
    if address is None:
        address = StepAddress(Stage.SELECT, None, judge.name, digest("call", key.encode()).hex())
    component = judge.component

    def seal(value: Any) -> Payload:
        if not isinstance(value, JudgeResponse):
            raise InvalidResultError(
                f"judge() returned {type(value).__name__}, not a JudgeResponse"
            )
        asked = call or JudgeCall(call_id=address.call or "", judge=judge.name)
        return {"call": asked.plain(), "prompt": plain, "response": value.plain()}

    step = Step(
        address=address,
        key=key,
        bound=judge,
        call=lambda: component.judge(prompt, seed=seed),
        barred=lambda: engine.closed_judges.get(judge.name),
        seal=seal,
        category="judge",
        away=engine.runs_away(judge, component.judge),
        paid=True,
        tokens=(lambda: int(component.estimate_tokens(prompt)))
        if hasattr(component, "estimate_tokens")
        else None,
        bound_tokens=lambda: int(component.bound_tokens(prompt)),
        called_as=Stage.JUDGE,
        candidate_id=candidate_id,
    )
    taken = await take(case, step)
    if taken.failure is None:
        return taken.value or JudgeResponse(**taken.payload["response"])
    engine.count_silence(judge.name)
    if taken.failure.fatal:
        engine.close_judge(judge.name, taken.failure.message.removeprefix(f"{judge.name}: "))
    return taken.failure


async def _call(
    case: CaseRun,
    metric: Bound,
    workflow: Any,
    call: JudgeCall,
    subject: Any,
    context: EvalScoreContext,
    address: StepAddress,
) -> _Asked:
    """Ask one question and read the answer."""
    method = partial(case.engine.method, metric, of=workflow)
    prompt = await call_inline(lambda: method("render_prompt")(call, subject, context))
    judge = case.engine.run.judges[call.judge]
    twin = case.engine.run.twin(judge)
    draw = (call.repeat, twin) if twin else (call.repeat,)
    response = await ask(
        case,
        judge,
        prompt,
        seed=derived_seed(case.case.case_id, "judge", *draw),
        call=call,
        address=address._replace(call=call.call_id),
        candidate_id=context.candidate_id,
    )
    if isinstance(response, StepFailure):
        return _Asked(failure=_failed(call, response.category, response.message))
    try:
        judgment = await call_inline(lambda: method("parse_judgment")(call, response, context))
        score = await call_inline(lambda: method("score_judgment")(call, judgment, context))
        canonical([judgment.model_dump(mode="json"), score.model_dump(mode="json")])
    except Exception as error:  # noqa: BLE001 - the boundary to user code
        # A worker process that ended says nothing about the judge's answer.
        category = category_of(error, UNREADABLE) if metric.cpu_bound else UNREADABLE
        return _Asked(failure=_failed(call, category, said(error)))
    return _Asked(judgment, score)


async def _aggregate(
    case: CaseRun,
    metric: Bound,
    workflow: Any,
    calls: list[JudgeCall],
    asked: Sequence[_Asked],
    candidates: Sequence[Candidate],
    context: EvalScoreContext,
    address: StepAddress,
) -> None:
    judgments = [one.judgment for one in asked if one.judgment is not None]
    scores = [one.score for one in asked if one.score is not None]
    failures = [one.failure for one in asked if one.failure is not None]
    execution: Payload = {
        "calls": [call.plain() for call in calls],
        "judgments": [_plain(one) for one in judgments],
        "scores": [one.model_dump(mode="json") for one in scores],
        "failures": [one.plain() for one in failures],
    }
    needed = getattr(workflow, "min_judgments", None)
    needed = len(calls) if needed is None else needed

    async def call() -> Any:
        if len(judgments) < needed or not judgments:
            heard = f"{len(judgments)} of {len(calls)} judgments, {needed} needed"
            raise _too_few(heard, failures, execution)
        aggregate = case.engine.method(metric, "aggregate", of=workflow)
        try:
            return await call_inline(lambda: aggregate(judgments, scores, context))
        except MissingJudgmentsError as error:
            raise _too_few(str(error), failures, execution) from error

    def seal(value: Any) -> Payload:
        if not isinstance(value, AggregationResult):
            raise InvalidResultError(
                f"aggregate() returned {type(value).__name__}, not an AggregationResult"
            )
        number = checked_number(value.value, metric.facts)
        return {"value": number, "details": value.details, **execution}

    await take(
        case,
        Step(
            address=address,
            key=aggregate_key(
                metric.digest,
                digest_parts("list", [one.content for one in candidates]),
                case.digests.read_by(metric.reads),
                case.dataset_digest,
                case.engine.run.workflow,
                [execution["judgments"], execution["failures"]],
            ),
            bound=metric,
            call=call,
            seal=seal,
            category="judge",
            candidate_id=context.candidate_id,
        ),
    )


def _plain(judgment: ParsedJudgment) -> Payload:
    """Return a judgment without what it does not say; a verdict is said even where it is none."""
    shown = judgment.model_dump(mode="json", exclude_none=True)
    verdict = judgment.model_dump(mode="json", include={"verdict"})
    return {**shown, **verdict}


def _too_few(heard: str, failures: Sequence[WorkflowFailure], execution: Payload) -> ExplainedError:
    """Return why there is no value: judges were out, or answered what cannot be read."""
    answered = bool(failures) and all(one.category == UNREADABLE for one in failures)
    why = failures[0].reason if failures else "no judge was asked"
    return ExplainedError(
        f"{heard}: {why}",
        category=UNREADABLE if answered else "judge",
        outage=not answered,
        execution=execution,
    )


def _context(case: CaseRun, metric: Bound, candidate_id: str | None) -> EvalScoreContext:
    identity = case.engine.run.snapshot.identity
    return EvalScoreContext(
        **case.common(metric),
        case=case.view_for(metric),
        parsed_output=None,
        dataset_metadata=own_copy(metric, case.dataset_metadata),
        candidate_id=None if candidate_id is None else CandidateId(candidate_id),
        judge_model_refs=list(case.engine.run.judges),
        judges_with_schemas=case.engine.run.judges_with_schemas,
        judge_seed=derived_seed(case.case.case_id, "judge", 0),
        prompt_spec=identity.judge_prompt_spec,
        judge_config=own_copy(metric, identity.judge_config),
        eval_workflow_config=own_copy(metric, identity.workflow_overrides.get(metric.name, {})),
    )


def subject_of(metric: Bound, candidates: Sequence[Candidate]) -> Any:
    """Return what the metric is about, in the form its declared subject has."""
    first = candidates[0]
    if (trace := trace_of(metric, first)) is not None:
        return TraceSubject(candidate_id=first.candidate_id, trace=trace)
    if (conversation := conversation_of(metric, first)) is not None:
        return ConversationSubject(candidate_id=first.candidate_id, conversation=conversation)
    return CandidateSetSubject(
        candidates=[
            JudgedCandidate(candidate_id=one.candidate_id, final_output=one.shown.final_output)
            for one in candidates
        ]
    )


def _check_calls(calls: Sequence[JudgeCall], case: CaseRun) -> None:
    judges = case.engine.run.judges
    seen: set[str] = set()
    for call in calls:
        if call.judge not in judges:
            raise InvalidResultError(
                f"judge call '{call.call_id}' asks for '{call.judge}'; known: {', '.join(judges)}"
            )
        if call.call_id in seen:
            raise InvalidResultError(f"two judge calls have the id '{call.call_id}'")
        seen.add(call.call_id)


def _failed(call: JudgeCall, category: str, reason: str) -> WorkflowFailure:
    return WorkflowFailure(
        call_id=call.call_id, judge=call.judge, category=category, reason=reason or category
    )


def _journal_broken(
    case: CaseRun, metric: Bound, address: StepAddress, candidate_id: str | None, error: Exception
) -> None:
    """Journal that a metric's own code failed, or had no subject, before it came to a judgment."""
    failure = failure_of(
        error,
        stage=Stage.JUDGE.value,
        category="scoring",
        component=metric.name,
        candidate_id=candidate_id,
    )
    settled = isinstance(error, ExplainedError) and not error.outage
    case.outages += not settled
    case.emit(
        Event(
            kind=EventKind.STEP_FAILED,
            attempt=case.engine.attempt.number,
            at=time.time(),
            case_index=case.index,
            address=address,
            candidate_id=candidate_id,
            data={"failure": failure.plain(), **({"settled": True} if settled else {})},
        )
    )
