"""What cannot be decided *of an answer* is the model's: a result, which no later run asks again.

A parser or a metric comes to no end where its time, its memory, its stack or the range of its
numbers is used up, or its worker process ends. Were that an error, a model could leave the mean by
an answer that nobody can work out. But the fault may as well be the part's, the gold answer's or
the machine's. So the same call is made with the plainest answer in place of the given one: where
that comes to an end within the same limits, it was the answer; else it is an error, as before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from themis.execution.calls import is_awaitable
from themis.execution.failures import WorkerEndedError, is_exhausted, said

UNDECIDED = "undecided"
"""What such a failure of the model is called."""


class Undecided(NamedTuple):
    """In place of a result: the part could not come to one of this answer."""

    message: str


def plainest(value: Any) -> Any:
    """Return the plainest answer of the same type: "1" for text, an empty list for a list."""
    if isinstance(value, str):
        return "1"
    return value if value is None else type(value)()


def decide(
    method: Callable[..., Any], args: tuple[Any, ...], plain: Callable[[], tuple[Any, ...]]
) -> Any:
    """Call a method of a parser or a metric on an answer.

    Args:
        method: the method, or how it is called in a worker process.
        args: its arguments.
        plain: makes them anew with the plainest answer in its place.

    Returns:
        What it returns or an awaitable of it, which may be an ``Undecided``.

    Raises:
        Exception: what it raised, that says nothing of the answer.
    """
    try:
        value = method(*args)
    except Exception as error:
        if not is_exhausted(error):
            raise
        try:
            method(*plain())
        except Exception as other:  # noqa: BLE001 - the boundary to user code
            if is_exhausted(other):
                raise error from None
        return _of_the_answer(error)
    return _decided(value, method, args, plain) if is_awaitable(value) else value


async def _decided(
    promise: Awaitable[Any],
    method: Callable[..., Any],
    args: tuple[Any, ...],
    plain: Callable[[], tuple[Any, ...]],
) -> Any:
    try:
        return await promise
    except Exception as error:
        if not is_exhausted(error) or not await _ends(method, plain()):
            raise
        if not isinstance(error, WorkerEndedError):
            return _of_the_answer(error)
    try:  # what ended the process, by chance from outside, ends it again if it was the answer
        return await method(*args)
    except Exception as error:
        if not is_exhausted(error):
            raise
        return _of_the_answer(error)


async def _ends(method: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Return whether a call comes to an end, of whatever kind."""
    try:
        await method(*args)
    except Exception as error:  # noqa: BLE001 - the boundary to user code
        return not is_exhausted(error)
    return True


def _of_the_answer(error: Exception) -> Undecided:
    return Undecided(f"no verdict on this answer, where a plain one gets one: {said(error)}")
