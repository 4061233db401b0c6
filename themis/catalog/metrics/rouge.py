"""ROUGE, value for value as the package ``rouge-score`` (0.1.2) computes it.

That package is no longer kept and takes seconds to load, so that its rules stand here, and tests
hold them to it. Its Porter stemmer is NLTK's, which is loaded where stemming is asked for.

Source: Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries",
https://aclanthology.org/W04-1013.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from themis.catalog.component import MustBe, needs_extra
from themis.catalog.metrics.gold import TextMetric
from themis.core.models import Case, Score, ScoreError

_VARIANT = re.compile(r"rouge(?:[1-9]|L|Lsum)")
_MOST_CELLS = 20_000_000
"""The product of the lengths, in words, of two lines that rougeLsum compares: some 700 MB."""
_NO_TOKEN = re.compile(r"[^a-z0-9]+")


class Measures(NamedTuple):
    """Precision, recall and F1, each from 0 to 1."""

    precision: float
    recall: float
    fmeasure: float


class Rouge(TextMetric):
    """How much of the reference the answer holds, from 0 to 1; of several, the best by F1.

    ``details`` hold precision, recall and fmeasure. Tokens are runs of ASCII letters and digits in
    lower case, so that texts in other scripts have none and score 0.
    """

    component_id = "builtin/rouge"
    cpu_bound: ClassVar[bool] = True
    variant: Annotated[
        str, MustBe('"rouge1" to "rouge9", "rougeL" or "rougeLsum"', _VARIANT.fullmatch)
    ] = "rougeL"
    """Which ROUGE it is: "rouge1" to "rouge9" (n-grams), "rougeL" (longest common subsequence), or
    "rougeLsum" (of each line, united; sentences stand on lines of their own)."""
    stemmer: bool = False
    """Whether words of more than three letters are reduced to their stems (NLTK's Porter stemmer;
    extra "text")."""
    measure: Literal["fmeasure", "precision", "recall"] = "fmeasure"
    """Which of the three is the value."""

    def model_post_init(self, context: Any, /) -> None:
        """Refuse to be made where a package is not installed that it needs."""
        needs_extra("rapidfuzz", extra="text", needed_for=self.component_id)
        if self.stemmer:
            needs_extra("nltk", extra="text", needed_for=f"the stemmer of {self.component_id}")

    def compare(self, answer: str, accepted: list[str], case: Case) -> Score | ScoreError:
        """Return the chosen measure of the reference with the best F1, the first of equals."""
        if not accepted:
            return self.lacks_gold(case)
        best = max(
            (rouge(answer, one, self.variant, stemmer=self.stemmer) for one in accepted),
            key=lambda measures: measures.fmeasure,
        )
        return Score(
            metric_id=self.component_id,
            value=getattr(best, self.measure),
            details=dict(best._asdict()),
        )


def rouge(answer: str, reference: str, variant: str, *, stemmer: bool = False) -> Measures:
    """Return the measures of an answer against one reference.

    Args:
        answer: any text.
        reference: any text.
        variant: "rouge1" to "rouge9", "rougeL" or "rougeLsum".
        stemmer: whether words are stemmed.
    """
    if variant == "rougeLsum":
        wanted, given = (
            [tokens(line, stemmer=stemmer) for line in text.split("\n") if line]
            for text in (reference, answer)
        )
        return _summary(given, wanted)
    given_tokens, wanted_tokens = (tokens(text, stemmer=stemmer) for text in (answer, reference))
    if variant == "rougeL":
        common = _common_length(wanted_tokens, given_tokens)
        return _measures(common, len(given_tokens), len(wanted_tokens))
    n = int(variant.removeprefix("rouge"))
    given_grams, wanted_grams = (_n_grams(words, n) for words in (given_tokens, wanted_tokens))
    common = sum((given_grams & wanted_grams).values())
    return _measures(common, given_grams.total(), wanted_grams.total())


def tokens(text: str, *, stemmer: bool = False) -> list[str]:
    """Return the runs of ASCII letters and digits of a text in lower case, stemmed if asked."""
    words = _NO_TOKEN.sub(" ", text.lower()).split()
    if not stemmer:
        return words
    stem = _porter()
    return [stem(word) if len(word) > 3 else word for word in words]


@lru_cache(maxsize=1)
def _porter() -> Callable[[str], str]:
    found: Any = import_module("nltk.stem.porter").PorterStemmer().stem
    return lru_cache(maxsize=65536)(found)


def _n_grams(words: Sequence[str], n: int) -> Counter[Hashable]:
    return Counter(tuple(words[at : at + n]) for at in range(len(words) - n + 1))


def _measures(common: int, given: int, wanted: int) -> Measures:
    precision, recall = common / max(given, 1), common / max(wanted, 1)
    total = precision + recall
    return Measures(precision, recall, 2 * precision * recall / total if total > 0 else 0.0)


def _common_length(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the length of the longest common subsequence."""
    # As numbers: rapidfuzz compares words by their hashes, and a number is its own.
    numbers: dict[str, int] = {}
    coded = [[numbers.setdefault(word, len(numbers)) for word in words] for words in (one, other)]
    similarity: Any = import_module("rapidfuzz.distance.LCSseq").similarity
    return int(similarity(*coded))


def _summary(given: list[list[str]], wanted: list[list[str]]) -> Measures:
    """Return the summary-level measures: for each reference line, what any line of the answer has.

    No token counts more often than it stands in either text (section 3.2 of the source, and
    ROUGE-1.5.5 for the counting).
    """
    n_given, n_wanted = sum(map(len, given)), sum(map(len, wanted))
    if not n_given or not n_wanted:
        return Measures(0.0, 0.0, 0.0)
    left_given, left_wanted = _counts(given), _counts(wanted)
    hits = 0
    for line in wanted:
        united = set[int]().union(*(_common_places(line, other) for other in given))
        for place in sorted(united):
            word = line[place]
            if left_given[word] > 0 and left_wanted[word] > 0:
                hits += 1
                left_given[word] -= 1
                left_wanted[word] -= 1
    return _measures(hits, n_given, n_wanted)


def _counts(lines: Iterable[Sequence[str]]) -> Counter[str]:
    return Counter(word for line in lines for word in line)


def _common_places(reference: Sequence[str], other: Sequence[str]) -> list[int]:
    """Return where in the reference one longest common subsequence stands.

    Of several the reference implementation's: walked back from the ends, a word of the answer is
    given up only where that loses nothing and giving up one of the reference's would.

    Raises:
        MemoryError: the two lines are longer than a table of both may be.
    """
    if len(reference) * len(other) > _MOST_CELLS:
        raise MemoryError(f"lines of {len(reference)} and {len(other)} words are too long together")
    rows = [[0] * (len(other) + 1)]
    for word in reference:
        above = rows[-1]
        row = [0]
        for at, candidate in enumerate(other):
            row.append(above[at] + 1 if word == candidate else max(above[at + 1], row[at]))
        rows.append(row)
    places: list[int] = []
    i, j = len(reference), len(other)
    while i > 0 and j > 0:
        if reference[i - 1] == other[j - 1]:
            places.append(i - 1)
            i -= 1
            j -= 1
        elif rows[i][j - 1] > rows[i - 1][j]:
            j -= 1
        else:
            i -= 1
    return places
