"""Metrics that run the answer, in a sandbox, against tests: HumanEval's, assertions, input/output.

They decide which program is run and what its result means; a sandbox runs it. A program is right
only where it came to the end of its tests. Where the sandbox itself fails, the score is an error,
never incorrect.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field

from themis.catalog.component import Count, MustBe, ShippedPart, at_least
from themis.catalog.sandbox.local import LocalSandbox
from themis.catalog.sandbox.pool import pool_of
from themis.catalog.sandbox.program import MIB, Program, ProgramLimits, ProgramResult, Sandbox
from themis.catalog.sandbox.remote import RemoteSandbox
from themis.core.base import JSONObject
from themis.core.contexts import ScoreContext
from themis.core.models import Case, ParsedOutput, Score, ScoreError

_WALL = 5.0
"""Seconds by the clock for each of processor time, so that a busy machine fails nobody."""

Seconds = Annotated[float, MustBe("a number of seconds above 0", lambda number: number > 0)]
_SANDBOX = '"local" or an address, such as "http://localhost:2000"'


class UnusableCaseError(Exception):
    """The case holds no test of the kind that the metric runs."""


class CodeMetric(ShippedPart):
    """Base of the metrics that run code."""

    value_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True
    unparsed: ClassVar[str] = "incorrect"

    timeout: Seconds = 3.0
    """Seconds of processor time that a program may take; by the clock, five times that. At an
    endpoint, by its clock."""
    memory_mb: Annotated[int, at_least(64)] = 1024
    """MiB of memory that all processes of a program may take together."""
    sandbox: Annotated[str, MustBe(_SANDBOX, str.strip)] = "local"
    """"local", or the address of an endpoint."""
    api: Literal["piston", "sandbox_fusion"] | None = None
    """The API of the endpoint."""
    isolation: Literal["auto", "bubblewrap", "namespaces", "rlimits"] = "auto"
    """How the local sandbox isolates programs: "auto" takes the strongest isolation that works, and
    never "rlimits"; the details of each score name it."""
    at_once: Count | None = Field(default=None, exclude=True)  # it changes no result
    """Programs that run at the same time; by default as many as there are processors, or 8 at an
    endpoint. All metrics with the same number share one pool."""

    def model_post_init(self, context: object, /) -> None:
        """Open the sandbox, so that one that cannot be had is refused before a run."""
        del context
        _ = self._sandbox

    @cached_property
    def limits(self) -> ProgramLimits:
        """What a program may use."""
        return ProgramLimits(
            seconds=self.timeout, wall_seconds=self.timeout * _WALL, memory=self.memory_mb * MIB
        )

    @cached_property
    def _sandbox(self) -> Sandbox:
        if self.sandbox == "local":
            if self.api is not None:
                raise self.refuse("api", self.api, "left out, as sandbox = 'local' has none")
            return LocalSandbox(isolation=self.isolation)
        parts = urlsplit(self.sandbox)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise self.refuse("sandbox", self.sandbox, _SANDBOX)
        if self.isolation != "auto":
            raise self.refuse("isolation", self.isolation, '"auto": an endpoint chooses its own')
        if self.api is None:
            raise self.refuse("api", None, '"piston" or "sandbox_fusion"')
        return RemoteSandbox(self.sandbox, api=self.api)

    async def run_program(self, program: Program) -> ProgramResult:
        """Run a program and return how it ended."""
        at_once = 8 if self.at_once is None and self.sandbox != "local" else self.at_once
        return await pool_of(at_once).run(self._sandbox, program, self.limits)

    async def score(
        self, parsed: ParsedOutput, case: Case, ctx: ScoreContext
    ) -> Score | ScoreError:
        """Return the score; a ``ScoreError`` where there is no code or no test.

        Raises:
            SandboxError: the sandbox failed, so that nothing is known of the program.
        """
        del ctx
        code = parsed.value
        if not isinstance(code, str):
            return ScoreError(
                metric_id=self.component_id,
                reason=(
                    f"case '{case.case_id}': the parsed value is no text with code; give the "
                    f'metric a parser, as in use("{self.component_id}", parser="builtin/code_text")'
                ),
            )
        try:
            return await self.test(code, case)
        except UnusableCaseError as error:
            return ScoreError(metric_id=self.component_id, reason=f"case '{case.case_id}': {error}")

    async def test(self, code: str, case: Case) -> Score:
        """Return the score of code.

        Raises:
            UnusableCaseError: the case holds no test.
        """
        raise NotImplementedError

    def score_of(self, ended: ProgramResult) -> Score:
        """Return the score by the result of a program that runs its tests itself."""
        return Score(
            metric_id=self.component_id,
            value=1.0 if ended.passed else 0.0,
            details=details_of(ended),
        )


class HumanEvalPassRate(CodeMetric):
    r"""1 where a completion passes a HumanEval problem's tests, else 0.

    The program is ``prompt + completion + "\n" + test + "\n" + check(entry_point)``, as
    HumanEval's own checker puts it together. A completion may be the body of the function or the
    whole function: where it defines the entry point itself, at the left margin, that definition
    follows the prompt's and takes its place, with what else the prompt holds (imports, helpers) in
    sight. Nothing is repaired: a body must have its indentation.

    ``test``, ``entry_point`` and ``prompt`` are looked for in the expected output, then in the
    metadata, then in the input, as far as these are objects; a prompt that is found nowhere is the
    input itself, if that is a text.

    Source: M. Chen et al., Evaluating Large Language Models Trained on Code, 2021
    (https://arxiv.org/abs/2107.03374), and ``human_eval/execution.py`` of its repository.
    """

    component_id = "builtin/humaneval_pass_rate"
    kind: ClassVar[str] = "binary"

    async def test(self, code: str, case: Case) -> Score:
        """Return 1 or 0, with the reason in the details."""
        prompt = _field(case, "prompt", case.input if isinstance(case.input, str) else None)
        test, entry_point = _field(case, "test"), _field(case, "entry_point")
        if not entry_point.isidentifier():
            raise UnusableCaseError(f"entry_point {entry_point!r} is no function's name")
        source = f"{completed(prompt, code, entry_point)}\n{test}\ncheck({entry_point})"
        return self.score_of(await self.run_program(Program(source=source)))


class AssertPassRate(CodeMetric):
    """1 where code passes a list of assertions, as those of MBPP, else 0.

    The program is the set-up, the code and the assertions, in order. The assertions are the
    expected output, if that is a list, or ``test_list`` in it or in the metadata; what runs before
    the code is ``test_setup_code`` and ``test_imports`` there.

    Source: J. Austin et al., Program Synthesis with Large Language Models, 2021
    (https://arxiv.org/abs/2108.07732).
    """

    component_id = "builtin/assert_pass_rate"
    kind: ClassVar[str] = "binary"
    reads: ClassVar[frozenset[str]] = frozenset({"expected_output", "metadata"})

    async def test(self, code: str, case: Case) -> Score:
        """Return 1 or 0, with the reason in the details."""
        expected = case.expected_output
        tests = expected if isinstance(expected, list) else _find(case, "test_list")
        if not tests or not isinstance(tests, list) or not all(isinstance(t, str) for t in tests):
            raise UnusableCaseError("no test_list with assertions, in expected_output or metadata")
        before: list[str] = []
        for name in ("test_imports", "test_setup_code"):
            found = _find(case, name) or []
            lines = [found] if isinstance(found, str) else found
            if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
                raise UnusableCaseError(f"{name} is neither a text nor a list of texts")
            before += lines
        source = "\n".join([*before, code, *tests])
        return self.score_of(await self.run_program(Program(source=source)))


class StdioPassRate(CodeMetric):
    """Whether a program writes what it should for each input, as programming contests test it.

    The program runs once for each test, as ``__main__``, with the test's input on standard input.
    It passes where it exits with code 0 and its standard output is the expected one; what it writes
    to standard error is no matter. The value is 1 where all tests are passed, else 0, and the rest
    is not run after the first that is not; with ``partial`` it is the share of tests passed.

    The expected output is a list of tests, each with ``input`` and ``output``, or an object with
    ``tests``, or with ``inputs`` and ``outputs`` of the same length. The expected outputs never
    enter the sandbox.

    Source: D. Hendrycks et al., Measuring Coding Challenge Competence With APPS, 2021
    (https://arxiv.org/abs/2105.09938), whose test case average is ``partial`` and whose strict
    accuracy is the default.
    """

    component_id = "builtin/stdio_pass_rate"
    reads: ClassVar[frozenset[str]] = frozenset({"expected_output"})

    compare: Literal["lines", "tokens", "exact"] = "lines"
    """"lines": white space at the ends of lines and empty lines at the end are no matter; "tokens":
    only what stands between white space counts; "exact"."""
    partial: bool = False
    """Whether the value is the share of tests passed."""

    @property
    def kind(self) -> str:
        """A share of tests passed is a value; all or nothing is binary."""
        return "value" if self.partial else "binary"

    async def test(self, code: str, case: Case) -> Score:
        """Return the value, with the first test that is not passed in the details."""
        tests = _input_output(case.expected_output)
        passed, first, last = 0, None, None
        for number, (stdin, wanted) in enumerate(tests, start=1):
            ended = last = await self.run_program(Program(source=code, script=True, stdin=stdin))
            if ended.passed and self._compared(ended.stdout) == self._compared(wanted):
                passed += 1
                continue
            if first is None:
                first = {**details_of(ended), "test": number}
                if ended.passed:
                    first |= {"reason": "wrong_output", "message": _difference(ended.stdout)}
            if not self.partial:
                break
        assert last is not None
        details: JSONObject = {**(first or details_of(last)), "passed": passed, "tests": len(tests)}
        value = passed / len(tests) if self.partial else float(passed == len(tests))
        return Score(metric_id=self.component_id, value=value, details=details)

    def _compared(self, text: str) -> object:
        if self.compare == "exact":
            return text
        if self.compare == "tokens":
            return text.split()
        return [line.rstrip() for line in text.rstrip().split("\n")]  # a form feed ends no line


def completed(prompt: str, completion: str, entry_point: str) -> str:
    """Return a prompt with its completion: the function's body, or the function as a whole."""
    whole = re.search(rf"^(?:async )?def +{re.escape(entry_point)}\b", completion, re.MULTILINE)
    between = "\n" if whole and not prompt.endswith("\n") else ""
    return prompt + between + completion


def details_of(ended: ProgramResult) -> JSONObject:
    """Return the details of a score: how the program ended."""
    details: JSONObject = {"reason": ended.reason, "isolation": ended.isolation}
    if ended.message:
        details["message"] = ended.message
    return details


def _difference(stdout: str) -> str:
    shown = stdout[:200]
    return f"wrote {shown!r}" + ("..." if len(stdout) > len(shown) else "")


def _find(case: Case, name: str) -> Any:
    for place in (case.expected_output, case.metadata, case.input):
        if isinstance(place, dict) and place.get(name) is not None:
            return place[name]
    return None


def _field(case: Case, name: str, otherwise: str | None = None) -> str:
    found = _find(case, name)
    if found is None:
        found = otherwise
    if not isinstance(found, str):
        raise UnusableCaseError(
            f"no text '{name}' in expected_output, metadata or input, as HumanEval's problems have"
        )
    return found


def _input_output(expected: Any) -> list[tuple[str, str]]:
    """Return the tests of an expected output as pairs of input and output."""
    if isinstance(expected, dict):
        inputs, outputs = expected.get("inputs"), expected.get("outputs")
        if isinstance(inputs, list) and isinstance(outputs, list) and len(inputs) == len(outputs):
            expected = [
                {"input": given, "output": wanted}
                for given, wanted in zip(inputs, outputs, strict=True)
            ]
        else:
            expected = expected.get("tests")
    pairs = expected if isinstance(expected, list) else []
    found = [
        (one["input"], one["output"])
        for one in pairs
        if isinstance(one, dict)
        and isinstance(one.get("input"), str)
        and isinstance(one.get("output"), str)
    ]
    if not found or len(found) != len(pairs):
        raise UnusableCaseError(
            "expected_output holds no list of tests, each with an 'input' and an 'output' as text"
        )
    return found
