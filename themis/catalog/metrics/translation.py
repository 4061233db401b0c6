"""BLEU, chrF and TER, sentence by sentence and over the corpus, as sacreBLEU computes them.

Every value is sacreBLEU's own, bit for bit (Post 2018, "A Call for Clarity in Reporting BLEU
Scores", https://aclanthology.org/W18-6319). A score's details hold two keys: ``statistics``, the
case's sufficient statistics as a list of numbers in sacreBLEU's own order, whose sums over cases
give the corpus's score (``aggregate``); and ``signature``, which says how the score was made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from typing import Any, ClassVar, Literal

from themis.catalog.component import Amount, Count, CountFromZero, needs_extra
from themis.catalog.metrics.gold import TextMetric
from themis.core.models import Case, Score, ScoreError


class _SacreBleu(TextMetric):
    """One of sacreBLEU's metrics; several right answers are its several references."""

    value_range: ClassVar[tuple[float, float] | None] = (0.0, 100.0)
    additive: ClassVar[bool] = True
    scores_empty: ClassVar[bool] = True  # an empty segment counts in a corpus
    in_sacrebleu: ClassVar[str]
    """The name of sacreBLEU's metric."""

    def model_post_init(self, context: Any, /) -> None:
        """Refuse to be made where sacreBLEU is not installed."""
        needs_extra("sacrebleu", extra="text", needed_for=self.component_id)

    def reference(self) -> Any:
        """Return sacreBLEU's own metric; a new one, since it keeps state between sentences."""
        return getattr(import_module("sacrebleu.metrics"), self.in_sacrebleu)(**self.fingerprinted)

    def compare(self, answer: str, accepted: list[str], case: Case) -> Score | ScoreError:
        """Return sacreBLEU's sentence score."""
        if not accepted:
            return self.lacks_gold(case)
        metric = self.reference()
        # What sentence_score() does, with the statistics kept, which it does not return.
        (statistics,) = metric._extract_corpus_statistics([answer], [[one] for one in accepted])  # noqa: SLF001
        value = float(metric._aggregate_and_compute([statistics]).score)  # noqa: SLF001
        return Score(
            metric_id=self.component_id,
            value=value,
            details={"statistics": statistics, "signature": str(metric.get_signature())},
        )

    def aggregate(self, statistics: Sequence[Sequence[float]]) -> float:
        """Return sacreBLEU's corpus score, as its ``corpus_score`` gives it of the same texts."""
        metric = self._corpus_reference()
        return float(metric._aggregate_and_compute([list(row) for row in statistics]).score)  # noqa: SLF001

    @property
    def corpus_signature(self) -> str:
        """SacreBLEU's signature of the corpus score, but for the numbers of references."""
        metric = self._corpus_reference()
        metric.num_refs = -1  # sacreBLEU's word for "it varies"
        return str(metric.get_signature()).replace("nrefs:var|", "")

    def _corpus_reference(self) -> Any:
        return self.reference()


class Bleu(_SacreBleu):
    """Sentence BLEU, from 0 to 100: modified n-gram precision with a brevity penalty.

    The statistics are [length of the answer, length of the closest reference, matched n-grams of
    each order, n-grams of each order].

    Source: Papineni et al. 2002, https://aclanthology.org/P02-1040.
    """

    component_id = "builtin/bleu"
    in_sacrebleu = "BLEU"
    tokenize: Literal["13a", "intl", "zh", "char", "none"] = "13a"
    """The tokenizer; "13a" is that of mteval-v13a. Those that load models or dictionaries are not
    offered."""
    lowercase: bool = False
    """Whether both are put in lower case."""
    smooth_method: Literal["exp", "floor", "add-k", "none"] = "exp"
    """How n-grams without a match are smoothed (Chen and Cherry 2014,
    https://aclanthology.org/W14-3346)."""
    smooth_value: Amount | None = None
    """The value of "floor" (0.1 by default) and "add-k" (1 by default)."""
    max_ngram_order: Count = 4
    """The length of the longest n-grams."""
    effective_order: bool = True
    """Whether orders are left out that a short sentence does not have, as sacreBLEU's
    ``sentence_bleu`` does. The corpus's score never does, as ``corpus_bleu`` does not."""

    @property
    def value_range(self) -> tuple[float, float]:  # type: ignore[override] # of others a class variable
        """From 0 to 100, or a rounding error above: sacreBLEU's geometric mean of 100s is kept."""
        orders = range(1, self.max_ngram_order + 1)
        return 0.0, max(100.0, *(math.exp(sum([math.log(100.0)] * n) / n) for n in orders))

    def _corpus_reference(self) -> Any:
        """Return sacreBLEU's metric without effective order, the default of ``corpus_bleu``."""
        params = {**self.fingerprinted, "effective_order": False}
        return getattr(import_module("sacrebleu.metrics"), self.in_sacrebleu)(**params)


class Chrf(_SacreBleu):
    """Sentence chrF, from 0 to 100: F-score of character n-grams; chrF++ with ``word_order=2``.

    The statistics are, for each order, [n-grams of the answer, of the reference, matched], of the
    reference that gives the best score.

    Source: Popović 2015, https://aclanthology.org/W15-3049; 2017,
    https://aclanthology.org/W17-4770.
    """

    component_id = "builtin/chrf"
    in_sacrebleu = "CHRF"
    char_order: Count = 6
    """The length of the longest character n-grams."""
    word_order: CountFromZero = 0
    """The length of the longest word n-grams; 0 for none."""
    beta: Count = 2
    """How much more recall weighs than precision."""
    lowercase: bool = False
    """Whether both are put in lower case."""
    whitespace: bool = False
    """Whether white space is kept in the n-grams."""
    eps_smoothing: bool = False
    """Whether it is smoothed as chrF++.py, NLTK and Moses do."""


class Ter(_SacreBleu):
    """Sentence TER: edits, shifts of phrases among them, per word of the reference, times 100.

    0 is best and there is no worst: an answer longer than its reference may take more edits than
    the reference has words. So an answer that cannot be parsed is an error, not a value. The
    statistics are [edits to the nearest reference, mean length of the references]. Long texts take
    long (seconds from some hundred words on): it runs off the loop.

    Source: Snover et al. 2006, https://aclanthology.org/2006.amta-papers.25.
    """

    component_id = "builtin/ter"
    cpu_bound: ClassVar[bool] = True
    higher_is_better = False
    unparsed = "error"
    value_range = None
    in_sacrebleu = "TER"
    normalized: bool = False
    """Whether texts are tokenized as Tercom does."""
    no_punct: bool = False
    """Whether punctuation is removed."""
    asian_support: bool = False
    """Whether Asian characters are treated one by one, with the two above."""
    case_sensitive: bool = False
    """Whether case counts; otherwise both are put in lower case."""
