"""Judging: a metric's workflow of judge calls, each a step of its own, and their aggregation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from themis.core.base import CandidateId
from themis.core.contexts import EvalScoreContext
from themis.core.errors import ComponentError, InvalidResultError, MissingJudgmentsError
from themis.core.events import EventKind, Stage, StepAddress
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
from themis.execution.calls import call_inline, is_awaitable
from themis.execution.candidates import Candidate, own_copy, trajectory_of
from themis.execution.case_run import CaseRun
from themis.execution.failures import (
    PASS_THROUGH,
    ExplainedError,
    NotAskedError,
    category_of,
    failure_of,
    is_settled,
    said,
)
from themis.execution.gather import gather
from themis.execution.stages.score import checked_number
from themis.execution.step import Payload, RunStep, Step, StepResult
from themis.planning.capabilities import min_judgments
from themis.planning.compiled_run import BoundComponent
from themis.planning.keys import aggregate_key, derived_seed, judge_call_key


class JudgeFailedError(ComponentError):
    """A judge gave no answer."""

    retryable = False


class JudgeCallStep(Step):
    """The step of one judge call.

    Args:
        case: the case.
        judge: the judge.
        prompt: what it is asked.
        seed: for its drawing.
        call: the call of a judged metric; a selector's call has none.
        address: the call's place; a selector's call stands under the digest of its key.
        candidate_id: the candidate that it is about, if it is about one.
    """

    category = "judge"
    paid = True

    def __init__(
        self,
        case: CaseRun,
        judge: BoundComponent,
        prompt: RenderedJudgePrompt,
        *,
        seed: int | None,
        call: JudgeCall | None = None,
        address: StepAddress | None = None,
        candidate_id: str | None = None,
    ) -> None:
        repeat = 0 if call is None else call.repeat
        plain = prompt.plain()
        duplicate_index = case.session.run.duplicate_index(judge)
        key = judge_call_key(judge.digest, plain, seed, repeat, duplicate_index)
        if address is None:
            call_id = digest("call", key.encode()).hex()
            address = StepAddress(Stage.SELECT, None, judge.name, call_id)
        super().__init__(case, address, key, judge, candidate_id)
        self.prompt = prompt
        self._plain_prompt = plain
        self._seed = seed
        self._call = call
        self.policy_stage = Stage.JUDGE  # also where a selector asks
        self.in_thread = case.session.runs_in_thread(judge, judge.component.judge)

    def check_allowed(self) -> None:
        """Refuse to ask a judge whose every call would fail alike."""
        why = self.case.session.closed_judges.get(self.bound.name)
        if why is not None:
            raise NotAskedError(why)

    def call(self) -> Any:
        """Ask the judge."""
        return self.bound.component.judge(self.prompt, seed=self._seed)

    def to_payload(self, value: Any) -> Payload:
        """Check the answer, and return it with its question as it is stored."""
        if not isinstance(value, JudgeResponse):
            raise InvalidResultError(
                f"judge() returned {type(value).__name__}, not a JudgeResponse"
            )
        call = self._call or JudgeCall(call_id=self.address.call or "", judge=self.bound.name)
        return {"call": call.plain(), "prompt": self._plain_prompt, "response": value.plain()}

    def expected_tokens(self) -> int | None:
        """Return about how many prompt tokens it uses; None where the judge cannot say."""
        estimate = self.bound.capabilities.estimate_tokens
        return None if estimate is None else int(estimate(self.prompt))

    def max_prompt_tokens(self) -> int:
        """Return how many prompt tokens it uses at most."""
        return int(self.bound.component.max_prompt_tokens(self.prompt))

    def failed(self, failure: StepFailure) -> None:
        """Count a judge's silence, and ask it no more where every call would fail alike."""
        session, judge = self.case.session, self.bound.name
        session.count_silence(judge)
        if failure.fatal:
            session.close_judge(judge, failure.message.removeprefix(f"{judge}: "))

    def answer(self, result: StepResult) -> JudgeResponse | StepFailure:
        """Return what the judge answered, or why it did not."""
        if result.failure is not None:
            return result.failure
        response: JudgeResponse = result.value or JudgeResponse(**result.payload["response"])
        self.case.session.note_answer(self.bound, response.artifacts)
        return response


class AggregateStep(Step):
    """The step that makes one value of a judged metric's judgments.

    Args:
        judging: what was asked of the judges, and about what.
        asked: what became of each call.
    """

    category = "judge"

    def __init__(self, judging: _Judging, asked: Sequence[_Asked]) -> None:
        case, metric = judging.case, judging.metric
        self._judging = judging
        self._judgments = [one.judgment for one in asked if one.judgment is not None]
        self._scores = [one.score for one in asked if one.score is not None]
        self._failures = [one.failure for one in asked if one.failure is not None]
        self._execution: Payload = {
            "calls": [call.plain() for call in judging.calls],
            "judgments": [_plain(one) for one in self._judgments],
            "scores": [one.model_dump(mode="json") for one in self._scores],
            "failures": [one.plain() for one in self._failures],
        }
        key = aggregate_key(
            metric.digest,
            digest_parts("list", [one.content for one in judging.candidates]),
            case.digests.read_by(metric.reads),
            case.dataset_digest,
            case.session.run.workflow,
            [self._execution["judgments"], self._execution["failures"]],
        )
        candidate_id = judging.context.candidate_id
        super().__init__(case, judging.address, key, metric, candidate_id)

    async def call(self) -> Any:
        """Let the metric take its judgments together, where there are enough of them."""
        judging = self._judging
        declared = min_judgments(judging.workflow)
        needed = len(judging.calls) if declared is None else declared
        if len(self._judgments) < needed or not self._judgments:
            heard = f"{len(self._judgments)} of {len(judging.calls)} judgments, {needed} needed"
            raise self._too_few(heard)
        aggregate = judging.method("aggregate")
        try:
            value = aggregate(self._judgments, self._scores, judging.context)
            return await value if is_awaitable(value) else value
        except MissingJudgmentsError as error:
            raise self._too_few(str(error)) from error

    def to_payload(self, value: Any) -> Payload:
        """Check the value, and return it with what it was made of as it is stored."""
        if not isinstance(value, AggregationResult):
            raise InvalidResultError(
                f"aggregate() returned {type(value).__name__}, not an AggregationResult"
            )
        number = checked_number(value.value, self.bound.facts)
        return {"value": number, "details": value.details, **self._execution}

    def _too_few(self, heard: str) -> ExplainedError:
        """Return why there is no value: judges were out, or answered what cannot be read."""
        failures = self._failures
        answered = bool(failures) and all(one.category == UNREADABLE for one in failures)
        why = failures[0].reason if failures else "no judge was asked"
        return ExplainedError(
            f"{heard}: {why}",
            category=UNREADABLE if answered else "judge",
            outage=not answered,
            execution=self._execution,
        )


async def judge(
    case: CaseRun,
    metric: BoundComponent,
    candidates: Sequence[Candidate],
    sample: int | None,
    run_step: RunStep,
) -> None:
    """Take every step of one judged metric of one subject.

    Args:
        case: the case.
        metric: the judged metric.
        candidates: the one candidate it is about, or all of the case.
        sample: index of that sample; None for the reduced candidate or the whole case.
        run_step: how each step is taken.
    """
    together = case.session.run.pipeline.metrics[metric.name].is_together
    judging = _Judging(
        case,
        metric,
        candidates,
        address=StepAddress(Stage.JUDGE, sample, metric.name),
        context=_context(case, metric, None if together else candidates[0].candidate_id),
    )
    try:
        await judging.prepare()
        asked = await gather([_ask(judging, call, run_step) for call in judging.calls])
    except PASS_THROUGH:
        raise
    except Exception as error:  # noqa: BLE001 - the boundary to user code
        _journal_broken(judging, error)
        return
    await run_step(AggregateStep(judging, asked))


class _Judging:
    """One judged metric at work on one subject: its workflow, the calls, and what they are told."""

    def __init__(
        self,
        case: CaseRun,
        metric: BoundComponent,
        candidates: Sequence[Candidate],
        *,
        address: StepAddress,
        context: EvalScoreContext,
    ) -> None:
        self.case = case
        self.metric = metric
        self.candidates = candidates
        self.address = address
        self.context = context
        self.subject: Any = None
        self.workflow: Any = None
        self.calls: list[JudgeCall] = []

    async def prepare(self) -> None:
        """Let the metric build its workflow, and the workflow name its calls."""
        self.subject = subject_of(self.metric, self.candidates)
        build = self.case.session.method(self.metric, "build_workflow")
        self.workflow = await call_inline(partial(build, self.subject, self.context))
        self.calls = list(await call_inline(self.method("judge_calls")))
        _check_calls(self.calls, self.case)

    def method(self, name: str) -> Callable[..., Any]:
        """Return how a method of the workflow is called: as it is, or in a worker process."""
        return self.case.session.method(self.metric, name, of=self.workflow)


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


async def _ask(judging: _Judging, call: JudgeCall, run_step: RunStep) -> _Asked:
    """Ask one question and read the answer."""
    case, metric, context = judging.case, judging.metric, judging.context
    render = judging.method("render_prompt")
    prompt = await call_inline(partial(render, call, judging.subject, context))
    judge = case.session.run.judges[call.judge]
    duplicate_index = case.session.run.duplicate_index(judge)
    draw = (call.repeat, duplicate_index)
    step = JudgeCallStep(
        case,
        judge,
        prompt,
        seed=derived_seed(case.case.case_id, "judge", *draw),
        call=call,
        address=judging.address._replace(call=call.call_id),
        candidate_id=context.candidate_id,
    )
    response = step.answer(await run_step(step))
    if isinstance(response, StepFailure):
        return _Asked(failure=_failed(call, response.category, response.message))
    try:
        parse, score_of = judging.method("parse_judgment"), judging.method("score_judgment")
        judgment = await call_inline(partial(parse, call, response, context))
        score = await call_inline(partial(score_of, call, judgment, context))
        canonical([judgment.model_dump(mode="json"), score.model_dump(mode="json")])
    except Exception as error:  # noqa: BLE001 - the boundary to user code
        # A worker process that ended says nothing about the judge's answer.
        category = category_of(error, UNREADABLE) if metric.capabilities.cpu_bound else UNREADABLE
        return _Asked(failure=_failed(call, category, said(error)))
    return _Asked(judgment, score)


def _plain(judgment: ParsedJudgment) -> Payload:
    """Return a judgment without what it does not say; a verdict is said even where it is none."""
    shown = judgment.model_dump(mode="json", exclude_none=True)
    verdict = judgment.model_dump(mode="json", include={"verdict"})
    return {**shown, **verdict}


def _context(case: CaseRun, metric: BoundComponent, candidate_id: str | None) -> EvalScoreContext:
    identity = case.session.run.snapshot.identity
    return EvalScoreContext(
        **case.common(metric),
        case=case.view_for(metric),
        parsed_output=None,
        dataset_metadata=own_copy(metric, case.dataset_metadata),
        candidate_id=None if candidate_id is None else CandidateId(candidate_id),
        judge_model_refs=list(case.session.run.judges),
        judges_with_schemas=case.session.run.judges_with_schemas,
        judge_seed=derived_seed(case.case.case_id, "judge", 0),
        prompt_spec=identity.judge_prompt_spec,
        judge_config=own_copy(metric, identity.judge_config),
        eval_workflow_config=own_copy(metric, identity.workflow_overrides.get(metric.name, {})),
    )


def subject_of(metric: BoundComponent, candidates: Sequence[Candidate]) -> Any:
    """Return what the metric is about, in the form its declared subject has."""
    first = candidates[0]
    trajectory = trajectory_of(metric, first)
    if "trace" in trajectory:
        return TraceSubject(candidate_id=first.candidate_id, **trajectory)
    if "conversation" in trajectory:
        return ConversationSubject(candidate_id=first.candidate_id, **trajectory)
    return CandidateSetSubject(
        candidates=[
            JudgedCandidate(candidate_id=one.candidate_id, final_output=one.shown.final_output)
            for one in candidates
        ]
    )


def _check_calls(calls: Sequence[JudgeCall], case: CaseRun) -> None:
    judges = case.session.run.judges
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


def _journal_broken(judging: _Judging, error: Exception) -> None:
    """Journal that a metric's own code failed, or had no subject, before it came to a judgment."""
    case, candidate_id = judging.case, judging.context.candidate_id
    failure = failure_of(
        error,
        stage=Stage.JUDGE.value,
        category="scoring",
        component=judging.metric.name,
        candidate_id=candidate_id,
    )
    settled = is_settled(error)
    case.outages += not settled
    case.record(
        EventKind.STEP_FAILED,
        judging.address,
        candidate_id=candidate_id,
        data={"failure": failure.plain(), **({"settled": True} if settled else {})},
    )
