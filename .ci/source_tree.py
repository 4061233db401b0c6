"""The package's source as the checks see it: modules, their names and their syntax trees."""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "themis"
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One file of the package."""

    path: str
    """Within the package, as in ``core/base.py``."""
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """The name that it is imported by, as in ``themis.core.base``."""
        parts = self.path.removesuffix(".py").split("/")
        return ".".join([PACKAGE, *parts]).removesuffix(".__init__")

    @property
    def file_name(self) -> str:
        """The last part of its path."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def is_front(self) -> bool:
        """Whether it is a package's own file, or what runs a package."""
        return self.file_name in ("__init__.py", "__main__.py")

    def at(self, node: ast.AST) -> str:
        """Return where something stands, for a message."""
        return f"{PACKAGE}/{self.path}:{getattr(node, 'lineno', 1)}"


@dataclass(frozen=True)
class SourceTree:
    """A repository: the package's modules, and the folders beside it."""

    root: Path

    @classmethod
    def named(cls) -> SourceTree:
        """Return the repository named on the command line, or the one this file is part of."""
        paths = [one for one in sys.argv[1:] if not one.startswith("-")]
        return cls(Path(paths[0]) if paths else ROOT)

    @cached_property
    def modules(self) -> list[Module]:
        """Every module of the package, sorted by path."""
        package = self.root / PACKAGE
        found = []
        for path in sorted(package.rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            tree = ast.parse(text, filename=str(path))
            found.append(Module(path.relative_to(package).as_posix(), text, tree))
        return found

    @cached_property
    def by_name(self) -> dict[str, Module]:
        """The modules by the names that they are imported by."""
        return {one.name: one for one in self.modules}

    def constant(self, module: str, name: str) -> object:
        """Return the value of a module's constant that is written out, such as a table."""
        for node in self.by_name[module].tree.body:
            target = node.targets[0] if isinstance(node, ast.Assign) else None
            target = node.target if isinstance(node, ast.AnnAssign) else target
            if isinstance(target, ast.Name) and target.id == name and node.value is not None:  # type: ignore[union-attr]
                return ast.literal_eval(node.value)  # type: ignore[union-attr]
        raise LookupError(f"{module} has no constant {name}")
