"""Stores by name: typos are refused before anything is opened.

Covers: themis.stores, themis.stores.factory
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from themis.core.config import StorageConfig
from themis.core.errors import DefinitionError
from themis.core.store import RunStore
from themis.stores import (
    InMemoryRunStore,
    SqliteRunStore,
    check_storage,
    open_store,
    register_store,
    sqlite_store,
)


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("themis.stores.factory._registered", {})


def test_memory_is_a_fresh_store_each_time() -> None:
    one, two = (open_store(StorageConfig(store="memory")) for _ in range(2))
    assert isinstance(one, InMemoryRunStore)
    assert one is not two


def test_an_opened_sqlite_store_is_ready(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "runs.db"
    store = open_store(StorageConfig(store="sqlite", parameters={"path": str(path)}))
    assert isinstance(store, SqliteRunStore)
    assert path.exists()
    store.close()


def test_sqlite_store_is_ready_on_return(tmp_path: Path) -> None:
    store = sqlite_store(tmp_path / "runs.db")
    assert (tmp_path / "runs.db").exists()
    assert store.path == str(tmp_path / "runs.db")
    store.close()


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (StorageConfig(store="sqlit"), "'sqlit'.*did you mean 'sqlite'"),
        (StorageConfig(store="zzz"), "'zzz'.*known: memory, sqlite"),
        (StorageConfig(store="sqlite"), "lacks 'path'"),
        (StorageConfig(store="sqlite", parameters={"pth": "x"}), "'pth'.*did you mean 'path'"),
        (StorageConfig(store="memory", parameters={"path": "x"}), "'path'.*takes none"),
    ],
)
def test_a_wrong_config_is_refused_with_the_way_out(config: StorageConfig, says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        check_storage(config)
    with pytest.raises(DefinitionError, match=says):
        open_store(config)


@pytest.mark.parametrize(
    "parameters",
    [
        {"path": 5},
        {"path": ""},
        {"path": "a\0b"},
        {"path": ":memory:"},
        {"path": "x.db", "synchronous": "ful"},
        {"path": "x.db", "busy_timeout": "5"},
        {"path": "x.db", "busy_timeout": -1},
        {"path": "x.db", "busy_timeout": True},
    ],
)
def test_a_wrong_value_is_refused_and_makes_no_file(
    parameters: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DefinitionError):
        open_store(StorageConfig(store="sqlite", parameters=parameters))
    assert list(tmp_path.iterdir()) == []


def test_a_registered_store_is_opened_by_name_with_its_parameters() -> None:
    class Mine(InMemoryRunStore):
        def __init__(self, *, shelf: str, depth: int = 1) -> None:
            super().__init__()
            self.shelf = shelf
            self.initialized = False

        def initialize(self) -> None:
            self.initialized = True

    register_store("mine", Mine)
    store = open_store(StorageConfig(store="mine", parameters={"shelf": "top"}))
    assert isinstance(store, Mine)
    assert (store.shelf, store.initialized) == ("top", True)
    with pytest.raises(DefinitionError, match="lacks 'shelf'"):
        open_store(StorageConfig(store="mine"))


def test_a_factory_of_any_parameters_gets_them_all() -> None:
    given: dict[str, object] = {}

    def make(**parameters: object) -> RunStore:
        given.update(parameters)
        return InMemoryRunStore()

    register_store("loose", make)
    open_store(StorageConfig(store="loose", parameters={"anything": 1}))
    assert given == {"anything": 1}


def test_a_thing_that_is_no_store_is_refused_with_what_it_lacks() -> None:
    class Half:
        def initialize(self) -> None: ...

    register_store("half", Half)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match=r"Half, which lacks .*append"):
        open_store(StorageConfig(store="half"))


@pytest.mark.parametrize(("name", "factory"), [("", dict), ("memory", dict), ("x", 5)])
def test_a_bad_registration_is_refused(name: str, factory: Any) -> None:
    with pytest.raises(DefinitionError):
        register_store(name, factory)
