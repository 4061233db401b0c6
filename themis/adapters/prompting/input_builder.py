"""A user's function that makes the input of a request from a case: ``input_builder``.

It is given a copy of the case in normal form: what it changes there stays with it, and two cases
that share a key give it equal values.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from themis.adapters.prompting.function_fingerprint import fingerprint_function
from themis.core.base import JSONValue
from themis.core.contexts import GenerateContext
from themis.core.errors import DefinitionError
from themis.core.hashing import check_json, normal_form
from themis.core.models import Case

InputBuilder = Callable[[Case], JSONValue]
_MOST_KEPT = 1024
_JSON_FIELDS = ("input", "expected_output", "metadata")


def normal_case(case: Case) -> Case:
    """Return a copy of a case, its JSON values in normal form."""
    return case.model_copy(update={name: normal_form(getattr(case, name)) for name in _JSON_FIELDS})


def built_input(builder: Callable[[Any], JSONValue], subject: Any) -> JSONValue:
    """Return what a builder makes of a case, or of another subject, which is left as it is.

    Raises:
        DefinitionError: it returned what is no JSON value.
    """
    given = normal_case(subject) if isinstance(subject, Case) else subject
    return check_json(builder(given), "what input_builder returned")


def builder_fingerprint(
    builder: Callable[..., JSONValue] | None, declared: str | None
) -> str | None:
    """Return the fingerprint of a builder; None where there is none.

    Args:
        builder: the user's function.
        declared: the user's own text for what it does, in place of its source.

    Raises:
        DefinitionError: a text without a function, or a function whose behaviour cannot be seen.
    """
    if builder is not None:
        return fingerprint_function(builder, declared)
    if declared is not None:
        raise DefinitionError(
            "fingerprint= names what input_builder does, and there is none", field="fingerprint"
        )
    return None


def fields_read(builder: Callable[..., JSONValue] | None) -> frozenset[str]:
    """Return what of a case an adapter reads: all that a builder may, else the input only."""
    return frozenset({"input"} if builder is None else _JSON_FIELDS)


class BuiltInputs:
    """What a builder made for calls that are in flight.

    The input that was built to count a call's tokens is the input that the call then sends: a
    builder that makes something else each time would escape the budget.

    Args:
        builder: the user's function; None where inputs are taken as they are.
    """

    def __init__(self, builder: Callable[[Any], JSONValue] | None) -> None:
        self._builder = builder
        self._kept: dict[Hashable, tuple[Any, JSONValue]] = {}

    def of_case(self, case: Case, ctx: GenerateContext, *, sent: bool) -> JSONValue:
        """Return the input of a case's sample: what is built of it, or the case's own.

        Args:
            case: the case.
            ctx: the sample's context.
            sent: whether it is sent now, so that it need not be kept any longer.
        """
        call = (ctx.run_id, ctx.case_key, ctx.sample_index)
        return self.of(case, case.input, call=call, sent=sent)

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
