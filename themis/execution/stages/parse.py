"""Parsing: a value read out of a candidate. A parser that finds none is a result, not an outage.

What a model refused is never read: the words of a refusal may look like an answer.
"""

from __future__ import annotations

from typing import Any

from themis.core.base import CandidateId, JSONObject
from themis.core.contexts import ParseContext
from themis.core.endings import REFUSED
from themis.core.errors import DefinitionError, InvalidResultError
from themis.core.events import Stage, address_of
from themis.core.hashing import encode, normalise
from themis.core.models import ParsedOutput
from themis.execution.calls import is_promise
from themis.execution.failures import (
    ExplainedError,
    UnsendableError,
    as_storable,
    is_retryable,
    said,
)
from themis.execution.flight import Candidate, CaseRun, Parsed, shown_to
from themis.execution.stage import take
from themis.execution.step import Payload, Step
from themis.planning.keys import failure_digest, parse_key, parsed_digest
from themis.planning.work import Bound

_METADATA = frozenset({"metadata"})
_NOTHING: frozenset[str] = frozenset()


async def parse(case: CaseRun, parser: Bound, subject: Candidate) -> Parsed:
    """Return what a parser reads out of a subject."""
    engine = case.engine
    reads = _METADATA if "metadata" in parser.reads else _NOTHING
    method = engine.method(parser, "parse")
    content = b""

    def seal(value: Any) -> Payload:
        nonlocal content
        payload, content = _sealed(value)
        return payload

    def call() -> Any:
        if subject.refused is not None:
            return _refused(subject)
        context = ParseContext(
            **case.common(parser), candidate_id=CandidateId(subject.candidate_id)
        )
        return _called(method, shown_to(parser, subject), context)

    taken = await take(
        case,
        Step(
            address=address_of(Stage.PARSE, subject.sample, parser.name),
            key=parse_key(parser.digest, subject.content, case.digests.read_by(reads)),
            bound=parser,
            call=call,
            seal=seal,
            category="parser",
            candidate_id=subject.candidate_id,
        ),
    )
    if taken.failure is not None:  # an error of the machinery, not of the model
        return _failed(taken.failure.category, taken.failure.message, outage=True)
    failure = taken.payload.get("failure")
    if failure is not None:
        return _failed(failure["category"], failure["message"])
    output = taken.value if isinstance(taken.value, ParsedOutput) else None
    if output is None:
        output = parsed_of(taken.payload)
    if not content:  # it was found, not made
        content = parsed_digest(output.value, output.format, output.metadata)
    return Parsed(output=output, content=content)


def unparsed(subject: Candidate) -> Parsed:
    """Return the final output as it is, for a metric without a parser; a refusal is none."""
    if subject.refused is not None:
        return _failed(REFUSED.category, subject.refused)
    return _as_it_is(subject, {})


def as_refusal(subject: Candidate) -> Parsed:
    """Return a refusal for a metric that scores them: the text as it is, marked as refused."""
    return _as_it_is(subject, {"refused": True})


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


def _called(method: Any, *args: Any) -> Any:
    """Call a parser and turn what it raises into the model's failure, sync or async."""
    try:
        value = method(*args)
    except Exception as error:  # noqa: BLE001 - the boundary to user code
        return _as_failure(error)
    return _awaited(value) if is_promise(value) else value


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
    # A connection, a timeout or a worker process that ended says nothing about the model.
    if is_retryable(error) or isinstance(error, (ExplainedError, UnsendableError)):
        raise error
    if isinstance(error, DefinitionError) and not _may_be_the_models(error.value):
        raise InvalidResultError(str(error)) from error
    failure = {
        "category": "parse_failure",
        "message": said(error),
        "cause": type(error).__name__,
    }
    if (reason := getattr(error, "reason", None)) is not None:
        failure["reason"] = as_storable(str(reason))
    return _Unread(failure)


def _may_be_the_models(value: Any) -> bool:
    """Return whether what was refused may stand in an answer: "nan", or text that is none.

    Bytes or a NumPy scalar are the parser's own doing: counted against the model, they would make
    every answer wrong.
    """
    try:
        encode(normalise(value))
    except TypeError:
        return False
    except (ValueError, RecursionError):
        return True
    return False


def _sealed(value: Any) -> tuple[Payload, bytes]:
    """Return what a parser gave as it is stored, and the digest of it; empty for a failure."""
    if isinstance(value, _Unread):
        return {"failure": value.failure}, b""
    if not isinstance(value, ParsedOutput):
        raise InvalidResultError(f"parse() returned {type(value).__name__}, not a ParsedOutput")
    if value.value is None:
        return {"failure": {"category": "parse_null", "message": "the parser gave no value"}}, b""
    payload: Payload = {"value": value.value}
    if value.format is not None:
        payload["format"] = value.format
    if value.metadata:
        payload["metadata"] = value.metadata
    # Refuses what is not JSON.
    return payload, parsed_digest(value.value, value.format, value.metadata)


def _failed(category: str, message: str, *, outage: bool = False) -> Parsed:
    return Parsed(
        output=None,
        content=failure_digest(category, message),
        category=category,
        message=message,
        outage=outage,
    )
