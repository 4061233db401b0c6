r"""Extraction conventions of the field, under their own names, so that a number can be compared.

Each does what EleutherAI's lm-evaluation-harness does (version 0.4.13, the task's YAML and
``lm_eval/filters/extraction.py``), and nothing that would be better. What the harness's metric
drops on both sides before it compares (commas, dollar signs, a final stop, punctuation, case) is
dropped here, so that ``exact_match`` against a plain gold answer gives the harness's verdict. Where
the harness's filter says "[invalid]" the parser says that nothing was found; both are incorrect.

Source: https://github.com/EleutherAI/lm-evaluation-harness/tree/v0.4.13/lm_eval/tasks
"""

from __future__ import annotations

import re
import string
from typing import ClassVar

from themis.catalog.parsers.pick import AnswerParser
from themis.catalog.thoughts import Thoughts
from themis.core.contexts import ParseContext
from themis.core.errors import ParseError
from themis.core.models import GenerationResult, ParsedOutput, ReducedCandidate

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class _Convention(AnswerParser):
    """A filter of the harness: one of the matches, its first group that is not empty."""

    thoughts: Thoughts = "keep"
    """Whether thoughts are part of what is read. The harness's filters are given the text as it
    is, "keep"; "drop" leaves thoughts out, as its models do that are told where thoughts end."""
    pattern: ClassVar[re.Pattern[str]]
    which: ClassVar[int] = 0
    """Which of the matches counts: 0 for the first, -1 for the last."""

    def parse(
        self, candidate: GenerationResult | ReducedCandidate, ctx: ParseContext
    ) -> ParsedOutput:
        """Return what the convention extracts; raise ``ParseError`` where that is nothing."""
        del ctx
        matches = self.pattern.findall(self.text_of(candidate))
        if not matches:
            raise ParseError(
                f"nothing in the text matches {self.pattern.pattern!r}", reason="nothing_found"
            )
        match = matches[self.which]
        groups = (match,) if isinstance(match, str) else match
        found = next((group for group in groups if group), "").strip()
        value = self.cleaned(found)
        if not value:
            raise ParseError(f"what matches {self.pattern.pattern!r} is empty")
        return ParsedOutput(value=value, format=self.component_id, metadata={"found": found})

    def cleaned(self, found: str) -> str:
        """Return a match without what the harness's metric ignores."""
        raise NotImplementedError


class _Gsm8k(_Convention):
    def cleaned(self, found: str) -> str:
        """Drop commas, dollar signs, what stands before "#### ", and a final stop."""
        # The convention's "(?s).*#### " and "\.$", in one pass over however long a match.
        found = found.replace(",", "").replace("$", "")
        return found.rpartition("#### ")[2].removesuffix(".")


class Gsm8kStrict(_Gsm8k):
    """GSM8K, strict match: the first number after "#### ".

    The task ``gsm8k``, filter "strict-match".
    """

    component_id = "builtin/gsm8k_strict"
    pattern = re.compile(r"#### (\-?[0-9\.\,]+)")


class Gsm8kFlexible(_Gsm8k):
    """GSM8K, flexible extract: the last number anywhere.

    The tasks ``gsm8k`` and ``gsm8k_cot``, filter "flexible-extract".
    """

    component_id = "builtin/gsm8k_flexible"
    pattern = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
    which = -1


class Gsm8kCotStrict(_Gsm8k):
    """GSM8K with chain of thought, strict match: the first number after "The answer is ".

    The task ``gsm8k_cot``, filter "strict-match".
    """

    component_id = "builtin/gsm8k_cot_strict"
    pattern = re.compile(r"The answer is (\-?[0-9\.\,]+).")


class _Mmlu(_Convention):
    def cleaned(self, found: str) -> str:
        """Drop punctuation and case; what is then no letter is no answer."""
        letter = found.translate(_NO_PUNCTUATION).upper()
        if len(letter) != 1 or letter not in string.ascii_uppercase:
            raise ParseError(f"what the convention extracts is {found!r}, which is no letter")
        return letter


class MmluFlanCot(_Mmlu):
    """MMLU with chain of thought, few-shot: what follows the first "answer is ".

    Up to the line's end, less its last character, which the convention takes for a stop. The task
    ``mmlu_flan_cot_fewshot``, filter "get-answer".
    """

    component_id = "builtin/mmlu_flan_cot"
    pattern = re.compile(r"(?<=answer is )(.*)(?=.)")


class MmluFlanCotStrict(_Mmlu):
    """MMLU with chain of thought, zero-shot: what follows "answer is " or "The answer: ".

    Up to the line's end, less its last character. The task ``mmlu_flan_cot_zeroshot``, filter
    "strict-match".
    """

    component_id = "builtin/mmlu_flan_cot_strict"
    pattern = re.compile(
        r"((?<=The answer is )(.*)(?=.)|(?<=answer is )(.*)(?=.)|(?<=The answer: )(.*)(?=.)"
        r"|(?<=The final answer: )(.*)(?=.))"
    )


class MmluGenerative(_Mmlu):
    """MMLU, generative: the first line. The task ``mmlu_generative``, filter "get_response"."""

    component_id = "builtin/mmlu_generative"
    pattern = re.compile(r"^(.*?)(?=\n|$)")


class MmluPro(_Mmlu):
    """MMLU-Pro: the first letter from A to J after "answer is ".

    The task ``mmlu_pro``, filter "custom-extract".
    """

    component_id = "builtin/mmlu_pro"
    pattern = re.compile(r"answer is \(?([ABCDEFGHIJ])\)?")
