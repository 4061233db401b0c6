"""The page of the public API, read off the source.

Nothing is imported: the page is the same under every version of Python, whatever is installed.
"""

from __future__ import annotations

import ast
import copy
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from source_tree import PACKAGE, Function, Module, SourceTree

CORE = (
    "models",
    "config",
    "prompts",
    "protocols",
    "contexts",
    "judging",
    "store",
    "errors",
    "results",
)
BASE_OF_PARTS = "ShippedPart"
"""What the catalog's parts have in common; it has no parameters of its own."""
Kinds = Callable[[str], ast.expr | None]
"""Finds the type that a name stands for in an annotation."""
_KINDS = ("Annotated", "Literal")
WIDTH = 88
"""Characters in a line of a signature."""


@dataclass(frozen=True)
class Named:
    """A public name and what it stands for."""

    module: Module
    node: ast.ClassDef | Function | ast.Assign | ast.AnnAssign
    about: str | None
    """The docstring, or the string that stands below a constant."""


class Param(NamedTuple):
    """A field or an argument."""

    name: str
    annotation: str
    default: str
    """As it is written, as in " = 1"; empty where it must be given."""
    about: str = ""


class Source:
    """Finds what a name of a module stands for, through imports and tables of names."""

    def __init__(self, tree: SourceTree) -> None:
        self._modules = tree.by_name
        self.table = {
            name: tree.constant(f"{PACKAGE}.catalog.table", name)
            for name in ("CATALOG", "ADAPTERS")
        }
        self.homes = {
            front: tree.constant(front, "_HOMES") for front in (PACKAGE, f"{PACKAGE}.testing")
        }

    def find(self, module: str, name: str) -> Named:
        """Return what a name stands for, where it is defined."""
        if (defined := self._defined(module).get(name)) is not None:
            return defined
        if (home := self._imported(module).get(name)) is not None:
            return self.find(*home)
        raise LookupError(f"{module} has no {name}")

    @cache  # noqa: B019 - a source lives as long as the program
    def _defined(self, module: str) -> dict[str, Named]:
        return {_name(said.node): said for said in reversed([*_named(self._modules[module])])}

    @cache  # noqa: B019
    def _imported(self, module: str) -> dict[str, tuple[str, str]]:
        """Return module and name of what a module imports from others of the package."""
        return {
            alias.asname or alias.name: (node.module, alias.name)
            for node in ast.walk(self._modules[module].tree)
            if isinstance(node, ast.ImportFrom) and node.module in self._modules
            for alias in node.names
        }

    def public(self, module: str) -> list[Named]:
        """Return the public names that a module defines, in their order; constants if explained."""
        return [
            said
            for said in _named(self._modules[module])
            if not _name(said.node).startswith("_")
            and (
                said.about or isinstance(said.node, ast.ClassDef | Function) or _is_alias(said.node)
            )
        ]

    def exported(self, module: str) -> list[str]:
        """Return what a module's ``__all__`` lists."""
        return list(ast.literal_eval(_assigned(self._modules[module], "__all__")))

    def kind(self, module: str, name: str) -> ast.expr | None:
        """Return the annotated type, or the words, that a name of a module stands for."""
        try:
            node = self.find(module, name).node
        except LookupError:
            return None
        value = node.value if isinstance(node, ast.Assign) else None
        is_kind = isinstance(value, ast.Subscript) and ast.unparse(value.value) in _KINDS
        return value if is_kind else None

    def lineage(self, said: Named) -> Iterator[Named]:
        """Yield a class and those of the package that it derives from, itself first."""
        yield said
        assert isinstance(said.node, ast.ClassDef)
        for base in said.node.bases:
            try:
                one = self.find(said.module.name, ast.unparse(base).split("[")[0])
            except LookupError:
                continue
            if isinstance(one.node, ast.ClassDef):
                yield from self.lineage(one)


def _assigned(module: Module, name: str) -> ast.expr:
    for said in _named(module):
        if _name(said.node) == name and isinstance(said.node, ast.Assign):
            return said.node.value
    raise LookupError(f"{module.name} has no {name}")


def _named(module: Module) -> Iterator[Named]:
    for statements in (module.tree.body, *_branches(module.tree)):
        for node, below in zip(statements, [*statements[1:], None], strict=True):
            if isinstance(node, ast.ClassDef | Function):
                yield Named(module, node, ast.get_docstring(node))
            elif isinstance(node, ast.Assign | ast.AnnAssign) and _name(node):
                yield Named(module, node, _text(below))


def _branches(tree: ast.Module) -> Iterator[list[ast.stmt]]:
    """Yield the statements of each top-level ``if``: what only the type checker sees."""
    for node in tree.body:
        if isinstance(node, ast.If):
            yield node.body


def _is_alias(node: ast.AST) -> bool:
    """Return whether a statement names a type."""
    return isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias"


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.ClassDef | Function):
        return node.name
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return targets[0].id if len(targets) == 1 and isinstance(targets[0], ast.Name) else ""


def _text(node: ast.stmt | None) -> str | None:
    """Return the string that a statement is: what explains the name above it."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return inspect.cleandoc(str(node.value.value))
    return None


def _is_public(node: ast.AST) -> bool:
    return not _name(node).startswith("_")


def api(tree: SourceTree) -> Iterator[str]:
    """Yield the page of the public API, line by line."""
    source = Source(tree)
    yield from ("# The public API", "")
    yield "What may be imported, module by module; then what goes by an id, with its params."
    core = [f"{PACKAGE}.core.{name}" for name in CORE]
    listed = {
        front: _listed(source, front, core)
        for front in (PACKAGE, f"{PACKAGE}.adapters", *core, f"{PACKAGE}.testing")
    }
    for front, found in listed.items():
        yield from ("", f"## {front}")
        for said in found:
            if said.module.name in core and front not in core:
                stands = f"Stands under `{said.module.name}`."
                yield from ("", f"### {_name(said.node)}", "", stands)
            else:
                yield from _described(source, said)
    yield from ("", "## What else these name", "", "Types that arguments and results are made of.")
    for said in _mentioned(source, [said for found in listed.values() for said in found]):
        yield from _described(source, said)
        yield from ("", f"In `{said.module.name}`.")
    for kind, ids in source.table["CATALOG"].items():
        yield from ("", f"## {kind.capitalize()}s by id")
        for component_id, path in sorted(ids.items()):
            yield from _part(source, component_id, path)
    yield from ("", "## Adapters by name", "")
    for kind, names in source.table["ADAPTERS"].items():
        listed = ", ".join(f"`{name}`" for name in sorted(names))
        yield f"As a {kind}: {listed}; their params are the arguments under `{PACKAGE}.adapters`."


def _listed(source: Source, front: str, core: Sequence[str]) -> list[Named]:
    """Return the public names of a module."""
    homes = source.homes.get(front)
    if homes is not None:
        return [source.find(f"{front}.{home}", name) for name, home in sorted(homes.items())]
    if front in core:
        return source.public(front)
    return [source.find(front, name) for name in source.exported(front)]


def _mentioned(source: Source, known: Sequence[Named]) -> list[Named]:
    """Return what the signatures and fields of names mention and no list of names has."""
    found: dict[str, Named] = {}
    for said in known:
        shown = _shown(source, said) if isinstance(said.node, ast.ClassDef) else [said.node]
        for name in (name for node in shown for name in _names_in(node)):
            try:
                one = source.find(said.module.name, name)
            except LookupError:
                continue
            if one.about and one.module.name != f"{PACKAGE}.core.base" and one not in known:
                found.setdefault(_name(one.node), one)
    return [found[name] for name in sorted(found)]


def _names_in(node: ast.AST) -> Iterator[str]:
    """Yield the names in the annotations of a function, or of a class's public members."""
    members = node.body if isinstance(node, ast.ClassDef) else [node]
    for member in members:
        annotations: list[ast.expr | None] = []
        if isinstance(member, Function) and (_is_public(member) or member.name == "__init__"):
            told = member.args
            every = [*told.posonlyargs, *told.args, *told.kwonlyargs, told.vararg, told.kwarg]
            annotations = [member.returns, *(one.annotation for one in every if one)]
        elif isinstance(member, ast.AnnAssign) and _is_public(member):
            annotations = [member.annotation]
        for annotation in filter(None, annotations):
            yield from re.findall(r"\b[A-Z]\w+", _annotation(annotation))


def _described(source: Source, said: Named) -> Iterator[str]:
    node = said.node
    yield from ("", f"### {_name(node)}", "")
    if isinstance(node, Function):
        yield from _signature(node, node.name)
        yield from _prose(said.about)
    elif isinstance(node, ast.ClassDef):
        bases = ", ".join(one for one in map(ast.unparse, node.bases) if one[0] != "_")
        yield f"*class {node.name}{f'({bases})' if bases else ''}*"
        yield from _prose(said.about)
        initial = _method(node, "__init__")
        if initial is not None and any(_arguments(initial)):
            yield ""
            yield from _signature(initial, node.name)
        shown = _shown(source, said)
        for one in shown:
            yield from _fields(one)
        for one in shown:
            for method in one.body:
                if isinstance(method, Function) and _is_public(method):
                    yield from _public_method(method)
    else:
        yield from ("```python", f"{_name(node)} = {_annotation(node.value)}", "```")
        yield from _prose(said.about)


def _shown(source: Source, said: Named) -> list[ast.ClassDef]:
    """Return a class and its private bases, whose members are its own to a reader."""
    own, *bases = [one.node for one in source.lineage(said) if isinstance(one.node, ast.ClassDef)]
    return [own, *(base for base in bases if base.name.startswith("_"))]


def _public_method(method: Function) -> Iterator[str]:
    decorators = {ast.unparse(one).split(".")[-1] for one in method.decorator_list}
    if "overload" in decorators:
        return
    yield from ("", f"#### {method.name}", "")
    if decorators & {"property", "cached_property"}:
        yield f"`{method.name}: {_annotation(method.returns)}`"
    else:
        yield from _signature(method, method.name)
    yield from _prose(ast.get_docstring(method))


def _part(source: Source, component_id: str, path: str) -> Iterator[str]:
    said = source.find(*path.split(":"))
    yield from ("", f"### {component_id}", "", f"`{path.replace(':', '.')}`")
    yield from _prose(said.about)
    params = part_params(source, path)
    yield from ("", "Params:", "") if params else ("", "No params.")
    for one in params:
        yield from _item(f"`{one.name}: {one.annotation}{one.default}`", one.about)


def part_params(source: Source, path: str) -> list[Param]:
    """Return the params of a part: the arguments that make it, or its fields."""
    said = source.find(*path.split(":"))
    if isinstance(said.node, Function):
        return list(_arguments(said.node))
    found: dict[str, Param] = {}
    ancestors = list(source.lineage(said))
    has_fields = any(_name(one.node) in ("Model", BASE_OF_PARTS) for one in ancestors)
    for one in ancestors:
        if _name(one.node) == BASE_OF_PARTS:
            break
        initial = _method(one.node, "__init__")
        if initial is not None:
            return list(_arguments(initial))
        if has_fields:
            rows = _field_rows(one.node, lambda name, at=one: source.kind(at.module.name, name))
            found = {**{field.name: field for field in rows}, **found}
    return list(found.values())


def _method(node: ast.AST, name: str) -> Function | None:
    body = node.body if isinstance(node, ast.ClassDef) else []
    return next((one for one in body if isinstance(one, Function) and one.name == name), None)


def _fields(node: ast.ClassDef) -> Iterator[str]:
    rows = list(_field_rows(node))
    if any(ast.unparse(base).endswith("Enum") for base in node.bases):
        yield from (
            "",
            *(f"- `{ast.unparse(one)}`" for one in node.body if _name(one)[:1].isupper()),
        )
    if rows:
        yield ""
    for one in rows:
        yield from _item(f"`{one.name}: {one.annotation}{one.default}`", one.about)


def _field_rows(node: ast.AST, kind: Kinds = lambda name: None) -> Iterator[Param]:
    """Yield the public fields of a class, by the names that they are given by."""
    assert isinstance(node, ast.ClassDef)
    for one, below in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(one, ast.AnnAssign) and _is_public(one):
            annotation = _annotation(one.annotation, kind)
            if not annotation.startswith("ClassVar"):
                about = _text(below) or ""
                yield Param(_alias(one.value) or _name(one), annotation, _default(one.value), about)


class _Readable(ast.NodeTransformer):
    """Takes out of an annotation what checks it, and puts types in place of names for them."""

    def __init__(self, kind: Kinds) -> None:
        self._kind = kind

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if ast.unparse(node.value) != "Annotated":
            return self.generic_visit(node)
        assert isinstance(node.slice, ast.Tuple)
        return self.visit(node.slice.elts[0])

    def visit_Name(self, node: ast.Name) -> ast.AST:
        kind = self._kind(node.id)
        return node if kind is None else self.visit(copy.deepcopy(kind))


def _annotation(node: ast.expr | None, kind: Kinds = lambda name: None) -> str:
    """Return an annotation as one reads it: without quotes, and without what checks it."""
    if node is None:
        return "None"
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return ast.unparse(_Readable(kind).visit(copy.deepcopy(node)))


def _alias(node: ast.expr | None) -> str | None:
    """Return the name that a field is given by, where that is not its own."""
    keywords = node.keywords if isinstance(node, ast.Call) else []
    return next((ast.literal_eval(one.value) for one in keywords if one.arg == "alias"), None)


def _default(node: ast.expr | None) -> str:
    """Return what a field is where it is not given, as in `` = 1``."""
    if isinstance(node, ast.Call) and ast.unparse(node.func).lower() == "field":
        given = {one.arg: ast.unparse(one.value) for one in node.keywords}
        made = {"dict": "{}", "list": "[]", "set": "set()", "frozenset": "frozenset()"}
        factory = given.get("default_factory")
        value = given.get("default") or (factory and made.get(factory, f"{factory}()"))
        if value is None and node.args:
            value = ast.unparse(node.args[0])
        return "" if value in (None, "...") else f" = {value}"
    return "" if node is None else f" = {ast.unparse(node)}"


def _arguments(function: Function) -> Iterator[Param]:
    """Yield the arguments that may be given by name."""
    told = function.args
    defaults = [*[None] * (len(told.posonlyargs) + len(told.args)), *told.defaults]
    by_place = zip(told.args, defaults[len(defaults) - len(told.args) :], strict=True)
    for one, default in [*by_place, *zip(told.kwonlyargs, told.kw_defaults, strict=True)]:
        if one.arg not in ("self", "cls"):
            yield Param(one.arg, _annotation(one.annotation), _default(default))


def _signature(function: Function, name: str) -> Iterator[str]:
    """Yield a function's head as a block of code, an argument a line where it is long."""
    told = function.args
    listed: list[str] = []
    places = [*told.posonlyargs, *told.args]
    defaults = [*[None] * (len(places) - len(told.defaults)), *told.defaults]
    for index, (one, default) in enumerate(zip(places, defaults, strict=True), 1):
        if not (index == 1 and one.arg in ("self", "cls")):
            listed.append(_argument(one, default))
        if index == len(told.posonlyargs) and listed:
            listed.append("/")
    if told.vararg:
        listed.append(f"*{_argument(told.vararg, None)}")
    elif told.kwonlyargs:
        listed.append("*")
    listed += [
        _argument(one, default)
        for one, default in zip(told.kwonlyargs, told.kw_defaults, strict=True)
    ]
    if told.kwarg:
        listed.append(f"**{_argument(told.kwarg, None)}")
    head = "async " if isinstance(function, ast.AsyncFunctionDef) else ""
    end = "" if function.name == "__init__" else f" -> {_annotation(function.returns)}"
    line = f"{head}{name}({', '.join(listed)}){end}"
    yield "```python"
    if len(line) <= WIDTH:
        yield line
    else:
        yield from (f"{head}{name}(", *(f"    {one}," for one in listed), f"){end}")
    yield "```"


def _argument(one: ast.arg, default: ast.expr | None) -> str:
    kind = f": {_annotation(one.annotation)}" if one.annotation is not None else ""
    return f"{one.arg}{kind}{_default(default)}"


_SECTION = re.compile(r"(Args|Attributes|Returns|Yields|Raises|Example):\s*(.*)")

_LISTS = ("Args", "Attributes", "Raises")
"""Sections in which each entry has a name."""


def _prose(about: str | None) -> Iterator[str]:
    """Yield a docstring: its sections as lists, its paragraphs as they are."""
    if about is None:
        return
    yield ""
    section: str | None = None
    for line in _plain(about).splitlines():
        found = _SECTION.fullmatch(line)
        if found:
            section = found[1]
            yield f"{section}: {found[2]}".rstrip()
            if section in _LISTS and not found[2]:
                yield ""
        elif section and line.startswith("    "):
            inner = line[4:]
            starts = section in _LISTS and not inner.startswith(" ")
            entry = re.match(r"(\*{0,2}\w+(?:, \w+)*): ", inner) if starts else None
            yield f"- `{entry[1]}`: {inner[entry.end() :]}" if entry else f"  {inner.strip()}"
        else:
            section = section if not line else None
            yield line.rstrip()


def _plain(about: str) -> str:
    return about.replace("``", "`")


def _item(lead: str, about: str) -> Iterator[str]:
    first, *rest = _plain(about).splitlines() or [""]
    yield f"- {lead}{f': {first}' if first else ''}"
    yield from (f"  {line}".rstrip() for line in rest)
