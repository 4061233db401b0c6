"""Opening stores by name, as a ``StorageConfig`` gives it.

A name is looked up among the stores that Themis ships, those that this process registered, and
those that installed packages declare, in this order. Parameters are checked against the store's own
signature, so that a typo is refused before anything runs. Each call makes a new store, which the
caller closes, or ``closing_stores`` further up.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias, get_type_hints

from themis.core.config import StorageConfig
from themis.core.errors import DefinitionError, did_you_mean, nearest
from themis.core.store import RunStore
from themis.stores.closing import close_in_time
from themis.stores.memory import InMemoryRunStore
from themis.stores.sqlite import SqliteRunStore
from themis.stores.sqlite_database import JournalMode, Synchronous

StoreFactory: TypeAlias = Callable[..., RunStore]
"""A store's class, or a function that makes one."""
_Maker: TypeAlias = Callable[..., object]  # a user's factory may return anything
_SHIPPED: dict[str, _Maker] = {"memory": InMemoryRunStore, "sqlite": SqliteRunStore}
_registered: dict[str, _Maker] = {}


def register_store(name: str, factory: StoreFactory) -> None:
    """Register a store under a name, for ``StorageConfig(store=name)``.

    Registering a name again replaces the earlier store; shipped stores cannot be replaced.

    Args:
        name: the store's name in configs.
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
    """Check that a config names a known store and valid parameters, without opening it.

    Raises:
        DefinitionError: naming the unknown name, with the nearest known one, or what is missing.
    """
    _check_parameters(config.store, _factory(config.store), config.parameters)


def open_store(config: StorageConfig) -> RunStore:
    """Return the store that a config describes, ready for use.

    Each call makes a store: a "memory" store begins empty.

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
    """Return the store of a config, or None if its file does not exist and would be created.

    For reading only. Raises the same errors as ``open_store``.
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
    """Open the SQLite store in a file; the file is made if there is none.

    Args:
        path: the file.
        synchronous: "full" syncs each append to disk; "normal" and "off" relax it.
        busy_timeout: seconds to wait while another process writes.
        journal: "wal" for several processes at once, "rollback" for one and network file systems;
            "auto" uses "rollback" on a network file system, else "wal".

    Raises:
        DefinitionError: an argument has another value.
        StoreUnavailableError: it cannot be opened. StoreVersionError: a newer Themis wrote it.
    """
    store = SqliteRunStore(
        path, synchronous=synchronous, busy_timeout=busy_timeout, journal=journal
    )
    close_in_time(store).initialize()
    return store


def store_distribution(name: str) -> dict[str, str]:
    """Return the name and version of the package that declares a store, else an empty dict."""
    if name in _SHIPPED or name in _registered:
        return {}
    plugin = _plugins().find(name)
    return {} if plugin is None else {plugin.distribution: plugin.version}


def makes_stores(thing: object) -> bool:
    """Return whether an object is a store class, or a function annotated to return a store."""
    if inspect.isfunction(thing):
        try:
            thing = get_type_hints(thing).get("return")
        except Exception:  # noqa: BLE001 - a type hint may name something that does not exist
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
    """Return the module of plug-ins, imported by name: stores must not depend on the catalog."""
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
    """Return the methods of ``RunStore`` that an object lacks."""
    methods = [name for name in vars(RunStore) if not name.startswith("_")]
    return [name for name in methods if not hasattr(thing, name)]
