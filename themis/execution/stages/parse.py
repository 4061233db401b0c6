"""Parsing: a value read out of a candidate. A parser that says it finds none gives a result.

What a parser says is ``ParseError``, or no value: that is the model's. Any other exception is the
parser's own fault, an error of its case that says nothing about the model.

What a model refused is never read: the words of a refusal may look like an answer.
"""

from __future__ import annotations

from typing import Any

from themis.core.base import CandidateId, JSONObject
from themis.core.contexts import ParseContext
from themis.core.endings import REFUSED
from themis.core.errors import DefinitionError, InvalidResultError
from themis.core.events import Stage, address_of
from themis.core.models import ParsedOutput
from themis.execution.calls import is_awaitable
from themis.execution.candidates import Candidate, Parsed, own_copy, shown_to
from themis.execution.case_run import CaseRun
from themis.execution.failures import (
    as_storable,
    said,
    says_unparsed,
)
from themis.execution.step import Payload, Step, StepResult
from themis.execution.undecided import UNDECIDED, Undecided, decide, plainest
from themis.planning.compiled_run import BoundComponent
from themis.planning.keys import failure_digest, parse_key, parsed_digest


class ParseStep(Step):
    """The step of one subject and one parser.

    Args:
        case: the case.
        parser: the parser.
        subject: the sample or the reduced candidate that is read.
    """

    category = "parser"

    def __init__(self, case: CaseRun, parser: BoundComponent, subject: Candidate) -> None:
        read = case.digests.read_by(parser.reads)
        super().__init__(
            case,
            address_of(Stage.PARSE, subject.sample, parser.name),
            parse_key(parser.digest, subject.content, read),
            parser,
            subject.candidate_id,
        )
        self.subject = subject
        self._content = b""
        """Digest of the value, where one was read just now."""

    def call(self) -> Any:
        """Call the parser; what the model refused is not read."""
        subject, parser = self.subject, self.bound
        if subject.refused is not None:
            return _refused(subject)
        context = ParseContext(
            **self.case.common(parser),
            candidate_id=CandidateId(subject.candidate_id),
            input=own_copy(parser, self.case.case.input) if "input" in parser.reads else None,
        )
        shown = subject.shown
        method = self.case.session.method(parser, "parse", answer=shown.final_output)
        try:
            value = decide(
                method,
                (shown_to(parser, subject), context),
                lambda: (
                    shown.model_copy(update={"final_output": plainest(shown.final_output)}),
                    context,
                ),
            )
        except Exception as error:  # noqa: BLE001 - the boundary to user code
            return _as_failure(error)
        return _awaited(value) if is_awaitable(value) else value

    def to_payload(self, value: Any) -> Payload:
        """Check what the parser gave, and return it as it is stored."""
        if isinstance(value, _Unread):
            return {"failure": value.failure}
        if isinstance(value, Undecided):
            self.case.session.undecided[self.bound.name] += 1
            return {"failure": _as_parse_failure(value.message, "Undecided", UNDECIDED)}
        if not isinstance(value, ParsedOutput):
            raise InvalidResultError(f"parse() returned {type(value).__name__}, not a ParsedOutput")
        if value.value is None:
            return {"failure": {"category": "parse_null", "message": "the parser gave no value"}}
        payload: Payload = {"value": value.value}
        if value.format is not None:
            payload["format"] = value.format
        if value.metadata:
            payload["metadata"] = value.metadata
        # Refuses what is not JSON.
        self._content = parsed_digest(value.value, value.format, value.metadata)
        return payload

    def parsed(self, result: StepResult) -> Parsed:
        """Return what was read, as later stages see it."""
        if result.failure is not None:  # an error of the machinery, not of the model
            return _failed(result.failure.category, result.failure.message, outage=True)
        failure = result.payload.get("failure")
        if failure is not None:
            return _failed(failure["category"], failure["message"])
        output = result.value if isinstance(result.value, ParsedOutput) else None
        if output is None:
            output = parsed_of(result.payload)
        content = self._content or parsed_digest(output.value, output.format, output.metadata)
        return Parsed(output=output, content=content)


def unparsed(subject: Candidate) -> Parsed:
    """Return the final output as it is, for a metric without a parser; a refusal is none."""
    if subject.refused is not None:
        return _failed(REFUSED.category, subject.refused)
    return _as_it_is(subject, {})


def as_refusal(subject: Candidate) -> Parsed:
    """Return a refusal for a metric that scores them: the text as it is, marked as refused."""
    return _as_it_is(subject, {"refused": True})


def as_empty_text() -> Parsed:
    """Return an empty answer for a metric to which it is an empty text."""
    output = ParsedOutput.unchecked(value="", format=None, metadata={})
    return Parsed(output=output, content=parsed_digest("", None, {}))


def _as_it_is(subject: Candidate, metadata: JSONObject) -> Parsed:
    value = subject.shown.final_output
    output = ParsedOutput.unchecked(value=value, format=None, metadata=metadata)
    return Parsed(output=output, content=parsed_digest(value, None, metadata))


def parsed_of(payload: Payload) -> ParsedOutput:
    """Return a parsed output as it was stored."""
    return ParsedOutput.unchecked(
        value=payload["value"],
        format=payload.get("format"),
        metadata=payload.get("metadata", {}),
    )


async def _awaited(promise: Any) -> Any:
    try:
        return await promise
    except Exception as error:  # noqa: BLE001 - the boundary to user code
        return _as_failure(error)


class _Unread:
    """The model's failure, in place of a parsed output; no parser can return one."""

    __slots__ = ("failure",)

    def __init__(self, failure: Payload) -> None:
        self.failure = failure


def _refused(subject: Candidate) -> _Unread:
    return _Unread({"category": REFUSED.category, "message": subject.refused or ""})


def _as_failure(error: Exception) -> _Unread:
    """Return what a parser says of the model's answer; what else it raises is its own failure."""
    if not says_unparsed(error):
        if isinstance(error, DefinitionError):
            raise InvalidResultError(str(error)) from error
        raise error
    return _Unread(
        _as_parse_failure(said(error), type(error).__name__, getattr(error, "reason", None))
    )


def _as_parse_failure(message: str, cause: str, reason: object) -> Payload:
    failure = {"category": "parse_failure", "message": message, "cause": cause}
    if reason is not None:
        failure["reason"] = as_storable(str(reason))
    return failure


def _failed(category: str, message: str, *, outage: bool = False) -> Parsed:
    return Parsed(
        output=None,
        content=failure_digest(category, message),
        category=category,
        message=message,
        outage=outage,
    )
