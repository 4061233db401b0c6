"""What a small real model said when it was asked for verdicts: as labelled, and as Themis reads it.

The replies are those of SmolLM2-135M-Instruct, asked in eighteen ways. Each was labelled by reading
before the reader was tuned on the one half; the other half was held out. A label is what the reply
plainly gives as its verdict, "none" where it gives none. A model as weak as this mostly gives none.

    python -m tests.catalog.judged.test_verdicts_of_a_real_model      prints both tables

Covers: themis.catalog.judged.scales, themis.catalog.judged.verdict_text
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from themis.catalog.judged.scales import Scale
from themis.core.errors import ParseError

DATA = Path(__file__).parents[2] / "data" / "verdicts"
HALVES = ("tuning", "held_out")
PAIRS = {"A": 1.0, "B": 0.0, "tie": 0.5}


def replies(half: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / f"{half}.jsonl").read_text().splitlines()]


def read(reply: dict[str, Any]) -> str:
    """Return the verdict that Themis reads, as a label: "none" where it reads none."""
    scale = Scale.of(PAIRS if reply["scale"] == "A|B|TIE" else reply["scale"])
    try:
        value = scale.read(reply["reply"]).value
    except ParseError:
        return "none"
    return value if isinstance(value, str) else f"{value:g}"


def confusion(half: str) -> Counter[tuple[str, str]]:
    """Return how often each label was read as what."""
    return Counter((reply["label"], read(reply)) for reply in replies(half))


def as_table(counts: Counter[tuple[str, str]]) -> str:
    names = sorted(
        {name for pair in counts for name in pair}, key=lambda name: (name == "none", name)
    )
    lines = ["labelled \\ read as" + "".join(f"{name:>6}" for name in names)]
    for label in names:
        row = "".join(f"{counts[label, said]:6}" for said in names)
        lines.append(f"{label:>18}{row}")
    return "\n".join(lines)


@pytest.mark.parametrize("half", HALVES)
def test_no_reply_is_read_as_another_verdict_than_its_label(half: str) -> None:
    counts = confusion(half)
    wrong = {pair: n for pair, n in counts.items() if pair[1] not in ("none", pair[0])}
    assert not wrong, as_table(counts)


@pytest.mark.parametrize("half", HALVES)
def test_most_verdicts_that_are_given_are_read(half: str) -> None:
    counts = confusion(half)
    given = sum(n for (label, _), n in counts.items() if label != "none")
    found = sum(n for (label, said), n in counts.items() if label == said != "none")
    assert given >= 40
    assert found / given >= 0.85, as_table(counts)


def test_three_hundred_replies_are_halved_by_prompt() -> None:
    prompts = {half: {reply["prompt"] for reply in replies(half)} for half in HALVES}
    assert sum(len(replies(half)) for half in HALVES) >= 300
    assert not prompts["tuning"] & prompts["held_out"]


if __name__ == "__main__":
    for each in HALVES:
        print(each)
        print(as_table(confusion(each)))
