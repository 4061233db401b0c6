"""Metrics that compare texts: SQuAD's F1, containment, a pattern, edit distance."""

from __future__ import annotations

import re
from functools import cached_property
from importlib import import_module
from typing import Any, ClassVar, Literal

from pydantic import Field

from themis.catalog.component import Pattern, needs_extra
from themis.catalog.metrics import squad
from themis.catalog.metrics.gold import TextMetric, text_answer
from themis.core.contexts import ScoreContext
from themis.core.models import Case, ParsedOutput, Score, ScoreError


class F1(TextMetric):
    """The F1 of the tokens shared with the right answer, as SQuAD's official script has it.

    The best of several right answers counts. Normalisation, formula and source: see ``squad``.
    """

    component_id = "builtin/f1"
    squad_version: Literal["2.0", "1.1"] = Field("2.0", alias="version")
    """The version of SQuAD; they differ where the normalisation leaves nothing."""

    def compare(self, answer: str, accepted: list[str], case: Case) -> Score | ScoreError:
        """Return the best F1, from 0 to 1."""
        right = squad.answers_that_count(accepted, version=self.squad_version)
        if not right:
            return self.lacks_gold(case)
        best = max(squad.token_f1(answer, one, version=self.squad_version) for one in right)
        return Score(metric_id=self.component_id, value=best)


class Contains(TextMetric):
    """1 where the answer contains the expected text, else 0.

    Of several expected texts one suffices. An expected text that is empty is an error, since
    everything contains it.
    """

    component_id = "builtin/contains"
    kind = "binary"
    every: bool = False
    """Whether the answer must contain all of several expected texts."""
    ignore_case: bool = False
    """Whether case is folded in both."""
    words: bool = False
    """Whether the text must stand there as whole words."""

    def compare(self, answer: str, accepted: list[str], case: Case) -> Score | ScoreError:
        """Return 1 or 0."""
        if not accepted:
            return self.lacks_gold(case)
        if not all(accepted):
            return ScoreError(
                metric_id=self.component_id,
                reason=f"case '{case.case_id}': an expected text is empty; everything contains it",
            )
        answer = self._folded(answer)
        enough = all if self.every else any
        found = enough(self._stands_in(answer, self._folded(one)) for one in accepted)
        return Score(metric_id=self.component_id, value=1.0 if found else 0.0)

    def _folded(self, text: str) -> str:
        return text.casefold() if self.ignore_case else text

    def _stands_in(self, answer: str, expected: str) -> bool:
        if not self.words:
            return expected in answer
        return re.search(rf"(?<!\w){re.escape(expected)}(?!\w)", answer) is not None


class RegexMatch(TextMetric):
    """1 where a regular expression matches the answer, else 0."""

    component_id = "builtin/regex_match"
    kind = "binary"
    cpu_bound: ClassVar[bool] = True  # a user's pattern may take very long on some answer
    pattern: Pattern | None = None
    """A pattern in Python's syntax, flags inside; by default the expected output is the pattern,
    and of several one suffices."""
    full: bool = False
    """Whether the whole answer must match, not some part of it."""

    @property
    def reads(self) -> frozenset[str]:  # type: ignore[override] # of others a class variable
        """The parts of the case that it reads: none where it is given a pattern."""
        return frozenset({"expected_output"} if self.pattern is None else ())

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        return None if self.pattern is None else re.compile(self.pattern)

    def score(self, parsed: ParsedOutput, case: Case, ctx: ScoreContext) -> Score | ScoreError:
        """Return the score; a ``ScoreError`` where the expected output is no pattern."""
        if self._pattern is None:
            return super().score(parsed, case, ctx)
        answer = text_answer(parsed.value)
        return self.no_text(parsed, case) if answer is None else self._found(answer, self._pattern)

    def compare(self, answer: str, accepted: list[str], case: Case) -> Score | ScoreError:
        """Return 1 where one of the expected patterns matches, else 0."""
        if not accepted:
            return self.lacks_gold(case)
        try:
            patterns = [re.compile(one) for one in accepted]
        except re.error as error:
            return ScoreError(
                metric_id=self.component_id,
                reason=f"case '{case.case_id}': expected_output is no regular expression: {error}",
            )
        return self._found(answer, *patterns)

    def _found(self, answer: str, *patterns: re.Pattern[str]) -> Score:
        matches = (one.fullmatch(answer) if self.full else one.search(answer) for one in patterns)
        found = any(match is not None for match in matches)
        return Score(metric_id=self.component_id, value=1.0 if found else 0.0)


class Levenshtein(TextMetric):
    """How alike two texts are: 1 less the edits between them over the longer one's length.

    Edits are insertions, deletions and replacements of code points (Levenshtein 1966); two empty
    texts are alike. The best of several right answers counts. It is ``normalized_similarity`` of
    ``rapidfuzz.distance.Levenshtein`` (extra "text"); texts are compared as they are, without
    Unicode normalisation.
    """

    component_id = "builtin/levenshtein"
    ignore_case: bool = False
    """Whether both are put in lower case."""

    def model_post_init(self, context: Any, /) -> None:
        """Refuse to be made where RapidFuzz is not installed."""
        needs_extra("rapidfuzz", extra="text", needed_for=self.component_id)

    def compare(self, answer: str, accepted: list[str], case: Case) -> Score | ScoreError:
        """Return the greatest similarity, from 0 to 1."""
        if not accepted:
            return self.lacks_gold(case)
        similarity: Any = import_module("rapidfuzz.distance.Levenshtein").normalized_similarity
        best = max(similarity(self._cased(answer), self._cased(one)) for one in accepted)
        return Score(metric_id=self.component_id, value=float(best))

    def _cased(self, text: str) -> str:
        return text.lower() if self.ignore_case else text
