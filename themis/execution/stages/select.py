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
from themis.execution.engine import PASS_THROUGH
from themis.execution.flight import Candidate, CaseRun, shown_to
from themis.execution.stage import take
from themis.execution.stages.judge import JudgeFailedError, ask
from themis.execution.step import Payload, Step
from themis.planning.keys import select_key
from themis.planning.work import Bound


async def select(case: CaseRun, candidates: Sequence[Candidate]) -> list[Candidate] | None:
    """Return the samples that go on, in sample order, or None where the selector failed."""
    engine, bound = case.engine, case.engine.run.selector
    assert bound is not None
    judges = list(engine.run.judges.values())
    ids = [CandidateId(one.candidate_id) for one in candidates]
    escaped: list[BaseException] = []
    shown_judges = [JournaledJudge(case, judge, escaped) for judge in judges]
    context = SelectContext(
        **case.common(bound),
        case=case.view_for(bound),
        candidate_ids=ids,
        judge_models=shown_judges,
    )
    shown = [shown_to(bound, one) for one in candidates]
    component = bound.component
    away = engine.runs_away(bound, component.select)

    async def call() -> Any:
        try:
            value = component.select(shown, context)
            return await value if inspect.isawaitable(value) else value
        except asyncio.CancelledError:
            for judge in shown_judges:
                judge.cancel()
            raise
        finally:
            await asyncio.gather(*(judge.close() for judge in shown_judges))
            if escaped:  # whatever the selector makes of a stop, or of a store gone away
                raise escaped[0]

    taken = await take(
        case,
        Step(
            address=StepAddress(Stage.SELECT),
            key=select_key(
                bound.digest,
                [one.content for one in candidates],
                case.digests.read_by(bound.reads),
                [judge.digest for judge in judges],
            ),
            bound=bound,
            call=(lambda: component.select(shown, context)) if away else call,
            seal=lambda value: _seal(value, ids),
            category="selection",
            away=away,
            paid=True,
            # Its judge calls, which only an async one can make, have timeouts of their own.
            timeout=engine.runtime.generation_timeout if away else None,
        ),
    )
    if taken.failure is not None:
        return None
    return [candidates[place] for place in taken.payload["chosen"]]


class JournaledJudge:
    """A judge as a selector sees it: each answer is journaled, and none is asked for twice."""

    def __init__(self, case: CaseRun, judge: Bound, escaped: list[BaseException]) -> None:
        self._case = case
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
            self._asked[question] = asyncio.ensure_future(
                ask(self._case, self._judge, prompt, seed=seed)
            )
        try:
            response = await asyncio.shield(self._asked[question])
        except PASS_THROUGH as error:
            self._escaped.append(error)
            raise
        if isinstance(response, JudgeResponse):
            return response
        raise JudgeFailedError(response.message)


def _seal(value: Any, ids: Sequence[str]) -> Payload:
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
