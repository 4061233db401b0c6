"""Parts that other packages bring: what installed packages declare in one group of entry points.

A package's ``pyproject.toml`` says ``[project.entry-points."themis.components"]`` and, below it,
``"acme/echo" = "acme_pkg.parts:Echo"``. What is declared is read once, and only when an id is asked
for that Themis itself does not have; what stands behind an id is imported when that id is used. A
package cannot take a name of Themis's own: those are looked up first. Nothing here says what a part
may be used as.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

from themis.core.errors import DefinitionError, MissingExtraError, UnknownComponentError

GROUP = "themis.components"
_OWN = "builtin/"


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """One declaration of one installed package."""

    plugin_id: str
    """What users write."""
    target: str
    """The import path behind it, "pkg.module:factory"."""
    distribution: str
    """Name of the package that declares it."""
    version: str

    @property
    def package(self) -> str:
        """The package and its version, for people."""
        return f"{self.distribution} {self.version}"

    def load(self) -> Any:
        """Import what is declared.

        Raises:
            UnknownComponentError: it cannot be imported; one line that names the package.
        """
        module_name, _, attribute = self.target.partition(":")
        if not attribute:
            raise self._broken(f"'{self.target}' names no class or function: 'pkg.module:factory'")
        try:
            found: Any = import_module(module_name)
        except MissingExtraError:
            raise
        except (Exception, SystemExit) as error:  # somebody else's module may fail in any way
            said = " ".join(str(error).split())
            raise self._broken(
                f"importing '{module_name}' failed with {type(error).__name__}: {said}"
            ) from error
        for part in attribute.split("."):
            if not hasattr(found, part):
                raise self._broken(f"'{module_name}' has no '{attribute}'")
            found = getattr(found, part)
        return found

    def _broken(self, said: str) -> UnknownComponentError:
        return UnknownComponentError(
            f"'{self.plugin_id}' of the package {self.package}: {said}", component=self.plugin_id
        )


def find(plugin_id: str) -> Plugin | None:
    """Return what an id stands for; None where no installed package declares it.

    Raises:
        DefinitionError: two packages declare it, or the name is not theirs to give.
    """
    declared = _declared().get(plugin_id, ())
    if not declared:
        return None
    if (why := _refusal(declared)) is not None:
        raise DefinitionError(why, field="component", value=plugin_id)
    return declared[0]


def declared_ids() -> list[str]:
    """Return every id that installed packages declare, those to be refused included."""
    return sorted(_declared())


def usable_ids() -> list[str]:
    """Return the ids that installed packages declare and that are not to be refused."""
    return sorted(name for name, declared in _declared().items() if _refusal(declared) is None)


def _refusal(declared: tuple[Plugin, ...]) -> str | None:
    """Return why the declarations of one id are refused, in one line; None where they are not."""
    one = declared[0]
    if len(declared) > 1:
        owners = " and ".join(sorted(plugin.package for plugin in declared))
        return f"'{one.plugin_id}' is declared by {owners}; uninstall one of them"
    if one.plugin_id.startswith(_OWN):
        return (
            f"'{one.plugin_id}' is declared by {one.package}, but names that begin with {_OWN} are "
            "Themis's own; the package must choose another"
        )
    if ":" in one.plugin_id or not one.plugin_id.isprintable() or " " in one.plugin_id:
        return (
            f"{one.plugin_id!r}, declared by {one.package}, is no id: it may hold no colon and no "
            "white space"
        )
    return None


def _declared() -> Mapping[str, tuple[Plugin, ...]]:
    return _read(tuple(sys.path))


@lru_cache(maxsize=4)
def _read(path: tuple[str, ...]) -> Mapping[str, tuple[Plugin, ...]]:
    from importlib import metadata  # not cheap, and most runs name no plug-in

    del path  # what is installed depends on it
    found: dict[str, tuple[Plugin, ...]] = {}
    for entry in metadata.entry_points(group=GROUP):
        owner = entry.dist
        plugin = Plugin(
            plugin_id=entry.name,
            target=entry.value.partition("[")[0].strip(),
            distribution=owner.name if owner is not None else "an unnamed package",
            version=owner.version if owner is not None else "",
        )
        found[entry.name] = (*found.get(entry.name, ()), plugin)
    return found
