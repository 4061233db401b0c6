"""Stage bundles: a run up to a stage, from one store to another.

A bundle of a stage holds the run's cases and the newest state of each step up to that stage,
failures included. A store that imports it reuses these steps and can continue with the next stage.
``run_id`` may name an attempt, as in ``RUN@n``.
"""

from __future__ import annotations

from themis.core.base import RunId
from themis.core.store import RunStore
from themis.exchange.bundle import Bundle
from themis.exchange.incoming import bring_in
from themis.exchange.outgoing import export

__all__ = [
    "Bundle",
    "export_evaluation_bundle",
    "export_generation_bundle",
    "export_parse_bundle",
    "export_reduction_bundle",
    "export_score_bundle",
    "import_evaluation_bundle",
    "import_generation_bundle",
    "import_parse_bundle",
    "import_reduction_bundle",
    "import_score_bundle",
]


def export_generation_bundle(store: RunStore, run_id: str) -> Bundle:
    """Return a run's cases and generated candidates as a bundle.

    Raises:
        RunNotFoundError: the store has no such run. DefinitionError: nothing of it has run.
    """
    return export(store, run_id, "generation")


def export_reduction_bundle(store: RunStore, run_id: str) -> Bundle:
    """Return a run up to its selections and reductions, and the parsed values that these use.

    Raises:
        RunNotFoundError: the store has no such run. DefinitionError: nothing of it has run.
    """
    return export(store, run_id, "reduction")


def export_parse_bundle(store: RunStore, run_id: str) -> Bundle:
    """Return a run up to its parsed values as a bundle.

    Raises:
        RunNotFoundError: the store has no such run. DefinitionError: nothing of it has run.
    """
    return export(store, run_id, "parse")


def export_score_bundle(store: RunStore, run_id: str) -> Bundle:
    """Return a run up to the scores that need no judge as a bundle.

    Raises:
        RunNotFoundError: the store has no such run. DefinitionError: nothing of it has run.
    """
    return export(store, run_id, "score")


def export_evaluation_bundle(store: RunStore, run_id: str) -> Bundle:
    """Return a whole run as a bundle: its cases, and the newest state of each step.

    Raises:
        RunNotFoundError: the store has no such run. DefinitionError: nothing of it has run.
    """
    return export(store, run_id, "evaluation")


def import_generation_bundle(store: RunStore, bundle: Bundle) -> RunId:
    """Write a bundle's generations into a store, where experiments reuse them.

    Raises:
        DefinitionError: the bundle was changed, is of another kind, or contradicts the store;
            nothing was written.
        RunOwnedError: a process is working on the run.
    """
    return bring_in(store, bundle, "generation")


def import_reduction_bundle(store: RunStore, bundle: Bundle) -> RunId:
    """Import a run up to its reductions; errors as for ``import_generation_bundle``."""
    return bring_in(store, bundle, "reduction")


def import_parse_bundle(store: RunStore, bundle: Bundle) -> RunId:
    """Import a run up to its parsed values; errors as for ``import_generation_bundle``."""
    return bring_in(store, bundle, "parse")


def import_score_bundle(store: RunStore, bundle: Bundle) -> RunId:
    """Import a run up to its scores; errors as for ``import_generation_bundle``."""
    return bring_in(store, bundle, "score")


def import_evaluation_bundle(store: RunStore, bundle: Bundle) -> RunId:
    """Write a bundle's run into a store, where it has the same scores as when it was exported.

    Raises:
        DefinitionError: the bundle was changed, is of another kind, or contradicts the store;
            nothing was written.
        RunOwnedError: a process is working on the run.
    """
    return bring_in(store, bundle, "evaluation")
