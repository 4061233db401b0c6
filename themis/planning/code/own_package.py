"""What is a user's own code: the package of a class, or the modules beside its script."""

from __future__ import annotations

import importlib.util
import sys
from contextlib import suppress
from pathlib import Path


def is_themis(module: str) -> bool:
    """Return whether a module is part of Themis, whose version stands for its code.

    The testing kit's components count as a user's.
    """
    return f"{module}.".startswith("themis.") and not f"{module}.".startswith("themis.testing.")


class Ownership:
    """Tells the user's own modules and classes from those of libraries.

    Args:
        origin: a module of the user's; what is in its package or its folder is the user's too.
    """

    def __init__(self, origin: str) -> None:
        self._package = _package_of(origin)
        self._folder = _folder_of(origin)
        self._known: dict[str, bool] = {}

    def __str__(self) -> str:
        return f"{self._package} {self._folder}"

    def has(self, cls: type) -> bool:
        """Return whether a class is the user's own."""
        return self.has_module(cls.__module__)

    def has_module(self, name: str) -> bool:
        """Return whether a module is the user's own, loaded or not."""
        if name not in self._known:
            self._known[name] = self._judged(name)
        return self._known[name]

    def _judged(self, name: str) -> bool:
        if is_themis(name):
            return False
        if _package_of(name) == self._package:
            return True
        if self._folder is None or "." in name or name in sys.stdlib_module_names:
            return False
        return _folder_of(name) == self._folder


def _package_of(module: str) -> str:
    """Top package of a module; of a script, that of the package it is run from with ``-m``."""
    if module == "__main__":
        spec = getattr(sys.modules.get(module), "__spec__", None)
        module = getattr(spec, "name", None) or module
    return module.partition(".")[0]


def _folder_of(name: str) -> Path | None:
    """Folder of a top-level module outside any package: scripts and what lies beside them."""
    module = sys.modules.get(name)
    if module is not None:
        file, package = getattr(module, "__file__", None), module.__package__
    else:
        file, package = None, ""
        with suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(name) if name and "." not in name else None
            if spec is not None and spec.has_location:
                file, package = spec.origin, spec.parent
    if file is None or package:
        return None
    folder = Path(file).resolve().parent
    return None if "site-packages" in folder.parts else folder
