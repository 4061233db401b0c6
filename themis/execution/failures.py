"""From an exception to data: what failed, why, and whether trying again may help."""

from __future__ import annotations

import traceback
from typing import Any

from themis.core.errors import (
    ComponentError,
    DefinitionError,
    InvalidResultError,
    LeaseLostError,
    ParseError,
    ProviderError,
    StoreError,
)
from themis.core.hashing import encode, normalise
from themis.core.models import TraceStep
from themis.core.results import StepFailure

EXHAUSTED = (MemoryError, OverflowError, RecursionError)
_FRAMES = 12
_LONGEST = 1000


class AttemptTimeoutError(TimeoutError):
    """One try of a step took longer than its timeout."""


class ExplainedError(ComponentError):
    """A failure that the engine itself found, with its category and what is to be kept of it."""

    retryable = False

    def __init__(
        self,
        message: str,
        *,
        category: str,
        outage: bool = True,
        execution: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.category = category
        self.outage = outage
        """Whether another run may do better; what the model did stays as it is."""
        self.execution = execution


class WorkerEndedError(ExplainedError):
    """The worker process of a call ended before it answered, or ran out of memory."""

    exhausted = True


class OverdueError(AttemptTimeoutError):
    """A call in a worker process took longer than it may."""

    exhausted = True


class UnsendableError(InvalidResultError):
    """What goes to a worker process, or comes back from it, cannot be pickled."""

    retryable = False


class NotAskedError(ComponentError):
    """A call that was not made, since it would have failed as others did before it."""

    retryable = False


class WorkStoppedError(BaseException):  # no component's ``except Exception`` may swallow it
    """The run is stopping: a step that would begin new work is not taken."""


PASS_THROUGH = (WorkStoppedError, StoreError, LeaseLostError)
"""Not failures of a step: they end the case where it stands."""


def failure_of(
    error: BaseException,
    *,
    stage: str,
    category: str,
    component: str,
    candidate_id: str | None = None,
    tries: list[dict[str, Any]] | None = None,
) -> StepFailure:
    """Return an exception as data.

    Args:
        error: what was raised.
        stage: where.
        category: what it is called where it is not a timeout.
        component: name of the component that raised it.
        candidate_id: the candidate it concerns, if any.
        tries: history of the tries that failed, the last one included.
    """
    provider = error if isinstance(error, ProviderError) else None
    return StepFailure(
        stage=stage,
        category=category_of(error, category),
        message=f"{component}: {said(error)}",
        cause=type(error).__name__,
        traceback=_shown(error),
        trace=_trace_of(error),
        tries=list(tries or []) if tries and len(tries) > 1 else [],
        candidate_id=candidate_id,
        component=component,
        retryable=is_retryable(error),
        fatal=provider is not None and provider.fatal,
        status=None if provider is None else provider.status,
    )


def says_unparsed(error: BaseException) -> bool:
    """Return whether an exception of a parser tells of the answer, and not of the parser.

    A value that no result may hold, and that an answer may ("nan"), is the answer's.
    """
    if isinstance(error, DefinitionError):
        return _may_be_the_models(error.value)
    return isinstance(error, ParseError)


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


def said(error: BaseException) -> str:
    """Return what an exception says in one line, fit to be stored: text, and not endless.

    All its lines, for some say what it is about in the first and what is wrong in the others.
    """
    try:
        lines = (line.strip() for line in str(error).splitlines())
        words = " ".join(line for line in lines if line)
    except Exception:  # noqa: BLE001 - the boundary to user code
        words = ""
    words = words or type(error).__name__
    if len(words) > _LONGEST:
        words = words[:_LONGEST] + " ..."
    return as_storable(words)


def as_storable(words: str) -> str:
    """Return text with lone surrogates, which no store can keep, spelled out."""
    return words.encode("utf-8", "backslashreplace").decode("utf-8")


def is_exhausted(error: BaseException) -> bool:
    """Return whether a call ended because its time, memory, stack or range of numbers was used up.

    In a worker process it may also have ended the process.
    """
    return isinstance(error, EXHAUSTED) or getattr(error, "exhausted", False) is True


def category_of(error: BaseException, otherwise: str) -> str:
    """Return what a failure is called: a timeout is one wherever it happens."""
    if isinstance(error, ExplainedError):
        return error.category
    return "timeout" if isinstance(error, TimeoutError) else otherwise


def is_settled(error: BaseException) -> bool:
    """Return whether another run cannot do better: the model did it, not the machinery."""
    return isinstance(error, ExplainedError) and not error.outage


def is_retryable(error: BaseException) -> bool:
    """Return whether the same call may succeed a little later.

    What a component marks with a bool ``retryable`` counts; otherwise timeouts and connection
    failures do.
    """
    marked = getattr(error, "retryable", None)
    if isinstance(marked, bool):
        return marked
    return isinstance(error, (TimeoutError, ConnectionError))


def _trace_of(error: BaseException) -> list[TraceStep]:
    """Return the steps that an adapter saw before its graph failed."""
    trace = getattr(error, "trace_so_far", None)
    steps = trace if isinstance(trace, list) else []
    return [step for step in steps if isinstance(step, TraceStep)]


def _shown(error: BaseException) -> str | None:
    """The traceback below the engine's own frames; where it was another process's, that one."""
    remote: str | None = getattr(error, "remote_traceback", None)
    if remote is not None:
        return remote
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "/themis/execution/" not in frame.filename.replace("\\", "/")
    ]
    if not frames:
        return None
    return as_storable("".join(traceback.format_list(frames[-_FRAMES:])).rstrip())
