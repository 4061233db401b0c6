"""Selection: which samples go on. A selector's judge calls are steps of their own."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence
from typing import Any

from themis.core.base import CandidateId
from themis.core.contexts import SelectContext
from themis.core.errors import InvalidResultError
from themis.core.events import Stage, StepAddress
from themis.core.hashing import digest_value
from themis.core.judging import JudgeResponse, RenderedJudgePrompt
from themis.core.results import StepFailure
from themis.execution.candidates import Candidate, shown_to
from themis.execution.case_run import CaseRun
from themis.execution.failures import PASS_THROUGH
from themis.execution.stages.judge import JudgeCallStep, JudgeFailedError
from themis.execution.step import Payload, RunStep, Step, StepResult
from themis.planning.compiled_run import BoundComponent
from themis.planning.keys import select_key


class SelectStep(Step):
    """The step that chooses the samples that go on.

    Args:
        case: the case.
        candidates: the samples.
        run_step: how the judge calls are taken that the selector makes.
    """

    category = "selection"
    paid = True

    def __init__(
        self,
        case: CaseRun,
        candidates: Sequence[Candidate],
        run_step: RunStep,
    ) -> None:
        selector = case.session.run.selector
        assert selector is not None  # else there is no such step
        self._judges = list(case.session.run.judges.values())
        key = select_key(
            selector.digest,
            [one.content for one in candidates],
            case.digests.read_by(selector.reads),
            [judge.digest for judge in self._judges],
        )
        super().__init__(case, StepAddress(Stage.SELECT), key, selector)
        self._candidates = candidates
        self._ids = [CandidateId(one.candidate_id) for one in candidates]
        self._run_step = run_step
        self.in_thread = case.session.runs_in_thread(selector, selector.component.select)
        # Its judge calls, which only an async one can make, have timeouts of their own.
        self.timeout = case.session.runtime.generation_timeout if self.in_thread else None

    def call(self) -> Any:
        """Call the selector."""
        escaped: list[BaseException] = []
        judges = [
            JournaledJudge(self.case, judge, self._run_step, escaped) for judge in self._judges
        ]
        context = SelectContext(
            **self.case.common(self.bound),
            case=self.case.view_for(self.bound),
            candidate_ids=self._ids,
            judge_models=judges,
        )
        shown = [shown_to(self.bound, one) for one in self._candidates]
        if self.in_thread:
            return self.bound.component.select(shown, context)
        return _selected(self.bound.component, shown, context, judges, escaped)

    def to_payload(self, value: Any) -> Payload:
        """Store the chosen samples by position: ids may differ where equal content is reused."""
        return _to_payload(value, self._ids)

    def chosen(self, result: StepResult) -> list[Candidate] | None:
        """Return the samples that go on, in sample order, or None where the selector failed."""
        if result.failure is not None:
            return None
        return [self._candidates[place] for place in result.payload["chosen"]]


async def _selected(
    component: Any,
    shown: Sequence[Any],
    context: SelectContext,
    judges: Sequence[JournaledJudge],
    escaped: Sequence[BaseException],
) -> Any:
    """Call a selector that may ask judges, and leave none of its questions under way."""
    try:
        value = component.select(shown, context)
        return await value if inspect.isawaitable(value) else value
    except asyncio.CancelledError:
        for judge in judges:
            judge.cancel()
        raise
    finally:
        await asyncio.gather(*(judge.close() for judge in judges))
        if escaped:  # whatever the selector makes of a stop, or of a store gone away
            raise escaped[0]


class JournaledJudge:
    """A judge as a selector sees it: each answer is journaled, and none is asked for twice."""

    def __init__(
        self,
        case: CaseRun,
        judge: BoundComponent,
        run_step: RunStep,
        escaped: list[BaseException],
    ) -> None:
        self._case = case
        self._run_step = run_step
        self._escaped = escaped
        self._judge = judge
        self._asked: dict[bytes, asyncio.Task[JudgeResponse | StepFailure]] = {}
        """Questions of this selection: one that is put twice is asked once."""
        self._is_closed = False
        self.component_id = judge.ref.component_id
        self.version = judge.ref.version

    def fingerprint(self) -> str:
        """Return the judge's own fingerprint."""
        return self._judge.ref.fingerprint

    def cancel(self) -> None:
        """Cancel the calls that are under way."""
        for call in self._asked.values():
            call.cancel()

    async def close(self) -> None:
        """Take no more questions, and wait for the calls left behind: their answers are paid for.

        Where the waiting is cancelled, so are they.
        """
        self._is_closed = True
        try:
            await self._settled()
        except asyncio.CancelledError:
            self.cancel()
            await self._settled()
            raise

    async def _settled(self) -> None:
        if left := [call for call in self._asked.values() if not call.done()]:
            await asyncio.wait(left)

    async def judge(
        self, prompt: RenderedJudgePrompt, /, *, seed: int | None = None
    ) -> JudgeResponse:
        """Ask the judge.

        Raises:
            JudgeFailedError: it gave no answer.
        """
        if self._is_closed:
            raise JudgeFailedError("the selection is over: a judge is asked while it is made")
        question = digest_value("question", [prompt.plain(), seed])
        if question not in self._asked:
            self._asked[question] = asyncio.ensure_future(self._ask(prompt, seed))
        try:
            response = await asyncio.shield(self._asked[question])
        except PASS_THROUGH as error:
            self._escaped.append(error)
            raise
        if isinstance(response, JudgeResponse):
            return response
        raise JudgeFailedError(response.message)

    async def _ask(
        self, prompt: RenderedJudgePrompt, seed: int | None
    ) -> JudgeResponse | StepFailure:
        step = JudgeCallStep(self._case, self._judge, prompt, seed=seed)
        return step.answer(await self._run_step(step))


def _to_payload(value: Any, ids: Sequence[str]) -> Payload:
    if not isinstance(value, (list, tuple)) or not value:
        raise InvalidResultError("select() must return at least one of the candidates it was given")
    places = {name: place for place, name in enumerate(ids)}
    chosen: set[int] = set()
    for one in value:
        name = getattr(one, "candidate_id", None)
        if name not in places:
            raise InvalidResultError(f"select() returned {name!r}, which it was not given")
        chosen.add(places[name])
    return {"chosen": sorted(chosen)}
