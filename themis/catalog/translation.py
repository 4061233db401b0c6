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
from typing import Any

from themis.catalog.gold import TextMetric
from themis.catalog.shipped import needs_extra
from themis.core.base import JSONObject
from themis.core.models import Case, Score, ScoreError

TOKENIZERS = ("13a", "intl", "zh", "char", "none")


class _SacreBleu(TextMetric):
    """One of sacreBLEU's metrics; several right answers are its several references."""

    kind = "value"
    value_range: tuple[float, float] | None = (0.0, 100.0)
    additive = True
    _name: str

    def __init__(self, params: JSONObject, /) -> None:
        super().__init__(params)
        needs_extra("sacrebleu", extra="text", needed_for=self.component_id)

    def reference(self) -> Any:
        """Return sacreBLEU's own metric; a new one, since it keeps state between sentences."""
        return getattr(import_module("sacrebleu.metrics"), self._name)(**self.params)

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

    def _corpus_reference(self) -> Any:
        return self.reference()


class Bleu(_SacreBleu):
    """Sentence BLEU, from 0 to 100: modified n-gram precision with a brevity penalty.

    The statistics are [length of the answer, length of the closest reference, matched n-grams of
    each order, n-grams of each order].

    Args:
        tokenize: "13a" (of mteval-v13a), "intl", "zh", "char" or "none". Tokenizers that load
            models or dictionaries are not offered.
        lowercase: lower both.
        smooth_method: "exp", "floor", "add-k" or "none" (Chen and Cherry 2014,
            https://aclanthology.org/W14-3346).
        smooth_value: of "floor" (0.1) and "add-k" (1).
        max_ngram_order: the longest n-grams.
        effective_order: leave out orders that a short sentence does not have, as sacreBLEU's
            ``sentence_bleu`` does. The corpus's score never does, as ``corpus_bleu`` does not.

    Source: Papineni et al. 2002, https://aclanthology.org/P02-1040.
    """

    component_id = "builtin/bleu"
    _name = "BLEU"

    def __init__(
        self,
        *,
        tokenize: str = "13a",
        lowercase: bool = False,
        smooth_method: str = "exp",
        smooth_value: float | None = None,
        max_ngram_order: int = 4,
        effective_order: bool = True,
    ) -> None:
        super().__init__(
            {
                "tokenize": tokenize,
                "lowercase": lowercase,
                "smooth_method": smooth_method,
                "smooth_value": smooth_value,
                "max_ngram_order": max_ngram_order,
                "effective_order": effective_order,
            }
        )
        self.one_of("tokenize", tokenize, TOKENIZERS)
        self.flag_param("lowercase", lowercase)
        self.one_of("smooth_method", smooth_method, ("exp", "floor", "add-k", "none"))
        if smooth_value is not None:
            self.number_param("smooth_value", smooth_value, wanted="a number of at least 0")
        order = self.count_param("max_ngram_order", max_ngram_order)
        self.flag_param("effective_order", effective_order)
        # sacreBLEU's geometric mean of 100s ends a rounding error above 100; it is kept.
        perfect = (math.exp(sum([math.log(100.0)] * n) / n) for n in range(1, order + 1))
        self.value_range = (0.0, max(100.0, *perfect))

    def _corpus_reference(self) -> Any:
        """Return sacreBLEU's metric without effective order, the default of ``corpus_bleu``."""
        params = {**self.params, "effective_order": False}
        return getattr(import_module("sacrebleu.metrics"), self._name)(**params)


class Chrf(_SacreBleu):
    """Sentence chrF, from 0 to 100: F-score of character n-grams; chrF++ with ``word_order=2``.

    The statistics are, for each order, [n-grams of the answer, of the reference, matched], of the
    reference that gives the best score.

    Args:
        char_order: the longest character n-grams.
        word_order: the longest word n-grams; 0 for none.
        beta: how much more recall weighs than precision.
        lowercase: lower both.
        whitespace: keep white space in the n-grams.
        eps_smoothing: smooth as chrF++.py, NLTK and Moses do.

    Source: Popović 2015, https://aclanthology.org/W15-3049; 2017,
    https://aclanthology.org/W17-4770.
    """

    component_id = "builtin/chrf"
    _name = "CHRF"

    def __init__(
        self,
        *,
        char_order: int = 6,
        word_order: int = 0,
        beta: int = 2,
        lowercase: bool = False,
        whitespace: bool = False,
        eps_smoothing: bool = False,
    ) -> None:
        super().__init__(
            {
                "char_order": char_order,
                "word_order": word_order,
                "beta": beta,
                "lowercase": lowercase,
                "whitespace": whitespace,
                "eps_smoothing": eps_smoothing,
            }
        )
        self.count_param("char_order", char_order)
        self.count_param("word_order", word_order, least=0)
        self.count_param("beta", beta)
        for name, flag in (
            ("lowercase", lowercase),
            ("whitespace", whitespace),
            ("eps_smoothing", eps_smoothing),
        ):
            self.flag_param(name, flag)


class Ter(_SacreBleu):
    """Sentence TER: edits, shifts of phrases among them, per word of the reference, times 100.

    0 is best and there is no worst: an answer longer than its reference may take more edits than
    the reference has words. So an answer that cannot be parsed is an error, not a value. The
    statistics are [edits to the nearest reference, mean length of the references]. Long texts take
    long (seconds from some hundred words on): it runs off the loop.

    Args:
        normalized: tokenize as Tercom does.
        no_punct: remove punctuation.
        asian_support: treat Asian characters one by one, with the two above.
        case_sensitive: do not lower.

    Source: Snover et al. 2006, https://aclanthology.org/2006.amta-papers.25.
    """

    component_id = "builtin/ter"
    cpu_bound = True
    higher_is_better = False
    unparsed = "error"
    value_range = None
    _name = "TER"

    def __init__(
        self,
        *,
        normalized: bool = False,
        no_punct: bool = False,
        asian_support: bool = False,
        case_sensitive: bool = False,
    ) -> None:
        params = {
            "normalized": normalized,
            "no_punct": no_punct,
            "asian_support": asian_support,
            "case_sensitive": case_sensitive,
        }
        super().__init__(params)
        for name, flag in params.items():
            self.flag_param(name, flag)
