"""Components with scripted results that count their calls, for tests of evaluations.

They are real implementations of the protocols, used like any other component. Scripted failures and
waits are no part of their fingerprint, so that a test can make a run fail and then let it succeed
when it is resumed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from themis.core.contexts import GenerateContext, ParseContext, ScoreContext
from themis.core.hashing import digest_value, text
from themis.core.judging import JudgeResponse, RenderedJudgePrompt
from themis.core.models import (
    Case,
    GenerationResult,
    ParsedOutput,
    ReducedCandidate,
    Score,
    ScoreError,
)

Answer = Callable[[Case, GenerateContext], Any]
Failures = Mapping[str, BaseException | Sequence[BaseException | None]]
Wait = Callable[[], Awaitable[object]]


class CallLog:
    """A file that outlives its process: one line for each call, written before the call returns.

    Each line is appended in one system call, so that a killed process leaves complete lines only.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def write(self, *words: object) -> None:
        """Append a line of words, separated by tabs."""
        line = "\t".join(str(word) for word in words) + "\n"
        number = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(number, line.encode())
        finally:
            os.close(number)

    def lines(self) -> list[list[str]]:
        """Return the words of each line so far."""
        if not self.path.exists():
            return []
        return [line.split("\t") for line in self.path.read_text().splitlines()]


class _Scripted:
    """Base of the scripted components: id, fingerprint, and the number of calls in flight."""

    version = "1"

    def __init__(self, component_id: str, fingerprint: str, wait: Wait | None) -> None:
        self.component_id = component_id
        self.in_flight = 0
        """Number of calls in flight."""
        self.peak = 0
        """The most calls that were in flight at once."""
        self._fingerprint = fingerprint
        self._wait = wait

    def fingerprint(self) -> str:
        """Return the fingerprint that was given, or a digest of the scripted results."""
        return self._fingerprint

    async def _pass_time(self) -> None:
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            if self._wait is not None:
                await self._wait()
        finally:
            self.in_flight -= 1


class ScriptedGenerator(_Scripted):
    """A generator that gives scripted answers and counts its calls.

    Args:
        answers: by case id, an output, or a list with one output a sample; or a function of case
            and context. The answer to a case that is not named is its own input.
        failures: by case id, an exception to be raised at every call; or a list with one entry a
            call, of which None lets the call pass. Calls beyond the list pass.
        wait: awaited in each call, such as ``lambda: asyncio.sleep(0.01)``.
        log: file that gets a line "generate", case id, sample for each call begun.
        provider_key: the endpoint whose limits apply.
        reads: the parts of the case that it reads.
        fingerprint: its fingerprint; needed if ``answers`` is a function that tests replace.
        component_id: its id.

    Attributes:
        calls: (case id, sample index) of each call, in order.
        seen: case and context of each call, in order.
    """

    def __init__(
        self,
        answers: Mapping[str, Any] | Answer | None = None,
        *,
        failures: Failures | None = None,
        wait: Wait | None = None,
        log: str | Path | None = None,
        provider_key: str | None = None,
        reads: Sequence[str] = ("input",),
        fingerprint: str | None = None,
        component_id: str = "scripted/generator",
    ) -> None:
        said = "function" if callable(answers) else _digest(answers or {})
        super().__init__(component_id, said if fingerprint is None else fingerprint, wait)
        self.calls: list[tuple[str, int]] = []
        self.seen: list[tuple[Case, GenerateContext]] = []
        self.provider_key = provider_key
        self.reads = tuple(reads)
        self.answers = answers
        self.failures: Failures = failures or {}
        self._log = None if log is None else CallLog(log)
        self._asked: Counter[str] = Counter()

    def count(self, case_id: str | None = None) -> int:
        """Return the number of calls, of one case if named."""
        return len(self.calls) if case_id is None else self._asked[case_id]

    async def generate(self, case: Case, ctx: GenerateContext) -> GenerationResult:
        """Return the scripted output, or fail as scripted."""
        self.calls.append((case.case_id, ctx.sample_index))
        self.seen.append((case, ctx))
        if self._log is not None:
            self._log.write("generate", case.case_id, ctx.sample_index)
        self._asked[case.case_id] += 1
        await self._pass_time()
        _fail(self.failures.get(case.case_id), self._asked[case.case_id])
        output = self._output(case, ctx)
        if isinstance(output, GenerationResult):
            return output
        return GenerationResult(candidate_id=f"{case.case_id}-scripted", final_output=output)

    def _output(self, case: Case, ctx: GenerateContext) -> Any:
        if callable(self.answers):
            return self.answers(case, ctx)
        if self.answers is None or case.case_id not in self.answers:
            return case.input
        output = self.answers[case.case_id]
        return output[ctx.sample_index] if isinstance(output, list) else output


class ScriptedJudge(_Scripted):
    """A judge that gives scripted verdicts and counts its calls.

    Args:
        answer: its answer: a text, or a function of prompt and seed.
        failures: an exception to be raised at every call; or a list with one entry a call, of which
            None lets the call pass.
        wait: awaited in each call.
        log: file that gets a line "judge", component id, digest of the question for each call
            begun; the answer's artifacts have that digest as "asked".
        provider_key: the endpoint whose limits apply.
        structured_output: whether it declares that it enforces a prompt's JSON schema.
        component_id: its id; two judges of a run need different ids.

    Attributes:
        prompts: the text of each prompt, in order.
    """

    def __init__(
        self,
        answer: str | Callable[[RenderedJudgePrompt, int | None], str] = "VERDICT: PASS",
        *,
        failures: BaseException | Sequence[BaseException | None] = (),
        wait: Wait | None = None,
        log: str | Path | None = None,
        provider_key: str | None = None,
        structured_output: bool = False,
        component_id: str = "scripted/judge",
    ) -> None:
        said = "function" if callable(answer) else _digest(answer)
        super().__init__(component_id, said, wait)
        self.answer = answer
        self.failures = failures
        self.provider_key = provider_key
        self.structured_output = structured_output
        self.prompts: list[str] = []
        self._log = None if log is None else CallLog(log)

    def count(self) -> int:
        """Return the number of calls."""
        return len(self.prompts)

    async def judge(self, prompt: RenderedJudgePrompt, *, seed: int | None = None) -> JudgeResponse:
        """Return the scripted verdict, or fail as scripted."""
        self.prompts.append(prompt.text)
        number = len(self.prompts)
        asked = _digest([self.component_id, prompt.text, seed])
        if self._log is not None:
            self._log.write("judge", self.component_id, asked)
        await self._pass_time()
        _fail(self.failures, number)
        said = self.answer(prompt, seed) if callable(self.answer) else self.answer
        return JudgeResponse(text=said, artifacts={"asked": asked})


class CountingParser(_Scripted):
    """A parser that returns the final output, or a function of it, and counts its calls.

    Args:
        read: function from the final output to the value; may raise ``ParseError``.
        fingerprint: its fingerprint; needed if tests replace ``read``.
        component_id: its id.
    """

    reads: tuple[str, ...] = ()

    def __init__(
        self,
        read: Callable[[Any], Any] | None = None,
        *,
        fingerprint: str = "",
        component_id: str = "counting/parser",
    ) -> None:
        super().__init__(component_id, fingerprint, None)
        self._read = read
        self.calls: list[str] = []
        """Candidate ids, in order."""

    def parse(
        self, candidate: GenerationResult | ReducedCandidate, ctx: ParseContext
    ) -> ParsedOutput:
        """Return the value."""
        self.calls.append(ctx.candidate_id)
        output = candidate.final_output
        return ParsedOutput(value=output if self._read is None else self._read(output))


class CountingMetric(_Scripted):
    """A metric that gives 1 if the value equals the expected output, else 0, and counts its calls.

    Args:
        rule: function of value and case that returns the score or a ``ScoreError`` instead.
        fingerprint: its fingerprint; needed if tests replace ``rule``.
        component_id: its id in tables.
    """

    kind = "binary"
    value_range = (0.0, 1.0)

    def __init__(
        self,
        rule: Callable[[Any, Case], Any] | None = None,
        *,
        fingerprint: str = "",
        component_id: str = "counting/metric",
    ) -> None:
        super().__init__(component_id, fingerprint, None)
        self._rule = rule
        self.calls: list[str] = []
        """Case ids, in order."""

    def score(self, parsed: ParsedOutput, case: Case, ctx: ScoreContext) -> Score | ScoreError:
        """Return the score."""
        self.calls.append(ctx.case_id)
        if self._rule is None:
            return Score(metric_id=self.component_id, value=parsed.value == case.expected_output)
        given = self._rule(parsed.value, case)
        if isinstance(given, ScoreError):
            return given
        return Score(metric_id=self.component_id, value=given)


def _digest(value: Any) -> str:
    """Return a digest of JSON data; of other values only the type counts."""
    return text(digest_value("scripted", _plain(value)))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (str, int, float, bool, type(None))) and value == value:  # noqa: PLR0124
        return value
    return f"<{type(value).__name__}>"


def _fail(failures: Any, number: int) -> None:
    """Raise the exception that is scripted for the ``number``-th call, if there is one."""
    if isinstance(failures, BaseException):
        raise failures
    if failures and number <= len(failures) and failures[number - 1] is not None:
        raise failures[number - 1]
