"""A request's body as the user writes it: JSON in which texts are sandboxed Jinja templates.

A text that is one expression and nothing else, ``{{ messages }}``, becomes that value, whatever its
type; in any other text values that are no text are written as JSON. What is filled in comes in
normal form, keys sorted. The body itself may hold a schema, whose order tells a model something:
what is nested in it keeps its order. Names are checked when the template is made. It renders and
knows nothing of endpoints; a key named like a secret is for the one who sends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from themis.adapters.http.target import has_template
from themis.core.base import JSONValue
from themis.core.errors import DefinitionError, did_you_mean
from themis.core.hashing import check_json, normal_form, normalise
from themis.core.prompts import as_text

CASE_FIELDS = ("case_id", "input", "expected_output", "metadata")
_READS = frozenset(CASE_FIELDS[1:])

_Render = Callable[[Mapping[str, Any]], Any]


class _Environment(ImmutableSandboxedEnvironment):
    """Data before methods: ``input.items`` is the field of that name, where there is one."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


def _written(value: Any) -> Any:
    is_text = value is not None and not isinstance(value, (bool, dict, list))
    return value if is_text else as_text(_listed(value))


def _listed(value: Any) -> Any:
    """Return data with lists for the tuples that Jinja's filters make."""
    if isinstance(value, (list, tuple)):
        return [_listed(item) for item in value]
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return value


_ENVIRONMENT = _Environment(
    undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False, finalize=_written
)


class BodyTemplate:
    """A body to be filled for each sample.

    Args:
        body: any JSON value.
        names: what its templates may name; ``case`` besides, with its fields.

    Raises:
        DefinitionError: it is no JSON value, a template is no template, or names what is not there.
    """

    def __init__(self, body: JSONValue, names: tuple[str, ...]) -> None:
        self.source = _arranged(check_json(body, "body"))
        self.names: set[str] = set()
        """What its templates name."""
        self.reads: set[str] = set()
        """Fields of the case that they read as ``case.field``."""
        self._known = names
        self._fill = self._compiled(self.source, "body")

    def fill(self, values: Mapping[str, Any]) -> JSONValue:
        """Return the body for these values.

        Raises:
            DefinitionError: a template names what these values lack, or gives what is not JSON.
        """
        return self._fill(values)

    def _compiled(self, value: JSONValue, where: str) -> _Render:
        if isinstance(value, str):
            return self._text(value, where)
        if isinstance(value, list):
            items = [self._compiled(item, f"{where}[{at}]") for at, item in enumerate(value)]
            return lambda values: [item(values) for item in items]
        if isinstance(value, dict):
            parts = {key: self._compiled(item, f"{where}.{key}") for key, item in value.items()}
            return lambda values: {key: part(values) for key, part in parts.items()}
        return lambda values: value

    def _text(self, source: str, where: str) -> _Render:
        if not has_template(source):
            return lambda values: source
        try:
            tree = _ENVIRONMENT.parse(source)
            self._check(tree, where)
            if _is_expression(source):
                inner = source.strip()[2:-2].removeprefix("-").removesuffix("-")
                evaluate = _ENVIRONMENT.compile_expression(inner, undefined_to_none=False)
                return lambda values: _value(evaluate(**values), where)
            template = _ENVIRONMENT.from_string(source)
        except TemplateSyntaxError as error:
            raise _refusal(f"{where} line {error.lineno}: {error.message}") from None
        return template.render

    def _check(self, tree: nodes.Template, where: str) -> None:
        named = meta.find_undeclared_variables(tree) - _ENVIRONMENT.globals.keys()
        for name in sorted(named):
            if name not in self._known and name != "case":
                options = [*self._known, *(f"case.{field}" for field in CASE_FIELDS)]
                raise _refusal(f"{where} names '{name}'{did_you_mean(name, options)}")
        self.names |= named
        if "case" in named:
            self.reads |= _case_reads(tree, where)


def filled(template: BodyTemplate, values: Mapping[str, Any]) -> JSONValue:
    """Return a template's body for these values.

    Raises:
        DefinitionError: it cannot be filled, in one line.
    """
    try:
        return template.fill(values)
    except DefinitionError:
        raise
    except Exception as error:  # noqa: BLE001 - a template may fail in any way, such as 1 / 0
        said = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
        raise _refusal(f"body cannot be filled: {said}") from None


def _arranged(body: JSONValue) -> JSONValue:
    """Return a body as it is sent and identified: numbers normalised, its own fields sorted."""
    found: JSONValue = normalise(body)
    return dict(sorted(found.items())) if isinstance(found, dict) else found


def _is_expression(source: str) -> bool:
    text = source.strip()
    if not (text.startswith("{{") and text.endswith("}}")):
        return False
    body = _ENVIRONMENT.parse(text).body
    if len(body) != 1 or not isinstance(body[0], nodes.Output):
        return False
    parts = body[0].nodes
    return len(parts) == 1 and not isinstance(parts[0], nodes.TemplateData)


def _value(value: Any, where: str) -> JSONValue:
    if isinstance(value, StrictUndefined):
        str(value)  # raises, with what is undefined
    return normal_form(check_json(value, where))


def _case_reads(tree: nodes.Template, where: str) -> set[str]:
    """Return the fields that a template reads of ``case``; all, where it takes the whole."""
    found: set[str] = set()
    direct = 0
    members: list[nodes.Getattr | nodes.Getitem] = [
        *tree.find_all(nodes.Getattr),
        *tree.find_all(nodes.Getitem),
    ]
    for node in members:
        if not isinstance(node.node, nodes.Name) or node.node.name != "case":
            continue
        if isinstance(node, nodes.Getattr):
            field = node.attr
        elif isinstance(node.arg, nodes.Const):
            field = str(node.arg.value)
        else:
            continue
        direct += 1
        if field not in CASE_FIELDS:
            raise _refusal(f"{where}: a case has no '{field}'{did_you_mean(field, CASE_FIELDS)}")
        found.add(field)
    named = sum(node.name == "case" for node in tree.find_all(nodes.Name))
    return set(_READS) if named > direct else found & _READS


def _refusal(said: str) -> DefinitionError:
    return DefinitionError(said, field="body")
