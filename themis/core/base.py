"""The base of all Themis models: frozen, strict, no unknown fields, plain error messages."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NewType, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from themis.core.errors import DefinitionError, did_you_mean
from themis.core.hashing import check_json, digest_value

RunId = NewType("RunId", str)
"""32 hex digits: the digest of a run's identity."""
DatasetId = NewType("DatasetId", str)
CaseId = NewType("CaseId", str)
CaseKey = NewType("CaseKey", str)
"""Digest of dataset id and case id: two datasets may share case ids."""
CandidateId = NewType("CandidateId", str)
ArtifactKey = NewType("ArtifactKey", str)
"""Digest of all that a step depends on."""

# Sets a frozen model's attribute, quicker than ``object.__setattr__``, which looks each name up.
_set_values, _set_given, _set_extra, _set_private = (
    BaseModel.__dict__[slot].__set__
    for slot in (
        "__dict__",
        "__pydantic_fields_set__",
        "__pydantic_extra__",
        "__pydantic_private__",
    )
)

if TYPE_CHECKING:
    JSONValue = Any
    JSONObject = dict[str, Any]
else:
    JSONValue = Annotated[Any, AfterValidator(check_json)]
    JSONObject = Annotated[dict[str, Any], AfterValidator(check_json)]


def case_key(dataset_id: str, case_id: str) -> CaseKey:
    """Return the id of a case across a run's datasets: 32 hex digits."""
    return CaseKey(digest_value("case_key", [dataset_id, case_id]).hex())


class Model(BaseModel):
    """Base of all public models: frozen, keyword-only, unknown fields refused, nothing coerced."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        arbitrary_types_allowed=True,
        defer_build=True,  # a validator is built when first needed: importing Themis stays quick
    )

    if not TYPE_CHECKING:  # the checker derives each model's own signature

        def __init__(self, **data: Any) -> None:
            try:
                super().__init__(**data)
            except ValidationError as error:
                raise _refusal(type(self), error, data) from None

    @classmethod
    def unchecked(cls, **fields: Any) -> Self:
        """Return a model of values known to be valid; every field must be given, none is checked.

        ``model_construct`` also handles defaults, aliases and extras, which takes several times as
        long; steps make many models of values that were checked before.
        """
        one = cls.__new__(cls)
        _set_values(one, fields)
        _set_given(one, set(fields))
        _set_extra(one, None)
        _set_private(one, None)
        return one

    @classmethod
    def read(cls, data: object, where: str | None = None) -> Self:
        """Build the model from plain data, as read from a file or a store.

        Raises:
            DefinitionError: naming the field (prefixed by ``where``), the value and what to do.
        """
        name = where or cls.__name__
        if not isinstance(data, dict):
            raise DefinitionError(f"{name} is {data!r}, but it must be a mapping", field=name)
        try:
            return cls(**data)
        except TypeError as error:  # a key that is not a string
            raise DefinitionError(f"{name}: {error}", field=name) from None

    def plain(self) -> dict[str, Any]:
        """Return the model as plain JSON data, fields that are None or empty left out."""
        data = self.model_dump(mode="json")
        return {key: value for key, value in data.items() if value not in (None, [], {})}


def _is_of_several_types(reports: Sequence[Any], data: Any) -> bool:
    """Return whether all of pydantic's reports are about one value that may have several types."""
    place = reports[0]["loc"][:-1]
    if len(reports) == 1 or any(one["loc"][:-1] != place for one in reports):
        return False
    for part in place:
        try:
            data = data[part]
        except (LookupError, TypeError):
            return False
    # Reports about several fields of one object are about the fields.
    return all(one["input"] is data for one in reports)


def _refusal(model: type[BaseModel], error: ValidationError, data: Any) -> DefinitionError:
    """Turn pydantic's report into one line that names the field, the value and what to do."""
    reports = error.errors(include_url=False)
    first = next((one for one in reports if one["type"] == "extra_forbidden"), reports[0])
    place = first["loc"]
    name = model.__name__
    others = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if _is_of_several_types(reports, data):
        place, others = place[:-1], ""
        said = " or ".join(str(one["msg"]).removeprefix("Input should ") for one in reports)
        first = {**first, "msg": f"Input should {said}"}
    path = ".".join(str(part) for part in place)
    if first["type"] == "extra_forbidden":
        key = str(first["loc"][-1])
        hint = did_you_mean(key, model.model_fields) if len(first["loc"]) == 1 else ""
        return DefinitionError(f"{name} has no field '{path}'{hint}{others}", field=path)
    if first["type"] == "missing":
        return DefinitionError(f"{name}.{path} is missing{others}", field=path)
    inner = first.get("ctx", {}).get("error")
    if isinstance(inner, DefinitionError):
        said = str(inner)
        if said.startswith("value"):
            said = f"{name}.{path}{said.removeprefix('value')}"
        return DefinitionError(f"{said}{others}", field=inner.field or path, value=inner.value)
    given = repr(first["input"])
    given = given if len(given) <= 60 else given[:57] + "..."
    said = str(inner) if inner is not None else first["msg"].replace("Input should", "must")
    return DefinitionError(
        f"{name}.{path} = {given}: {said}{others}", field=path, value=first["input"]
    )


def running_version() -> str:
    """Return the version of the package that is running."""
    # By name: nothing inside imports the root package.
    version: str = getattr(sys.modules.get("themis"), "__version__", "unknown")
    return version
