"""How SQuAD's official scripts compare two answers: normalisation, exact match, token F1.

Source: ``evaluate-v1.1.py`` and ``evaluate-v2.0.py`` of https://rajpurkar.github.io/SQuAD-explorer;
Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250; 2018, https://arxiv.org/abs/1806.03822.
They differ in what is left empty by the normalisation: 1.1 gives an F1 of 0 to two such answers,
2.0 gives 1; and 2.0 drops right answers that are empty, unless there are no others.
"""

from __future__ import annotations

import re
import string
from collections import Counter

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Return a text in lower case, without punctuation, articles and superfluous white space."""
    text = text.lower().translate(_NO_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", text).split())


def token_f1(answer: str, right: str, *, version: str = "2.0") -> float:
    """Return the F1 of the tokens that two answers share, from 0 to 1."""
    given, wanted = normalise(answer).split(), normalise(right).split()
    if version == "2.0" and not (given and wanted):
        return float(given == wanted)
    shared = sum((Counter(given) & Counter(wanted)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(given), shared / len(wanted)
    return (2 * precision * recall) / (precision + recall)


def answers_that_count(accepted: list[str], *, version: str = "2.0") -> list[str]:
    """Return the right answers that a version compares with."""
    if version == "1.1":
        return accepted
    return [text for text in accepted if normalise(text)] or [""]
