"""The tool calls in a trace or a conversation, and whether one is the call that was wanted.

In a trace a call is a step of type "tool" (also "tool_call", "function", "function_call"): its name
is the tool's, its input the arguments. In a conversation it stands in the content of a message, in
the forms that endpoints and frameworks give it: ``tool_calls`` beside a text (Chat Completions,
LangChain), or parts of type ``function_call`` (Responses) or ``tool_use`` (Messages). Arguments
that are JSON in a text are read. Nothing is taken for a call because its text looks like one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from themis.core.base import JSONValue
from themis.core.hashing import canonical
from themis.core.models import ConversationTrace, Message, TraceStep, WorkflowTrace
from themis.core.prompts import as_text

TOOL_TYPES = frozenset({"tool", "tool_call", "function", "function_call"})
_PARTS = frozenset({"tool_use", "tool_call", "function_call"})
_RESULTS = frozenset({"tool_result", "function_call_output"})
_RESULT_ROLES = frozenset({"tool", "function"})


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """One call of a tool."""

    name: str
    arguments: JSONValue
    failed: bool = False
    """Whether its result says that it failed."""

    def as_details(self) -> dict[str, JSONValue]:
        """Return the call as the details of a score show it."""
        details: dict[str, JSONValue] = {"name": self.name, "arguments": self.arguments}
        return {**details, "failed": True} if self.failed else details


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A call that is looked for.

    Attributes:
        name: the tool's.
        arguments: what they must be; None for any.
        match: "subset": what is named is there, objects within objects likewise; "exact": they are
            equal as JSON; "regex": each pattern is found in the text of the argument it names.
    """

    name: str
    arguments: Mapping[str, Any] | None
    match: str

    def is_met_by(self, call: ToolCall) -> bool:
        """Return whether a call is the one wanted."""
        if call.name != self.name:
            return False
        if self.arguments is None:
            return True
        if self.match == "exact":
            return canonical(dict(self.arguments)) == canonical(call.arguments)
        if self.match == "subset":
            return _is_part(dict(self.arguments), call.arguments)
        given = call.arguments
        return isinstance(given, dict) and all(
            name in given and re.search(pattern, as_text(given[name])) is not None
            for name, pattern in self.arguments.items()
        )

    @classmethod
    def read(cls, value: JSONValue, match: str) -> Wanted | None:
        """Return the call that a name, or an object of name and arguments, stands for."""
        if isinstance(value, str) and value:
            return cls(name=value, arguments=None, match=match)
        if not isinstance(value, dict) or not set(value) <= {"name", "arguments"}:
            return None
        name, arguments = value.get("name"), value.get("arguments")
        if not isinstance(name, str) or not name or not _may_be_wanted(arguments, match):
            return None
        return cls(name=name, arguments=arguments, match=match)


def calls_in_trace(trace: WorkflowTrace) -> list[ToolCall]:
    """Return the tool calls among the steps, in order."""
    return [
        ToolCall(name=step.step_name, arguments=_arguments(step.input), failed=has_failed(step))
        for step in trace.steps
        if step.step_type in TOOL_TYPES
    ]


def calls_in_conversation(conversation: ConversationTrace) -> list[ToolCall]:
    """Return the tool calls among the messages, in order."""
    failed = set(_failed_ids(conversation.messages))
    return [
        ToolCall(name=name, arguments=_arguments(arguments), failed=number in failed)
        for message in conversation.messages
        for name, arguments, number in _calls_of(message)
    ]


def has_failed(step: TraceStep) -> bool:
    """Return whether a step says that it failed: in its metadata, or by an error for its output."""
    if step.metadata.get("failed") is True or step.metadata.get("error"):
        return True
    return isinstance(step.output, dict) and bool(step.output.get("error"))


def message_failed(message: Message) -> bool:
    """Return whether a message is the result of a tool, and says that it failed."""
    return any(_is_failure(part) for part in _results_of(message))


def _calls_of(message: Message) -> Iterator[tuple[str, Any, str | None]]:
    content = message.content
    if isinstance(content, dict):
        for call in content.get("tool_calls") or ():
            yield from _call(call)
        yield from _call(content.get("function_call"))
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, dict) and part.get("type") in _PARTS:
            yield from _call(part)


def _call(call: Any) -> Iterator[tuple[str, Any, str | None]]:
    if not isinstance(call, dict):
        return
    inner = call.get("function")
    told = inner if isinstance(inner, dict) else call
    name = told.get("name")
    if not isinstance(name, str):
        return
    given: Any = next((told[key] for key in ("arguments", "input", "args") if key in told), {})
    number = call.get("call_id", call.get("id"))
    yield name, given, number if isinstance(number, str) else None


def _failed_ids(messages: Sequence[Message]) -> Iterator[str]:
    for message in messages:
        for part in _results_of(message):
            number = next(
                (part[key] for key in ("tool_call_id", "tool_use_id", "call_id") if key in part),
                None,
            )
            if isinstance(number, str) and _is_failure(part):
                yield number


def _results_of(message: Message) -> Iterator[dict[str, Any]]:
    content = message.content
    for part in content if isinstance(content, list) else [content]:
        is_result = isinstance(part, dict) and (
            part.get("type") in _RESULTS or message.role in _RESULT_ROLES
        )
        if is_result:
            yield part


def _is_failure(part: dict[str, Any]) -> bool:
    return part.get("is_error") is True or part.get("status") == "error" or bool(part.get("error"))


def _arguments(given: Any) -> JSONValue:
    """Return arguments as JSON: those that stand in a text are read, where it is JSON."""
    if not isinstance(given, str):
        return given
    try:
        return json.loads(given)
    except (ValueError, RecursionError):
        return given


def _is_part(wanted: Any, given: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(given, dict) and all(
            name in given and _is_part(value, given[name]) for name, value in wanted.items()
        )
    return canonical(wanted) == canonical(given)


def _may_be_wanted(arguments: Any, match: str) -> bool:
    if arguments is None:
        return True
    if not isinstance(arguments, dict):
        return False
    if match != "regex":
        return True
    try:
        return all(isinstance(one, str) and bool(re.compile(one)) for one in arguments.values())
    except re.error:
        return False
