"""JSON Schemas, by the package ``jsonschema``; references to other documents are never fetched."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from themis.catalog.component import needs_extra
from themis.core.base import JSONValue
from themis.core.errors import DefinitionError


class Schema:
    """A JSON Schema that values are held to.

    Args:
        schema: draft 2020-12, unless its ``$schema`` names another draft.
        component_id: whose parameter it is, for the messages.

    Raises:
        DefinitionError: it is no valid schema. MissingExtraError: the package is not installed.
    """

    def __init__(self, schema: dict[str, Any], component_id: str) -> None:
        needs_extra("jsonschema", extra="schema", needed_for=f"the schema of {component_id}")
        validators: Any = import_module("jsonschema.validators")
        errors: Any = import_module("jsonschema.exceptions")
        registry: Any = import_module("referencing").Registry()
        if not isinstance(schema, dict):
            raise DefinitionError(
                f"{component_id}: schema = {schema!r}: must be a JSON Schema, as an object",
                field="schema",
                value=schema,
            )
        kind = validators.validator_for(schema, default=validators.Draft202012Validator)
        try:
            kind.check_schema(schema)
        except errors.SchemaError as error:
            raise DefinitionError(
                f"{component_id}: schema is no valid JSON Schema: {error.message} "
                f"(at {error.json_path})",
                field="schema",
                value=schema,
            ) from None
        if (why := _dangling(schema, registry, kind)) is not None:
            raise DefinitionError(
                f"{component_id}: schema cannot be applied: {why}", field="schema", value=schema
            )
        self._best = errors.best_match
        # A registry given, the package asks no network for what a schema refers to.
        self._validator = kind(schema, registry=registry)

    def complaint(self, value: JSONValue) -> str | None:
        """Return what is wrong with a value and where, or None where it meets the schema."""
        error = self._best(self._validator.iter_errors(value))
        return None if error is None else f"{error.message} (at {error.json_path})"


def _dangling(schema: dict[str, Any], registry: Any, kind: Any) -> str | None:
    """Return which reference of a schema leads nowhere, or None."""
    referencing: Any = import_module("referencing")
    unresolvable: Any = import_module("referencing.exceptions").Unresolvable
    specification = import_module("referencing.jsonschema").specification_with(
        kind.META_SCHEMA["$schema"]
    )
    root = referencing.Resource.from_contents(schema, default_specification=specification)
    base = root.id() or ""
    known = registry.with_resource(base, root).crawl()
    waiting = [(root, known.resolver(base))]
    while waiting:
        resource, resolver = waiting.pop()
        contents = resource.contents
        if isinstance(contents, dict):
            for name in ("$ref", "$dynamicRef", "$recursiveRef"):
                if isinstance(target := contents.get(name), str):
                    try:
                        resolver.lookup(target)
                    except unresolvable:
                        return f"{name} {target!r} refers to nothing in it"
        waiting += [(one, resolver.in_subresource(one)) for one in resource.subresources()]
    return None
