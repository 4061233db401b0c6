"""What the parts of the catalog have in common: they behave as their version and params say.

That is what lets an answer of one be reused in another run. A part whose behaviour depends on
anything else has no place in the catalog.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import ErrorDetails, core_schema

from themis.core.errors import DefinitionError, MissingExtraError, did_you_mean, nearest
from themis.core.hashing import digest_value, text


def params_fingerprint(**params: Any) -> str:
    """Return a digest text over a component's parameters, as canonical JSON."""
    return text(digest_value("params", params))


def needs_extra(module: str, *, extra: str, needed_for: str) -> None:
    """Check that an optional package is there, without importing it.

    Raises:
        MissingExtraError: it is not; the message names the extra.
    """
    if find_spec(module) is None:
        raise MissingExtraError(extra=extra, needed_for=needed_for)


@dataclass(frozen=True, slots=True)
class MustBe:
    """What a parameter must be, in words, and the check of it; stands in ``Annotated``.

    The parameter's type is checked first. What either refuses is refused with these words.
    """

    words: str
    """What follows "must be" in the message, such as "a number from 0 to 1"."""
    check: Callable[[Any], object] = lambda value: True
    """Whether a value of the type will do; it may raise a ``ValueError`` with words of its own."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Return the type's schema with the check around it."""
        return core_schema.no_info_wrap_validator_function(self._checked, handler(source))

    def _checked(self, value: Any, of_type: Callable[[Any], Any]) -> Any:
        try:
            typed = of_type(value)
        except ValidationError as error:
            # An item of a list may have been refused in words of its own, which are closer.
            if "error" in error.errors()[0].get("ctx", {}):
                raise
            raise ValueError(self.words) from None
        if not self.check(typed):
            raise ValueError(self.words)
        return typed


def at_least(least: int) -> MustBe:
    """Return the rule for an integer that must not be less than another."""
    return MustBe(f"an integer of at least {least}", lambda number: number >= least)


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"a regular expression ({error})") from None
    return bool(pattern.strip())


def _all_differ(names: Sequence[str]) -> bool:
    return 0 < len(names) == len(set(names))


# Types of parameters that several parts have.
Count = Annotated[int, at_least(1)]
CountFromZero = Annotated[int, at_least(0)]
Share = Annotated[float, MustBe("a number from 0 to 1", lambda number: 0 <= number <= 1)]
Amount = Annotated[float, MustBe("a number of at least 0", lambda number: number >= 0)]
Pattern = Annotated[str, MustBe("a regular expression", _compiles)]
Patterns = Annotated[list[Pattern], MustBe("a list of regular expressions")]
Names = Annotated[
    list[str],
    BeforeValidator(lambda names: list(names) if isinstance(names, tuple) else names),
    MustBe("a list of different names", _all_differ),
]


LONG_ANSWER = 10_000
"""Characters up to which what takes time in proportion to an answer's length may hold up a run."""


class ShippedPart(BaseModel):
    """Base of the catalog's parts: the parameters of a part are its fields.

    What all parts of a class share is a class variable (``component_id``, ``kind``, ``reads``), and
    what depends on the parameters is a property, cached where a case would wait for it. A check of
    parameters against each other stands in ``model_post_init`` and raises what ``refuse`` returns.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        arbitrary_types_allowed=True,
    )
    component_id: ClassVar[str]
    version: ClassVar[str] = "1"

    if not TYPE_CHECKING:  # the checker derives each part's own signature

        def __init__(self, **params: Any) -> None:
            try:
                super().__init__(**params)
            except ValidationError as error:
                raise self._refusal(error.errors(include_url=False)[0]) from None

    def __reduce__(self) -> tuple[Any, ...]:
        """A part is its parameters: in a worker process it is made of them anew."""
        fields = type(self).model_fields.items()
        return _made, (type(self), {one.alias or name: getattr(self, name) for name, one in fields})

    @property
    def fingerprinted(self) -> dict[str, Any]:
        """The parameters that the fingerprint covers, by name, defaults included."""
        return {
            field.alias or name: getattr(self, name)
            for name, field in type(self).model_fields.items()
            if not field.exclude
        }

    def fingerprint(self) -> str:
        """Return the digest of the parameters; with the version, they say all there is."""
        return params_fingerprint(**self.fingerprinted)

    @classmethod
    def refuse(cls, name: str, value: object, wanted: str) -> DefinitionError:
        """Return the error that says what a parameter must be."""
        return DefinitionError(
            f"{cls.component_id}: {name} = {value!r}: must be {wanted}", field=name, value=value
        )

    @classmethod
    def _refusal(cls, report: ErrorDetails) -> DefinitionError:
        """Return the error for what pydantic reports of a parameter."""
        inner = report.get("ctx", {}).get("error")
        if isinstance(inner, DefinitionError):
            return inner
        name, value = str(report["loc"][0]), report["input"]
        fields = {field.alias or name: field for name, field in cls.model_fields.items()}
        if report["type"] == "extra_forbidden":
            return unknown_param(cls.component_id, name, fields)
        if report["type"] == "missing":
            return missing_param(cls.component_id, name)
        if inner is not None:
            return cls.refuse(name, value, str(inner))
        if report["type"] == "bool_type":
            return cls.refuse(name, value, "true or false")
        known = _words_of(fields[name].annotation)
        if known:
            guess = nearest(value, known) if isinstance(value, str) else None
            wanted = " or ".join(f'"{word}"' for word in known)
            return cls.refuse(name, value, wanted + (f"; did you mean '{guess}'?" if guess else ""))
        return cls.refuse(name, value, report["msg"].removeprefix("Input should be "))


def _made(kind: type[ShippedPart], params: dict[str, Any]) -> ShippedPart:
    return kind(**params)


def unknown_param(component_id: str, name: str, known: Collection[str]) -> DefinitionError:
    """Return the error that says that a component has no such parameter."""
    hint = did_you_mean(name, known) if known else "; it takes none"
    return DefinitionError(f"{component_id} has no param '{name}'{hint}", field=name)


def missing_param(component_id: str, name: str) -> DefinitionError:
    """Return the error that says that a component needs a parameter."""
    return DefinitionError(
        f"{component_id} needs the param '{name}': use(\"{component_id}\", {name}=...)", field=name
    )


def _words_of(annotation: object) -> list[str]:
    """Return the words of a ``Literal``, also of one that may be None."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [word for part in get_args(annotation) for word in _words_of(part)]
