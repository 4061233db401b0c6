"""Hold the code to the conventions that no other tool knows: names, seams, arrows, tests.

    python .ci/conventions.py [REPOSITORY]

Each rule is a function that yields what breaks it, with the place and what to do. An exception to a
rule stands in this file, with its reason; one that is no longer needed breaks the rule as well.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

from source_tree import PACKAGE, Module, SourceTree

SAME_FILE_NAME: Mapping[str, str] = {}
"""File names that may stand more than once, each with the reason."""

SAME_CLASS_NAME: Mapping[str, str] = {}
"""Public class names that may stand more than once, each with the reason."""

SEAMS = {"Journal"}
"""Classes that others stand in for, beside the protocols, which are found by themselves."""

ARROWS: Mapping[tuple[str, str], str] = {
    ("__init__.py", "themis.*"): "the front loads a public name when it is first asked for",
    ("catalog/metrics/math.py", "themis.catalog.metrics.math_process"): (
        "it is run in a process of its own"
    ),
    ("catalog/table.py", "themis.adapters:*"): "the table of names loads one part at a time",
    ("catalog/table.py", "themis.catalog.*"): "the table of names loads one part at a time",
    ("cli/init_verb.py", "themis.cli"): "the starter project's files are read as resources",
    ("core/models.py", "themis.data.sources"): (
        "Dataset.from_jsonl and the like are public on Dataset, and core reads no file"
    ),
    ("experiment/result.py", "themis.reporting"): (
        "RunResult.report: experiment and reporting stand side by side"
    ),
    ("reporting/as_html.py", "themis.reporting"): "the page's template is read as a resource",
    ("reporting/reporter.py", "themis.reporting.*"): "a report loads the format asked for",
    ("stores/__init__.py", "themis.stores.*"): "the front loads a store when it is first asked for",
    ("stores/factory.py", "themis.catalog.plugins"): (
        "a store may be a plug-in: stores and catalog stand side by side"
    ),
    ("testing/__init__.py", "themis.testing.*"): "the front loads a part when it is asked for",
    ("testing/crash.py", "themis.execution.runner"): "loaded once, before processes are forked",
    ("testing/crash.py", "themis.experiment.experiment"): "loaded before processes are forked",
    ("testing/crash.py", "themis.testing.crash"): "it runs itself in a process of its own",
}
"""Imports by string: from which file, of what, and why no import statement does it."""

UNCOVERED: Mapping[str, str] = {}
"""Modules that no test file needs to name, each with the reason."""


def file_names_stand_once(tree: SourceTree) -> Iterator[str]:
    """No file name stands twice, but for stages, which are named alike on purpose."""
    places: dict[str, list[str]] = defaultdict(list)
    for module in tree.modules:
        if not module.is_front and "/stages/" not in module.path:
            places[module.file_name].append(f"{PACKAGE}/{module.path}:1")
    yield from _twice(places, SAME_FILE_NAME, "file name", "SAME_FILE_NAME")


def class_names_stand_once(tree: SourceTree) -> Iterator[str]:
    """No public class name stands twice."""
    places: dict[str, list[str]] = defaultdict(list)
    for module in tree.modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(module.at(node))
    yield from _twice(places, SAME_CLASS_NAME, "class name", "SAME_CLASS_NAME")


def parts_stand_in_the_docs(tree: SourceTree) -> Iterator[str]:
    """Every catalog id and every adapter's name stands in the docs that people write."""
    pages = [tree.root / "README.md", *sorted((tree.root / "docs").glob("*.md"))]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages if page.exists())
    for table in ("CATALOG", "ADAPTERS"):
        kinds = tree.constant("themis.catalog.table", table)
        assert isinstance(kinds, dict)
        for kind, ids in kinds.items():
            for name in ids:
                # An adapter goes by a plain word: it must be called, or stand as code.
                wanted = rf"`{name}`|\b{name}\(" if "/" not in name else rf"{name}(?![\w/])"
                if not re.search(wanted, text):
                    yield (
                        f"{PACKAGE}/catalog/table.py:1: the {kind} {name} stands nowhere in docs/: "
                        "write what it does and where it comes from"
                    )


def stand_ins_are_whole(tree: SourceTree) -> Iterator[str]:
    """No object is cast to a protocol: the type checker must see that it has all of its methods."""
    seams = SEAMS | {
        node.name
        for module in tree.modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base).split("[")[0].split(".")[-1] == "Protocol" for base in node.bases)
    }
    for module in tree.modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "cast":
                target = node.args[0]
                written = target.value if isinstance(target, ast.Constant) else ast.unparse(target)
                for name in re.split(r"\s*\|\s*", str(written)):
                    if name.split(".")[-1] in seams:
                        yield (
                            f"{module.at(node)}: cast to {name}: give the stand-in every method of "
                            f"{name} (subclass it where it is a class), and no cast is needed"
                        )


def arrows_by_name_are_listed(tree: SourceTree) -> Iterator[str]:
    """What is imported by a string is listed in ARROWS, for no import contract sees it."""
    unused = set(ARROWS)
    for module in tree.modules:
        for node, name in _named_modules(module, tree):
            listed = [
                arrow for arrow in ARROWS if arrow[0] == module.path and _fits(name, arrow[1])
            ]
            unused.difference_update(listed)
            if not listed:
                yield (
                    f"{module.at(node)}: names {name} by a string: import it, or list it in ARROWS "
                    "of .ci/conventions.py with the reason why no import can stand here"
                )
    if (tree.root / ".ci").exists():  # the list is this repository's
        for path, name in sorted(unused):
            yield f"{PACKAGE}/{path}:1: names no {name} any more: strike it from ARROWS"


def modules_are_covered(tree: SourceTree) -> Iterator[str]:
    """Each test file names at its head the modules that it covers; each module is named by one."""
    covered: set[str] = set()
    for path in sorted((tree.root / "tests").rglob("test_*.py")):
        where = f"{path.relative_to(tree.root).as_posix()}:1"
        names = covers(path.read_text(encoding="utf-8"))
        if not names:
            yield (
                f"{where}: names no module: end its docstring with the modules it is about, as in "
                '"Covers: themis.core.hashing, themis.core.base"'
            )
        for name in names:
            if name not in tree.by_name and not (tree.root / name).exists():
                yield f"{where}: covers {name}, which is no module and, beside the package, no file"
        covered.update(names)
    for module in tree.modules:
        if module.name not in covered and module.name not in UNCOVERED and not _is_empty(module):
            yield (
                f"{PACKAGE}/{module.path}:1: no test file covers it: name it at the head of one "
                f'that does ("Covers: {module.name}"), or write one'
            )


def covers(source: str) -> list[str]:
    """Return the modules that a test file names: after "Covers:", up to a blank line."""
    told = ast.get_docstring(ast.parse(source)) or ""
    found = re.search(r"^Covers:(.*?)(?:\n\s*\n|\Z)", told, re.MULTILINE | re.DOTALL)
    return [] if found is None else [one for one in re.split(r"[,\s]+", found[1]) if one]


def _twice(
    places: Mapping[str, list[str]], allowed: Mapping[str, str], what: str, listed: str
) -> Iterator[str]:
    for name, where in sorted(places.items()):
        if len(where) > 1 and name not in allowed:
            yield (
                f"{where[-1]}: the {what} {name} stands at {where[0]} already: name each for what "
                f"it is, or list it in {listed} of .ci/conventions.py with the reason"
            )
    for name in allowed:
        if len(places.get(name, ())) < 2:
            yield f"{PACKAGE}/:1: the {what} {name} stands once: strike it from {listed}"


def _named_modules(module: Module, tree: SourceTree) -> Iterator[tuple[ast.AST, str]]:
    """Yield each string that names a module of the package, or something in one, to load it.

    What an f-string fills in is written "*".
    """
    told = {id(text) for text in _messages(module.tree)}
    for node in ast.walk(module.tree):
        text = None
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            named = node.args[0]
            if isinstance(named, ast.JoinedStr):
                text = "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "*"
                    for part in named.values
                )
        elif isinstance(node, ast.Constant) and id(node) not in told:
            text = str(node.value)
        if text is not None and re.fullmatch(rf"{PACKAGE}(\.[\w*]+)+(:[\w.*]+)?", text):
            home = text.split(":")[0].removesuffix(".*")
            if home in tree.by_name:
                yield node, text


def _messages(tree: ast.Module) -> Iterator[ast.expr]:
    """Yield what is said to people: docstrings, f-strings, and what an extra is needed for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield from node.values
        elif isinstance(node, ast.keyword) and node.arg == "needed_for":
            yield node.value


def _fits(name: str, pattern: str) -> bool:
    if not pattern.endswith("*"):
        return name == pattern
    return name.startswith(pattern.removesuffix("*"))


def _is_empty(module: Module) -> bool:
    """Return whether a package's file only says what the package is for, and what is public."""
    return module.is_front and all(
        isinstance(node, ast.Expr | ast.Import | ast.ImportFrom)
        or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
        for node in module.tree.body
    )


RULES: tuple[Callable[[SourceTree], Iterator[str]], ...] = (
    file_names_stand_once,
    class_names_stand_once,
    parts_stand_in_the_docs,
    stand_ins_are_whole,
    arrows_by_name_are_listed,
    modules_are_covered,
)


def main() -> int:
    """Print what breaks a rule, and return 1 where anything does."""
    tree = SourceTree.named()
    broken = [line for rule in RULES for line in rule(tree)]
    print("\n".join(broken) or f"conventions: {len(RULES)} rules kept")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
