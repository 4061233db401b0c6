"""Metrics of the way to a candidate: which tools were called, in what order, in how many steps.

They read a trace or a conversation and ask no judge, so that equal ways have equal scores. A
candidate that came without its way is an error with that reason; a way in which nothing was called
is scored like any other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from themis.catalog.shipped import ShippedComponent
from themis.catalog.tool_calls import (
    MATCHES,
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
_ERRORS = ("count", "skip", "fail")
_ORDERS = ("exact", "subsequence", "contiguous", "any")


class _OfTheWay(ShippedComponent):
    """What metrics of the way have in common."""

    higher_is_better = True
    unparsed = "incorrect"

    def __init__(self, subject: str, params: dict[str, Any]) -> None:
        super().__init__({"subject": subject, **params})
        self.subject = self.one_of("subject", subject, ("trace", "conversation"))

    def _score(self, value: float, **details: JSONValue) -> Score:
        return Score(metric_id=self.component_id, value=value, details=details)

    def _error(self, reason: str) -> ScoreError:
        return ScoreError(metric_id=self.component_id, reason=reason)


class _OfCalls(_OfTheWay):
    """What metrics of tool calls have in common."""

    kind = "binary"
    value_range = (0.0, 1.0)

    def __init__(self, subject: str, match: str, errors: str, params: dict[str, Any]) -> None:
        super().__init__(subject, {"match": match, "errors": errors, **params})
        self._match = self.one_of("match", match, MATCHES)
        # A pattern may take for ever over what a model gave, and must not hold up the run then.
        self.cpu_bound = match == "regex"
        self._errors = self.one_of("errors", errors, _ERRORS)

    def _calls(self, ctx: ScoreContext) -> list[ToolCall]:
        if ctx.trace is not None:
            return calls_in_trace(ctx.trace)
        return [] if ctx.conversation is None else calls_in_conversation(ctx.conversation)

    def _counted(self, calls: Sequence[ToolCall]) -> list[ToolCall]:
        return [call for call in calls if self._errors != "skip" or not call.failed]

    def _is_spoilt(self, calls: Sequence[ToolCall]) -> bool:
        return self._errors == "fail" and any(call.failed for call in calls)

    def _told(self, calls: Sequence[ToolCall]) -> dict[str, JSONValue]:
        shown = [call.told() for call in calls[:_SHOWN]]
        return {"n_calls": len(calls), "n_failed": sum(one.failed for one in calls), "calls": shown}


class ToolCalled(_OfCalls):
    """1 where a tool was called, as often as wanted, else 0.

    Args:
        tool: the tool's name; None takes the call from the expected output: a name, or an object
            of ``name`` and ``arguments``.
        arguments: what the call's arguments must be; None for any.
        match: how ``arguments`` are compared: "subset" (those named are there), "exact" (equal as
            JSON) or "regex" (each pattern is found in the argument it names).
        least: calls that there must be at least; 0 with ``most=0`` for a tool that must not be
            called.
        most: calls that there may be at most; None for any number.
        errors: what a call that failed is: "count" counts it, "skip" leaves it out, "fail" makes
            the score 0.
        subject: "trace" or "conversation", where the calls are read from.
    """

    component_id = "builtin/trace/tool_called"

    def __init__(
        self,
        *,
        tool: str | None = None,
        arguments: dict[str, Any] | None = None,
        match: str = "subset",
        least: int = 1,
        most: int | None = None,
        errors: str = "count",
        subject: str = "trace",
    ) -> None:
        given = {"tool": tool, "arguments": arguments, "least": least, "most": most}
        super().__init__(subject, match, errors, given)
        self._least = self.count_param("least", least, least=0)
        self._most = None if most is None else self.count_param("most", most, least=least)
        self._wanted: Wanted | None = None
        self.reads = frozenset({"expected_output"} if tool is None else ())
        if tool is None:
            if arguments is not None:
                raise self.refuse("arguments", arguments, "given together with the tool's name")
            return
        name = self.text_param("tool", tool, "a tool's name")
        self._wanted = Wanted.read({"name": name, "arguments": arguments}, match)
        if self._wanted is None:
            raise self.refuse("arguments", arguments, _arguments_wanted(match))

    def score(self, parsed: ParsedOutput, case: Case, ctx: ScoreContext) -> Score | ScoreError:
        """Return the score; a ``ScoreError`` where the expected output names no call."""
        del parsed
        wanted = self._wanted or Wanted.read(case.expected_output, self._match)
        if wanted is None:
            return self._error(
                f"case '{case.case_id}': expected_output {case.expected_output!r} is neither a "
                "tool's name nor an object of name and arguments"
            )
        calls = self._calls(ctx)
        n_matching = sum(wanted.is_met_by(call) for call in self._counted(calls))
        is_enough = n_matching >= self._least
        is_right = is_enough and (self._most is None or n_matching <= self._most)
        right = is_right and not self._is_spoilt(calls)
        return self._score(float(right), n_matching=n_matching, **self._told(calls))


class CallSequence(_OfCalls):
    """1 where the tool calls are those wanted, in the order wanted, else 0.

    Args:
        calls: the calls: names, or objects of ``name`` and ``arguments``; None takes them from the
            expected output.
        order: "exact" (these calls, in this order, and no other), "subsequence" (in this order,
            others may stand between), "contiguous" (in this order, with none between) or "any"
            (these calls and no other, in any order).
        match: how arguments are compared, as of ``builtin/trace/tool_called``.
        errors: what a call that failed is, as of ``builtin/trace/tool_called``.
        subject: "trace" or "conversation", where the calls are read from.
    """

    component_id = "builtin/trace/sequence"

    def __init__(
        self,
        *,
        calls: list[Any] | None = None,
        order: str = "exact",
        match: str = "subset",
        errors: str = "count",
        subject: str = "trace",
    ) -> None:
        super().__init__(subject, match, errors, {"calls": calls, "order": order})
        self._order = self.one_of("order", order, _ORDERS)
        self.reads = frozenset({"expected_output"} if calls is None else ())
        self._wanted = None if calls is None else self._read(calls)
        if calls is not None and self._wanted is None:
            wanted = "a list of tools' names, or of objects of name and arguments"
            raise self.refuse("calls", calls, wanted)

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
        right = _FITS[self._order](wanted, self._counted(calls)) and not self._is_spoilt(calls)
        return self._score(float(right), n_wanted=len(wanted), **self._told(calls))

    def _read(self, value: JSONValue) -> list[Wanted] | None:
        if not isinstance(value, list):
            return None
        found = [Wanted.read(one, self._match) for one in value]
        read = [one for one in found if one is not None]
        return read if len(read) == len(found) else None


class StepCount(_OfTheWay):
    """The number of steps, or, with bounds, 1 where it is within them and else 0.

    Steps are those of a trace, or the messages of a conversation.

    Args:
        least: steps that there must be at least; None for any number.
        most: steps that there may be at most; None for any number.
        step_type: count these only: the type of a trace's step, the role of a message.
        step_name: count these only: the name of a trace's step.
        failed: count only those that say that they failed, or (False) that do not; None for all.
        subject: "trace" or "conversation".
    """

    component_id = "builtin/trace/step_count"
    reads = frozenset[str]()

    def __init__(
        self,
        *,
        least: int | None = None,
        most: int | None = None,
        step_type: str | None = None,
        step_name: str | None = None,
        failed: bool | None = None,
        subject: str = "trace",
    ) -> None:
        super().__init__(
            subject,
            {
                "least": least,
                "most": most,
                "step_type": step_type,
                "step_name": step_name,
                "failed": failed,
            },
        )
        self._least = 0 if least is None else self.count_param("least", least, least=0)
        self._most = None if most is None else self.count_param("most", most, least=self._least)
        for name, value in (("step_type", step_type), ("step_name", step_name)):
            if value is not None:
                self.text_param(name, value, "a text")
        if step_name is not None and subject == "conversation":
            raise self.refuse("step_name", step_name, "left out: messages have no name")
        self._type, self._name = step_type, step_name
        self._failed = None if failed is None else self.flag_param("failed", failed)
        self._is_bounded = least is not None or most is not None
        self.kind = "binary" if self._is_bounded else "value"
        self.value_range = (0.0, 1.0) if self._is_bounded else None
        self.unit = None if self._is_bounded else "steps"
        self.higher_is_better = self._is_bounded

    def score(self, parsed: ParsedOutput, case: Case, ctx: ScoreContext) -> Score:
        """Return the number, or whether it is within the bounds; details count by type."""
        del parsed, case
        steps = [one for one in self._steps(ctx) if self._counts(*one)]
        n_steps = len(steps)
        by_type: dict[str, JSONValue] = dict(Counter(kind for kind, _, _ in steps))
        within = self._least <= n_steps and (self._most is None or n_steps <= self._most)
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
        if self._type not in (None, kind) or self._name not in (None, name):
            return False
        return self._failed in (None, failed)


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
