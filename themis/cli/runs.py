"""Finding a stored run by the name given on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from themis.core.base import RunId
    from themis.core.store import RunStore
    from themis.stores.sqlite import SqliteRunStore

RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN_ID", help="A run id, its beginning, or 'latest'; @n shows its attempt n."
    ),
]
StorePath = Annotated[
    Path | None,
    typer.Option(
        "--store", help="The SQLite file that has the run.", show_default=".themis/runs.db"
    ),
]
TargetPath = Annotated[
    Path | None,
    typer.Option(
        "--store",
        help="The SQLite file to write to; made where it is missing.",
        show_default=".themis/runs.db",
    ),
]


def default_store() -> Path:
    """Return the path of the default store."""
    from themis.experiment.evaluate import DEFAULT_PATH

    return DEFAULT_PATH


def opened(path: Path | None) -> SqliteRunStore:
    """Return the store in an existing file.

    Args:
        path: the file; by default the one that ``evaluate`` uses.

    Raises:
        StoreUnavailableError: there is no such file.
    """
    from themis.core.errors import StoreUnavailableError
    from themis.stores.factory import sqlite_store

    path = path or default_store()
    if not path.exists() or not (path.is_file() or path.is_dir()):  # of a folder the store tells
        raise StoreUnavailableError(f"there is no store '{path}'; name the file with --store")
    return sqlite_store(path)


def find_shown(store: RunStore, name: str) -> str:
    """Return the full name of a run to be shown: ``RUN`` or ``RUN@n``.

    Raises:
        RunNotFoundError: no run id begins with the name.
        DefinitionError: several do, the name is empty, or the part after ``@`` is no number.
    """
    from themis.views.attempts import MARK, split_name

    run, attempt = split_name(name)
    found = find_run(store, run)
    return found if attempt is None else f"{found}{MARK}{attempt}"


def find_run(store: RunStore, name: str) -> RunId:
    """Return the id of the run that a name stands for.

    Raises:
        RunNotFoundError: no run id begins with the name.
        DefinitionError: several do, the name is empty, or it names an attempt.
    """
    from themis.core.errors import DefinitionError, RunNotFoundError, nearest
    from themis.views.attempts import split_name

    if split_name(name)[1] is not None:
        raise DefinitionError(
            f"'{name}' names an attempt, which can only be looked at; name the run",
            field="run_id",
            value=name,
        )
    if not name.strip():
        raise DefinitionError(
            "the run id is empty: give an id, its beginning, or 'latest'", field="run_id"
        )
    ids = [record.run_id for record in store.runs()]
    if name == "latest" and ids:
        return ids[-1]
    found = [run_id for run_id in ids if run_id.startswith(name)]
    if len(found) > 1:
        shown = ", ".join(found[:3])
        raise DefinitionError(
            f"'{name}' is the beginning of {len(found)} run ids ({shown}, ...); give more of it",
            field="run_id",
            value=name,
        )
    if not found:
        raise RunNotFoundError(name, nearest=nearest(name, ids))
    return found[0]
