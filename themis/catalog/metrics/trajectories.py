"""Metrics of trajectories: which tools were called, in what order, in how many steps.

They read a candidate's trace or conversation and ask no judge, so that equal trajectories have
equal scores. A candidate that came without its trajectory is an error with that reason; a
trajectory without a tool call is scored like any other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from themis.catalog.component import CountFromZero, MustBe, ShippedPart
from themis.catalog.tool_calls import (
    ToolCall,
    Wanted,
    calls_in_conversation,
    calls_in_trace,
    has_failed,
    message_failed,
)
from themis.core.base import JSONValue
from themis.core.contexts import ScoreContext
from themis.core.models import Case, ParsedOutput, Score, ScoreError

_SHOWN = 20
"""Calls that details show."""
_CALLS = "a list of tools' names, or of objects of name and arguments"


class _TrajectoryMetric(ShippedPart):
    """What metrics of a trajectory have in common."""

    unparsed: ClassVar[str] = "incorrect"

    subject: Literal["trace", "conversation"] = "trace"
    """Whether a candidate's trace or its conversation is read."""

    def _score(self, value: float, **details: JSONValue) -> Score:
        return Score(metric_id=self.component_id, value=value, details=details)

    def _error(self, reason: str) -> ScoreError:
        return ScoreError(metric_id=self.component_id, reason=reason)


class _CallMetric(_TrajectoryMetric):
    """What metrics of tool calls have in common."""

    kind: ClassVar[str] = "binary"
    value_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True

    match: Literal["subset", "exact", "regex"] = "subset"
    """How arguments are compared: "subset" (those named are there), "exact" (equal as JSON) or
    "regex" (each pattern is found in the argument it names)."""
    errors: Literal["count", "skip", "fail"] = "count"
    """What a call that failed is: "count" counts it, "skip" leaves it out, "fail" makes the score
    0."""

    @property
    def cpu_bound(self) -> bool:
        """A pattern may take very long on a model's arguments, and must not hold up the run."""
        return self.match == "regex"

    def _calls(self, ctx: ScoreContext) -> list[ToolCall]:
        if ctx.trace is not None:
            return calls_in_trace(ctx.trace)
        return [] if ctx.conversation is None else calls_in_conversation(ctx.conversation)

    def _counted(self, calls: Sequence[ToolCall]) -> list[ToolCall]:
        return [call for call in calls if self.errors != "skip" or not call.failed]

    def _is_spoilt(self, calls: Sequence[ToolCall]) -> bool:
        return self.errors == "fail" and any(call.failed for call in calls)

    def _details(self, calls: Sequence[ToolCall]) -> dict[str, JSONValue]:
        shown = [call.as_details() for call in calls[:_SHOWN]]
        return {"n_calls": len(calls), "n_failed": sum(one.failed for one in calls), "calls": shown}


class ToolCalled(_CallMetric):
    """1 where a tool was called, as often as wanted, else 0."""

    component_id = "builtin/trace/tool_called"

    tool: Annotated[str, MustBe("a tool's name", str.strip)] | None = None
    """The tool's name; None takes the call from the expected output: a name, or an object of
    ``name`` and ``arguments``."""
    arguments: Annotated[dict[str, Any], MustBe("an object of arguments")] | None = None
    """What the call's arguments must be; None for any."""
    least: CountFromZero = 1
    """Calls that there must be at least; 0 with ``most=0`` for a tool that must not be called."""
    most: CountFromZero | None = None
    """Calls that there may be at most; None for any number."""

    def model_post_init(self, context: object, /) -> None:
        """Check the bounds, and that the arguments can be looked for."""
        del context
        if self.most is not None and self.most < self.least:
            raise self.refuse("most", self.most, f"an integer of at least {self.least}")
        if self.tool is None and self.arguments is not None:
            raise self.refuse("arguments", self.arguments, "given together with the tool's name")
        if self.tool is not None and self._wanted is None:
            raise self.refuse("arguments", self.arguments, _arguments_wanted(self.match))

    @property
    def reads(self) -> frozenset[str]:
        """The expected output, where it names the call."""
        return frozenset({"expected_output"} if self.tool is None else ())

    @cached_property
    def _wanted(self) -> Wanted | None:
        """The call that the parameters name."""
        if self.tool is None:
            return None
        return Wanted.read({"name": self.tool, "arguments": self.arguments}, self.match)

    def score(self, parsed: ParsedOutput, case: Case, ctx: ScoreContext) -> Score | ScoreError:
        """Return the score; a ``ScoreError`` where the expected output names no call."""
        del parsed
        wanted = self._wanted or Wanted.read(case.expected_output, self.match)
        if wanted is None:
            return self._error(
                f"case '{case.case_id}': expected_output {case.expected_output!r} is neither a "
                "tool's name nor an object of name and arguments"
            )
        calls = self._calls(ctx)
        n_matching = sum(wanted.is_met_by(call) for call in self._counted(calls))
        is_enough = n_matching >= self.least
        is_right = is_enough and (self.most is None or n_matching <= self.most)
        right = is_right and not self._is_spoilt(calls)
        return self._score(float(right), n_matching=n_matching, **self._details(calls))


class CallSequence(_CallMetric):
    """1 where the tool calls are those wanted, in the order wanted, else 0."""

    component_id = "builtin/trace/sequence"

    calls: Annotated[list[Any], MustBe(_CALLS)] | None = None
    """The calls: names, or objects of ``name`` and ``arguments``; None takes them from the expected
    output."""
    order: Literal["exact", "subsequence", "contiguous", "any"] = "exact"
    """"exact" (these calls, in this order, and no other), "subsequence" (in this order, others may
    stand between), "contiguous" (in this order, with none between) or "any" (these calls and no
    other, in any order)."""

    def model_post_init(self, context: object, /) -> None:
        """Check that the calls can be looked for."""
        del context
        if self.calls is not None and self._wanted is None:
            raise self.refuse("calls", self.calls, _CALLS)

    @property
    def reads(self) -> frozenset[str]:
        """The expected output, where it names the calls."""
        return frozenset({"expected_output"} if self.calls is None else ())

    @cached_property
    def _wanted(self) -> list[Wanted] | None:
        """The calls that the parameters name."""
        return None if self.calls is None else self._read(self.calls)

    def score(self, parsed: ParsedOutput, case: Case, ctx: ScoreContext) -> Score | ScoreError:
        """Return the score; a ``ScoreError`` where the expected output is no list of calls."""
        del parsed
        wanted = self._read(case.expected_output) if self._wanted is None else self._wanted
        if wanted is None:
            return self._error(
                f"case '{case.case_id}': expected_output {case.expected_output!r} is no list of "
                "tools' names, or of objects of name and arguments"
            )
        calls = self._calls(ctx)
        right = _FITS[self.order](wanted, self._counted(calls)) and not self._is_spoilt(calls)
        return self._score(float(right), n_wanted=len(wanted), **self._details(calls))

    def _read(self, value: JSONValue) -> list[Wanted] | None:
        if not isinstance(value, list):
            return None
        found = [Wanted.read(one, self.match) for one in value]
        read = [one for one in found if one is not None]
        return read if len(read) == len(found) else None


class StepCount(_TrajectoryMetric):
    """The number of steps, or, with bounds, 1 where it is within them and else 0.

    Steps are those of a trace, or the messages of a conversation.
    """

    component_id = "builtin/trace/step_count"
    reads: ClassVar[frozenset[str]] = frozenset()

    least: CountFromZero | None = None
    """Steps that there must be at least; None for any number."""
    most: CountFromZero | None = None
    """Steps that there may be at most; None for any number."""
    step_type: Annotated[str, MustBe("a text", str.strip)] | None = None
    """Count these only: the type of a trace's step, the role of a message."""
    step_name: Annotated[str, MustBe("a text", str.strip)] | None = None
    """Count these only: the name of a trace's step."""
    failed: bool | None = None
    """Count only those that say that they failed, or (False) that do not; None for all."""

    def model_post_init(self, context: object, /) -> None:
        """Check the bounds, and that what is to be counted has a name."""
        del context
        if self.most is not None and self.most < (self.least or 0):
            raise self.refuse("most", self.most, f"an integer of at least {self.least}")
        if self.step_name is not None and self.subject == "conversation":
            raise self.refuse("step_name", self.step_name, "left out: messages have no name")

    @property
    def kind(self) -> str:
        """Binary with bounds, a value without."""
        return "binary" if self._is_bounded else "value"

    @property
    def value_range(self) -> tuple[float, float] | None:
        """0 to 1 with bounds; a number of steps has no range."""
        return (0.0, 1.0) if self._is_bounded else None

    @property
    def unit(self) -> str | None:
        """Steps, where no bounds make a score of 0 or 1 of them."""
        return None if self._is_bounded else "steps"

    @property
    def higher_is_better(self) -> bool:
        """A score of 1 is better than 0; without bounds, fewer steps are better."""
        return self._is_bounded

    @property
    def _is_bounded(self) -> bool:
        return self.least is not None or self.most is not None

    def score(self, parsed: ParsedOutput, case: Case, ctx: ScoreContext) -> Score:
        """Return the number, or whether it is within the bounds; details count by type."""
        del parsed, case
        steps = [one for one in self._steps(ctx) if self._counts(*one)]
        n_steps = len(steps)
        by_type: dict[str, JSONValue] = dict(Counter(kind for kind, _, _ in steps))
        within = (self.least or 0) <= n_steps and (self.most is None or n_steps <= self.most)
        value = float(within) if self._is_bounded else float(n_steps)
        return self._score(value, n_steps=n_steps, by_type=by_type)

    @staticmethod
    def _steps(ctx: ScoreContext) -> list[tuple[str, str | None, bool]]:
        """Return type, name and failure of each step."""
        if ctx.trace is not None:
            return [(one.step_type, one.step_name, has_failed(one)) for one in ctx.trace.steps]
        turns = [] if ctx.conversation is None else ctx.conversation.messages
        return [(turn.role, None, message_failed(turn)) for turn in turns]

    def _counts(self, kind: str, name: str | None, failed: bool) -> bool:
        if self.step_type not in (None, kind) or self.step_name not in (None, name):
            return False
        return self.failed in (None, failed)


def _is_exactly(wanted: Sequence[Wanted], calls: Sequence[ToolCall]) -> bool:
    pairs = zip(wanted, calls, strict=False)
    return len(wanted) == len(calls) and all(one.is_met_by(call) for one, call in pairs)


def _is_within(wanted: Sequence[Wanted], calls: Sequence[ToolCall]) -> bool:
    left = iter(calls)
    return all(any(one.is_met_by(call) for call in left) for one in wanted)


def _is_a_stretch(wanted: Sequence[Wanted], calls: Sequence[ToolCall]) -> bool:
    size = len(wanted)
    starts = range(len(calls) - size + 1)
    return any(_is_exactly(wanted, calls[start : start + size]) for start in starts)


def _is_in_any_order(wanted: Sequence[Wanted], calls: Sequence[ToolCall]) -> bool:
    """Return whether each call can be had for one that is wanted: a perfect matching.

    By augmenting paths (Kuhn 1955, "The Hungarian method for the assignment problem"), for one
    call may meet several that are wanted.
    """
    if len(wanted) != len(calls):
        return False
    taken: dict[int, int] = {}

    def place(number: int, tried: set[int]) -> bool:
        for at, call in enumerate(calls):
            if at in tried or not wanted[number].is_met_by(call):
                continue
            tried.add(at)
            if at not in taken or place(taken[at], tried):
                taken[at] = number
                return True
        return False

    return all(place(number, set()) for number in range(len(wanted)))


_FITS = {
    "exact": _is_exactly,
    "subsequence": _is_within,
    "contiguous": _is_a_stretch,
    "any": _is_in_any_order,
}


def _arguments_wanted(match: str) -> str:
    if match == "regex":
        return "an object of regular expressions, by the argument that each is looked for in"
    return "an object of arguments"
