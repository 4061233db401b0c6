"""Stage bundles: a run's generations, or all of its evaluation, from one store to another."""

from __future__ import annotations

from themis.core.base import RunId
from themis.core.protocols import RunStore
from themis.exchange.bundle import Bundle
from themis.exchange.incoming import bring_in
from themis.exchange.outgoing import export

__all__ = [
    "Bundle",
    "export_evaluation_bundle",
    "export_generation_bundle",
    "import_evaluation_bundle",
    "import_generation_bundle",
]


def export_generation_bundle(store: RunStore, run_id: str) -> Bundle:
    """Return a run's cases and generated candidates as a bundle.

    Raises:
        RunNotFoundError: the store has no such run. DefinitionError: nothing of it has run.
    """
    return export(store, run_id, "generation")


def export_evaluation_bundle(store: RunStore, run_id: str) -> Bundle:
    """Return a run as it stands as a bundle: cases, and the newest step of every stage.

    Raises:
        RunNotFoundError: the store has no such run. DefinitionError: nothing of it has run.
    """
    return export(store, run_id, "evaluation")


def import_generation_bundle(store: RunStore, bundle: Bundle) -> RunId:
    """Write a bundle's generations into a store, where experiments then reuse them.

    Raises:
        DefinitionError: the bundle was changed, is of another kind, or contradicts the store;
            nothing was written.
        RunOwnedError: a process is working on the run.
    """
    return bring_in(store, bundle, "generation")


def import_evaluation_bundle(store: RunStore, bundle: Bundle) -> RunId:
    """Write a bundle's run into a store, where it reports the numbers it was exported with.

    Raises:
        DefinitionError: the bundle was changed, is of another kind, or contradicts the store;
            nothing was written.
        RunOwnedError: a process is working on the run.
    """
    return bring_in(store, bundle, "evaluation")
