"""Stores by name: from what a config says to a store that is ready.

A store is one that Themis ships, one that this process registered, or one that an installed package
declares, in this order. It checks a store's parameters against the store's own signature, so that a
typo is refused before anything runs. It keeps no store: each call makes a new one, which is its
caller's to close, or that of a caller further up (``closing``).
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias, get_type_hints

from themis.core.closing import close_in_time
from themis.core.config import StorageConfig
from themis.core.errors import DefinitionError, did_you_mean, nearest
from themis.core.protocols import RunStore
from themis.stores.memory import InMemoryRunStore
from themis.stores.sqlite import SqliteRunStore
from themis.stores.sqlite_database import JournalMode, Synchronous

StoreFactory: TypeAlias = Callable[..., RunStore]
"""A store's class, or a function that makes one."""
_Maker: TypeAlias = Callable[..., object]  # what a user's factory gives is checked, not believed
_SHIPPED: dict[str, _Maker] = {"memory": InMemoryRunStore, "sqlite": SqliteRunStore}
_registered: dict[str, _Maker] = {}


def register_store(name: str, factory: StoreFactory) -> None:
    """Make a store known by name, for ``StorageConfig(store=name)``.

    Registering a name again replaces what it stood for, except for the stores Themis ships.

    Args:
        name: what users write.
        factory: the store's class, or a function that returns one; its parameters are what
            ``StorageConfig.parameters`` may hold.

    Raises:
        DefinitionError: the name is empty or a shipped store's, or the factory cannot be called.
    """
    if not name.strip():
        raise DefinitionError(
            f"a store is registered under a name, not {name!r}", field="store", value=name
        )
    if name in _SHIPPED:
        raise DefinitionError(
            f"'{name}' is a store that Themis ships; register yours under another name",
            field="store",
            value=name,
        )
    if not callable(factory):
        raise DefinitionError(
            f"the store '{name}' needs a class or a function that makes it, not {factory!r}",
            field="store",
            value=factory,
        )
    _registered[name] = factory


def check_storage(config: StorageConfig) -> None:
    """Check that a config names a known store and its parameters, opening nothing.

    Raises:
        DefinitionError: naming what is unknown, with the nearest known name, or what is missing.
    """
    _check_parameters(config.store, _factory(config.store), config.parameters)


def open_store(config: StorageConfig) -> RunStore:
    """Return the store that a config describes, ready for use.

    Each call makes a store: one of "memory" begins empty.

    Raises:
        DefinitionError: the store or a parameter is unknown, or one is missing.
        StoreUnavailableError: it cannot be opened. StoreVersionError: a newer Themis wrote it.
    """
    factory = _factory(config.store)
    _check_parameters(config.store, factory, config.parameters)
    store = factory(**config.parameters)
    if not isinstance(store, RunStore):
        lacking = ", ".join(_lacking(store))
        raise DefinitionError(
            f"the store '{config.store}' gave {type(store).__name__}, which lacks {lacking} of a "
            "RunStore; themis.testing has a contract suite for stores",
            field="store",
            value=config.store,
        )
    close_in_time(store).initialize()
    return store


def open_existing_store(config: StorageConfig) -> RunStore | None:
    """Return the store a configuration names, or None where opening would make a new file.

    For those who only look. Raises what ``open_store`` raises.
    """
    check_storage(config)
    if config.store == "sqlite" and not Path(config.parameters["path"]).exists():
        return None
    return open_store(config)


def sqlite_store(
    path: str | os.PathLike[str],
    *,
    synchronous: Synchronous = "full",
    busy_timeout: float = 30.0,
    journal: JournalMode = "auto",
) -> SqliteRunStore:
    """Return the SQLite store of a file, opened; the file is made where there is none.

    Args:
        path: the file.
        synchronous: "full" syncs each append to disk; "normal" and "off" relax it.
        busy_timeout: seconds to wait while another process writes.
        journal: "wal" for several processes at once, "rollback" for one and network file systems;
            "auto" chooses by where the file lies.

    Raises:
        DefinitionError: an argument is not of these.
        StoreUnavailableError: it cannot be opened. StoreVersionError: a newer Themis wrote it.
    """
    store = SqliteRunStore(
        path, synchronous=synchronous, busy_timeout=busy_timeout, journal=journal
    )
    close_in_time(store).initialize()
    return store


def store_distribution(name: str) -> dict[str, str]:
    """Return name and version of the package that declares a store; empty for all other stores."""
    if name in _SHIPPED or name in _registered:
        return {}
    plugin = _plugins().find(name)
    return {} if plugin is None else {plugin.distribution: plugin.version}


def makes_stores(thing: object) -> bool:
    """Return whether something is a store's class, or a function that says it returns one."""
    if inspect.isfunction(thing):
        try:
            thing = get_type_hints(thing).get("return")
        except Exception:  # noqa: BLE001 - a hint of somebody else's may name what is not there
            return False
    return inspect.isclass(thing) and not _lacking(thing)


def _factory(name: str) -> _Maker:
    known = _SHIPPED | _registered
    if name in known:
        return known[name]
    plugin = _plugins().find(name)
    if plugin is None:
        options = [*known, *_plugins().usable_ids()]
        hint = did_you_mean(name, options if nearest(name, options) else known)
        raise DefinitionError(
            f"StorageConfig.store = '{name}': there is no such store{hint}",
            field="store",
            value=name,
        )
    factory: Any = plugin.load()
    lacking = _lacking(factory)
    if not callable(factory) or (inspect.isclass(factory) and lacking):
        raise DefinitionError(
            f"StorageConfig.store = '{name}': {plugin.target} of the package {plugin.package} is "
            f"no store: it lacks {', '.join(lacking)}",
            field="store",
            value=name,
        )
    maker: _Maker = factory
    return maker


def _plugins() -> Any:
    """The reader of what packages declare; stores and catalog stand side by side, so by name."""
    return import_module("themis.catalog.plugins")


def _check_parameters(name: str, factory: _Maker, given: dict[str, object]) -> None:
    signature = inspect.signature(factory).parameters.values()
    named = {
        parameter.name: parameter
        for parameter in signature
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature)
    for key in given:
        if key not in named and not takes_any:
            hint = did_you_mean(str(key), named) or "; it takes none"
            raise DefinitionError(
                f"StorageConfig.parameters has '{key}', which the store '{name}' does not know"
                f"{hint}",
                field=f"parameters.{key}",
                value=key,
            )
    for key, parameter in named.items():
        if parameter.default is parameter.empty and key not in given:
            raise DefinitionError(
                f"StorageConfig.parameters lacks '{key}', which the store '{name}' needs",
                field=f"parameters.{key}",
            )


def _lacking(thing: object) -> list[str]:
    """Return which methods of a store something has not."""
    methods = [name for name in vars(RunStore) if not name.startswith("_")]
    return [name for name in methods if not hasattr(thing, name)]
