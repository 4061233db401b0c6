"""A user's function that makes the input of what is asked, and what it is given.

It is given a case of its own, in normal form: what it changes stays with it, and cases that share a
key give it the same. How it is fingerprinted is ``functions``' business.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from themis.core.base import JSONValue
from themis.core.hashing import check_json, normal_form
from themis.core.models import Case

InputBuilder = Callable[[Case], JSONValue]
_MOST_KEPT = 1024
_JSON_FIELDS = ("input", "expected_output", "metadata")


def normal_case(case: Case) -> Case:
    """Return a case whose JSON is in normal form and shared with nobody."""
    return case.model_copy(update={name: normal_form(getattr(case, name)) for name in _JSON_FIELDS})


def built_input(builder: Callable[[Any], JSONValue], subject: Any) -> JSONValue:
    """Return what a builder makes of a case, or of another subject, which is left as it is.

    Raises:
        DefinitionError: it returned what is no JSON value.
    """
    given = normal_case(subject) if isinstance(subject, Case) else subject
    return check_json(builder(given), "what input_builder returned")


class BuiltInputs:
    """What a builder made for calls that are in flight.

    What was built to count a call's tokens is what the call then sends: a builder that makes
    something else each time would escape the budget.

    Args:
        builder: the user's function; None where inputs are taken as they are.
    """

    def __init__(self, builder: Callable[[Any], JSONValue] | None) -> None:
        self._builder = builder
        self._kept: dict[Hashable, tuple[Any, JSONValue]] = {}

    def of(self, subject: Any, default: JSONValue, *, call: Hashable, sent: bool) -> JSONValue:
        """Return what is built of a subject; the default where nothing is.

        Args:
            subject: the case, or the judge's prompt.
            default: the input where there is no builder.
            call: what tells the call from others that are in flight.
            sent: whether it is sent now, so that it need not be kept any longer.
        """
        if self._builder is None:
            return default
        known = self._kept.pop(call, None)
        if known is not None and known[0] == subject:
            value = known[1]
        else:
            value = built_input(self._builder, subject)
        if not sent:
            self._kept[call] = (subject, value)
            if len(self._kept) > _MOST_KEPT:  # of calls that were given up before they were made
                del self._kept[next(iter(self._kept))]
        return value
