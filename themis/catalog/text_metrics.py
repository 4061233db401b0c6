"""Metrics that compare texts: SQuAD's F1, containment, a pattern, edit distance."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

from themis.catalog import squad
from themis.catalog.gold import TextMetric, text_answer
from themis.catalog.shipped import needs_extra
from themis.core.contexts import ScoreContext
from themis.core.models import Case, ParsedOutput, Score, ScoreError


class F1(TextMetric):
    """The F1 of the tokens shared with the right answer, as SQuAD's official script has it.

    The best of several right answers counts. Normalisation, formula and source: see ``squad``.

    Args:
        version: "2.0" or "1.1"; they differ where the normalisation leaves nothing.
    """

    component_id = "builtin/f1"

    def __init__(self, *, version: str = "2.0") -> None:
        super().__init__({"version": version})
        self._version = self.one_of("version", version, squad.VERSIONS)

    def compare(self, answer: str, accepted: list[str], case: Case) -> Score | ScoreError:
        """Return the best F1, from 0 to 1."""
        right = squad.answers_that_count(accepted, version=self._version)
        if not right:
            return self.lacks_gold(case)
        best = max(squad.token_f1(answer, one, version=self._version) for one in right)
        return Score(metric_id=self.component_id, value=best)


class Contains(TextMetric):
    """1 where the answer contains the expected text, else 0.

    Of several expected texts one suffices. An expected text that is empty is an error, since
    everything contains it.

    Args:
        every: whether the answer must contain all of several expected texts.
        ignore_case: compare with case folded.
        words: whether the text must stand there as whole words.
    """

    component_id = "builtin/contains"
    kind = "binary"

    def __init__(
        self, *, every: bool = False, ignore_case: bool = False, words: bool = False
    ) -> None:
        super().__init__({"every": every, "ignore_case": ignore_case, "words": words})
        self._enough = all if self.flag_param("every", every) else any
        self._ignore_case = self.flag_param("ignore_case", ignore_case)
        self._words = self.flag_param("words", words)

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
        found = self._enough(self._stands_in(answer, self._folded(one)) for one in accepted)
        return Score(metric_id=self.component_id, value=1.0 if found else 0.0)

    def _folded(self, text: str) -> str:
        return text.casefold() if self._ignore_case else text

    def _stands_in(self, answer: str, expected: str) -> bool:
        if not self._words:
            return expected in answer
        return re.search(rf"(?<!\w){re.escape(expected)}(?!\w)", answer) is not None


class RegexMatch(TextMetric):
    """1 where a regular expression matches the answer, else 0.

    Args:
        pattern: Python's syntax, flags inside; by default the expected output is the pattern, and
            of several one suffices.
        full: whether the whole answer must match, not some part of it.
    """

    component_id = "builtin/regex_match"
    kind = "binary"

    def __init__(self, *, pattern: str | None = None, full: bool = False) -> None:
        super().__init__({"pattern": pattern, "full": full})
        self._pattern = None if pattern is None else self.pattern_param("pattern", pattern)
        self._full = self.flag_param("full", full)
        if pattern is not None:
            self.reads = frozenset()

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
        matches = (one.fullmatch(answer) if self._full else one.search(answer) for one in patterns)
        found = any(match is not None for match in matches)
        return Score(metric_id=self.component_id, value=1.0 if found else 0.0)


class Levenshtein(TextMetric):
    """How alike two texts are: 1 less the edits between them over the longer one's length.

    Edits are insertions, deletions and replacements of code points (Levenshtein 1966); two empty
    texts are alike. The best of several right answers counts. It is ``normalized_similarity`` of
    ``rapidfuzz.distance.Levenshtein`` (extra "text"); texts are compared as they are, without
    Unicode normalisation.

    Args:
        ignore_case: lower both.
    """

    component_id = "builtin/levenshtein"

    def __init__(self, *, ignore_case: bool = False) -> None:
        super().__init__({"ignore_case": ignore_case})
        needs_extra("rapidfuzz", extra="text", needed_for=self.component_id)
        self._ignore_case = self.flag_param("ignore_case", ignore_case)

    def compare(self, answer: str, accepted: list[str], case: Case) -> Score | ScoreError:
        """Return the greatest similarity, from 0 to 1."""
        if not accepted:
            return self.lacks_gold(case)
        similarity: Any = import_module("rapidfuzz.distance.Levenshtein").normalized_similarity
        best = max(similarity(self._cased(answer), self._cased(one)) for one in accepted)
        return Score(metric_id=self.component_id, value=float(best))

    def _cased(self, text: str) -> str:
        return text.lower() if self._ignore_case else text
