"""Every error Themis raises, so that one ``except ThemisError`` catches them all.

    ThemisError
    ├── DefinitionError           the experiment, a config or an argument is refused
    │   ├── ConfigError           ... in a file
    │   ├── UnknownComponentError ... an id or import path that does not exist
    │   └── MissingExtraError     ... an optional dependency that is not installed
    ├── StoreError                the store cannot do what was asked
    │   ├── StoreVersionError     ... it was written by a newer Themis
    │   ├── StoreUnavailableError ... it is gone, full or read-only
    │   │   └── StoreFailedError  ... while a run was at work
    │   ├── StoreDamagedError     ... what it keeps is not what was written
    │   ├── RunNotFoundError      ... it has no such run
    │   ├── RunExistsError        ... it has this run already and the policy says error
    │   ├── RunOwnedError         ... another process is working on the run
    │   ├── LeaseLostError        ... this process no longer owns the run
    │   └── JournalConflictError  ... an event with this number is there already
    ├── ComponentError            a component failed; becomes data of one case
    │   ├── ProviderError         ... an endpoint reported a failure, with status and wait
    │   ├── ParseError            ... a parser could not read a value
    │   ├── MissingJudgmentsError ... a judged metric has too few judgments for a value
    │   └── InvalidResultError    ... it returned what its protocol does not allow
    └── RunStoppedError           the run stopped early because every case would fail alike
        └── BudgetSpentError      ... because its budget has no room for another call

``RunInterrupted`` stands outside the tree: it is a ``KeyboardInterrupt``, so that a script that is
told to stop does stop, and says how to go on.

A message names the value and the next step; the same facts are attributes for programs.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar

_N = TypeVar("_N", int, float)


class ThemisError(Exception):
    """Root of all errors raised by Themis."""

    exit_code = 1


class DefinitionError(ThemisError, ValueError):
    """An experiment, a config or an argument is refused; nothing has run or been written."""

    exit_code = 2

    def __init__(self, message: str, *, field: str | None = None, value: object = None) -> None:
        super().__init__(message)
        self.field = field
        self.value = value


class ConfigError(DefinitionError):
    """A config file cannot be read or has a value that is not allowed."""


class UnknownComponentError(DefinitionError):
    """An id that is not in the catalog, or an import path that cannot be imported."""

    def __init__(self, message: str, *, component: str, nearest: str | None = None) -> None:
        super().__init__(message, field="component", value=component)
        self.component = component
        self.nearest = nearest


class MissingExtraError(DefinitionError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""

    def __init__(self, *, extra: str, needed_for: str) -> None:
        super().__init__(
            f"{needed_for} needs the extra '{extra}': pip install 'themis-eval[{extra}]' "
            f"(in a checkout of Themis: pip install '.[{extra}]')",
            field="extra",
            value=extra,
        )
        self.extra = extra


class StoreError(ThemisError):
    """The store cannot do what was asked of it."""

    exit_code = 3


class StoreVersionError(StoreError):
    """The store was written by a newer Themis."""

    exit_code = 2

    def __init__(self, message: str, *, found: int, known: int) -> None:
        super().__init__(message)
        self.found = found
        self.known = known


class StoreUnavailableError(StoreError):
    """The store cannot be opened, read or written."""

    exit_code = 2


class StoreFailedError(StoreUnavailableError):
    """The store failed while a run was working; committed steps are kept, and it can resume."""

    exit_code = 3

    def __init__(self, message: str, *, run_id: str) -> None:
        super().__init__(message)
        self.run_id = run_id


class StoreDamagedError(StoreError):
    """What the store keeps is not what was written to it: a row was changed, or is missing.

    Args:
        path: the store's file.
        found: what is damaged, such as "event 12 of run 'abc' was changed".
    """

    exit_code = 2

    def __init__(self, path: str, found: str) -> None:
        super().__init__(
            f"store '{path}' is damaged: {found}; restore it from a copy, or save what can be read "
            "with sqlite3's .recover"
        )
        self.path = path
        self.found = found


class RunNotFoundError(StoreError):
    """The store has no run of this id."""

    exit_code = 2

    def __init__(self, run_id: str, *, nearest: str | None = None) -> None:
        hint = f"; did you mean '{nearest}'?" if nearest else ""
        super().__init__(f"no run '{run_id}' in this store{hint}")
        self.run_id = run_id


class RunExistsError(StoreError):
    """The run is in the store already and ``existing_run_policy`` is "error"."""

    exit_code = 2


class RunOwnedError(StoreError):
    """Another process is working on this run: which, since when and until when is in ``lease``.

    Args:
        message: one line for the user.
        lease: the ``Lease`` of ``core.store``, as it was found.
    """

    def __init__(self, message: str, *, lease: Any) -> None:
        super().__init__(message)
        self.lease = lease


class LeaseLostError(StoreError):
    """This process lost the run to another one; what it had not committed is dropped."""


class JournalConflictError(StoreError):
    """The journal holds an event with this number already."""


class ComponentError(ThemisError):
    """A component failed. The engine turns it into an error of one case."""


class ProviderError(ComponentError):
    """What an endpoint did, in the terms the engine acts on.

    Args:
        message: one line for the user.
        status: HTTP status, where there was one.
        retryable: whether the same request may succeed later; None lets the status decide.
        retry_after: seconds the endpoint asked to wait.
        rate_limit: the endpoint's rate-limit figures, as it gave them.
        fatal: whether every other case would fail alike (bad key, unknown model).
        confirm: what must bear out that it is fatal, where one answer of an endpoint says it, which
            may be of one prompt; until then it is an error of its case. "none_answered": several
            cases met it, and no other was answered, now or before; "in_a_row": several cases met
            it, and none was answered between.
        unreachable: whether no connection could be made at all; worth another try, and the end of
            the run where the endpoint stays so.
        had_begun: whether an answer had begun, so that the call may have been paid for whatever
            its status.
    """

    RETRYABLE_STATUS = frozenset({408, 409, 424, 425, 429, 499, *range(500, 600)} - {501, 505, 511})
    """Too early or too much, and what a server or a gateway says of itself: not that it lacks what
    was asked (501, 505), or that a network wants a sign-in first (511). 520 to 530 are Cloudflare's
    of the server behind it, 499 a proxy's, 424 that of text-generation-inference for a generation
    that failed."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
        rate_limit: dict[str, object] | None = None,
        fatal: bool = False,
        confirm: Literal["none_answered", "in_a_row"] | None = None,
        unreachable: bool = False,
        had_begun: bool = False,
    ) -> None:
        super().__init__(message)
        status = _number(status, int)
        self.status = status
        if retryable is None:
            retryable = unreachable or status in self.RETRYABLE_STATUS
        self.retryable = retryable and (not fatal or confirm is not None)
        self.retry_after = _number(retry_after, float)
        self.rate_limit = rate_limit
        self.fatal = fatal
        self.confirm = confirm
        self.unreachable = unreachable
        self.had_begun = had_begun


def _number(value: Any, kind: Callable[[Any], _N]) -> _N | None:
    """Return what an SDK gave as the number it stands for; None where it stands for none."""
    try:
        number = kind(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= 0 else None


class ParseError(ComponentError, ValueError):
    """A parser found nothing it may accept.

    Args:
        message: one line for the user.
        reason: "nothing_found", "ambiguous" or "invalid".
    """

    def __init__(self, message: str, *, reason: str = "invalid") -> None:
        super().__init__(message)
        self.reason = reason


class MissingJudgmentsError(ComponentError):
    """What judges gave does not suffice for a value: raised by a workflow's ``aggregate``.

    It is the judges' failure, an error like any outage of theirs, and not the metric's.
    """


class InvalidResultError(ComponentError, TypeError):
    """A component returned something that its protocol does not allow."""


class RunStoppedError(ThemisError):
    """The run stopped early, for what every case would meet or too long a pause. It can go on."""

    def __init__(self, message: str, *, run_id: str) -> None:
        super().__init__(message)
        self.run_id = run_id


class BudgetSpentError(RunStoppedError):
    """The run's budget is spent. What was finished is kept; a larger one goes on from it."""


class RunInterrupted(KeyboardInterrupt):
    """The user stopped the run; all that was finished is kept."""

    def __init__(self, message: str, *, run_id: str) -> None:
        super().__init__(message)
        self.run_id = run_id


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that looks most like ``word``, or None."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return found[0] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` or, with nothing near, ``"; known: a, b"``."""
    options = sorted(known)
    guess = nearest(word, options)
    if guess is not None:
        return f"; did you mean '{guess}'?"
    return f"; known: {', '.join(options)}" if options else ""
