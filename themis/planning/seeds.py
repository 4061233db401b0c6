"""Seeds: where they come from when the user gives none."""

from __future__ import annotations

from collections.abc import Sequence

from themis.core.hashing import digest_value


def derived_seed(case_id: str, *draw: int | str) -> int:
    """Return a seed between 0 and 2**31 - 1, fixed by the case id and the draw.

    Never by content: a corrected question keeps its seeds. Some endpoints refuse over 31 bits.
    """
    return int.from_bytes(digest_value("seed", [case_id, *draw])[:4], "big") & 0x7FFF_FFFF


def sample_seed(seeds: Sequence[int], case_id: str, sample: int) -> int:
    """Return one sample's seed: the user's, or one derived from case id and sample index."""
    return seeds[sample] if seeds else derived_seed(case_id, sample)
