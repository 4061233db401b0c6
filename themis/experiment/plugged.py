"""Which installed packages an experiment's parts come from: a fact of its provenance."""

from __future__ import annotations

from themis.catalog.registry import plugin_distributions
from themis.core.config import EvaluationConfig, GenerationConfig, StorageConfig
from themis.stores.factory import store_distribution


def plugins_of(
    generation: GenerationConfig, evaluation: EvaluationConfig, storage: StorageConfig
) -> dict[str, str]:
    """Return name and version of each package whose plug-ins an experiment names."""
    parts: list[object] = [generation.generator, generation.selector, generation.reducer]
    parts += [*evaluation.metrics, *evaluation.parsers, *evaluation.judge_models]
    return plugin_distributions(parts) | store_distribution(storage.store)
