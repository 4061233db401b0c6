"""Components that run in worker processes, and go wrong there in every way there is.

They stand in a module, not in a test, since a worker process imports them anew.
"""

from __future__ import annotations

import ctypes
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from themis.core.errors import ParseError
from themis.core.judging import (
    AggregationResult,
    CandidateSetSubject,
    JudgeCall,
    ParsedJudgment,
    RenderedJudgePrompt,
)
from themis.core.models import ParsedOutput, Score


class _Component:
    version = "1"
    cpu_bound = True

    def __init__(self, name: str = "heavy", folder: Path | None = None) -> None:
        self.component_id = name
        self.folder = folder

    def fingerprint(self) -> str:
        return "heavy"

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.folder is not None:  # count how often it is loaded, and where
            self.folder.joinpath(f"loaded-{os.getpid()}-{time.monotonic_ns()}").touch()


class HeavyMetric(_Component):
    """Scores 1 for an even input, in a worker; a text input says what goes wrong there."""

    kind = "value"

    def score(self, parsed: ParsedOutput, case: Any, ctx: Any) -> Score:
        if isinstance(case.input, str):
            return trouble(case.input)
        details = {"process": os.getpid(), "seen": [ctx.case_id, ctx.seed, case.expected_output]}
        return Score(metric_id=self.component_id, value=case.input % 2 == 0, details=details)


class HeavyParser(_Component):
    """Reads the output in a worker; a text says what goes wrong there."""

    def parse(self, candidate: Any, ctx: Any) -> ParsedOutput:
        output = candidate.final_output
        if isinstance(output, str):
            trouble(output)
        return ParsedOutput(value=output, metadata={"process": os.getpid()})


class LongReader(_Component):
    """Reads long outputs in a worker, and tells where it read."""

    cpu_bound = False
    cpu_bound_over = 100

    def parse(self, candidate: Any, ctx: Any) -> ParsedOutput:
        return ParsedOutput(value=candidate.final_output, metadata={"process": os.getpid()})


class ReadingMetric(_Component):
    """Scores 1 in a worker; an answer that is a text says what goes wrong there."""

    kind = "binary"
    cpu_timeout = 1.0

    def score(self, parsed: ParsedOutput, case: Any, ctx: Any) -> Score:
        trouble(parsed.value)
        return Score(metric_id=self.component_id, value=1)


class HurriedMetric(HeavyMetric):
    cpu_timeout = 1.0


class AsyncMetric(HeavyMetric):
    async def score(self, parsed: ParsedOutput, case: Any, ctx: Any) -> Score:  # type: ignore[override]
        return Score(metric_id=self.component_id, value=1)


class HeldMetric(HeavyMetric):
    """Holds what cannot be pickled."""

    def __init__(self) -> None:
        super().__init__()
        self.rule = lambda value: value


class OddError(Exception):
    """Cannot be made again from what it was pickled as."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def deep_inside() -> None:
    raise OddError(1, 2)


def trouble(kind: str) -> Any:
    """Do what the name says; each but the last few ends or stops the process that it is in."""
    match kind:
        case "sigkill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            ctypes.string_at(0)
        case "exit":
            os._exit(7)
        case "sysexit":
            sys.exit("no more")
        case "loop":
            while True:
                pass
        case "stuck":  # in C, with the interpreter's lock held
            ctypes.PyDLL(None).sleep(3600)
        case "memory":
            bytearray(1 << 60)
        case "fork":
            if os.fork():
                time.sleep(0.05)
        case "sigkill once":
            told = Path(os.environ["HEAVY_CHILD"])
            if not told.exists():
                told.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        case "recursion":
            trouble(kind)
        case "overflow":
            math.exp(1000)
        case "children":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
            Path(os.environ["HEAVY_CHILD"]).write_text(str(child.pid))
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            deep_inside()
        case "parse error":
            raise ParseError("two answers", reason="ambiguous")
        case "timeout":
            raise TimeoutError("its own")
        case "unsendable":
            return lambda: None
        case "print":
            print("this is not for the pipe" * 1000)
            sys.stdin.read()
    return Score(metric_id="heavy", value=1, details={"process": os.getpid()})


class HeavyWorkflow:
    """A judged metric's workflow whose every method tells the process it ran in."""

    def __init__(self, judge: str) -> None:
        self.judge = judge

    def judge_calls(self) -> list[JudgeCall]:
        return [JudgeCall(call_id="one", judge=self.judge)]

    def render_prompt(self, call: JudgeCall, subject: Any, ctx: Any) -> RenderedJudgePrompt:
        told = None if isinstance(ctx.case.input, str) else f"process {os.getpid()}"
        return RenderedJudgePrompt(text="Is it?", instructions=told)

    def parse_judgment(self, call: JudgeCall, response: Any, ctx: Any) -> ParsedJudgment:
        if isinstance(ctx.case.input, str):
            trouble(ctx.case.input)
        return ParsedJudgment(
            call_id=call.call_id, judge=call.judge, verdict=1, details={"process": os.getpid()}
        )

    def score_judgment(self, call: JudgeCall, judgment: ParsedJudgment, ctx: Any) -> Score:
        return Score(metric_id="judged", value=1, details={"process": os.getpid()})

    def aggregate(self, judgments: Any, scores: Any, ctx: Any) -> AggregationResult:
        return AggregationResult(value=1, details={"process": os.getpid()})


class HeavyJudged(_Component):
    kind = "value"

    def build_workflow(self, subject: CandidateSetSubject, ctx: Any) -> HeavyWorkflow:
        return HeavyWorkflow(ctx.judge_model_refs[0])
