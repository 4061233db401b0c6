"""Scores agree with the references after a run, a store and another process.

A moderate number of pairs; ``python -m benchmarks.agreement`` takes thousands of them.

Covers: themis.catalog.metrics, themis.catalog.metrics.match, themis.catalog.metrics.math,
themis.catalog.metrics.overlap, themis.catalog.metrics.rouge, themis.catalog.metrics.squad,
themis.catalog.metrics.translation
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.agreement import agree, compare, math_references, text_references
from tests.support.pairs import math_pairs, text_pairs


@pytest.mark.parametrize("family", ["text", "math"])
def test_what_another_process_reads_is_what_the_references_give(
    family: str, tmp_path: Path
) -> None:
    if family == "text":
        pairs, references = text_pairs(100, seed=21), text_references()
    else:
        pairs, references = math_pairs(50, seed=22), math_references()
    for outcome in compare(pairs, references, tmp_path):
        assert outcome.compared == len(pairs)
        assert outcome.differing == []
        assert agree(outcome)
