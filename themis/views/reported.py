"""Which models answered, as their endpoints report it, so that a change during a run is noticed.

An endpoint may switch to another model, or another build of it, during a run. The values of
``model`` and ``system_fingerprint`` in the answers are counted as they are. They are not compared
with the model that was asked for, since many endpoints accept an alias.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from themis.core.results import ReportedModel

HINT = b'"raw_response"'
"""Occurs in the raw payload of every endpoint's answer; payloads without it are not decoded."""


class _Account(NamedTuple):
    """Model and system fingerprint that an answer reports; None where it reports none."""

    model: str | None
    system_fingerprint: str | None


class ReportedFold:
    """Fold over the answers of a run, in any order, each added once."""

    def __init__(self) -> None:
        self._found: dict[str | None, Counter[_Account]] = {}

    def add(self, payload: dict[str, Any], judge: str | None) -> None:
        """Add one answer.

        Args:
            payload: the generation or judge response, with its ``artifacts``.
            judge: the judge that was asked; None for the generator.
        """
        told = (payload.get("artifacts") or {}).get("raw_response")
        if not isinstance(told, dict):
            return
        account = _Account(_text(told.get("model")), _text(told.get("system_fingerprint")))
        if account.model is not None or account.system_fingerprint is not None:
            self._found.setdefault(judge, Counter())[account] += 1

    def reported(self) -> list[ReportedModel]:
        """Return the reported models, the generator's first, then by judge, most frequent first."""
        return [
            one
            for judge, counts in sorted(self._found.items(), key=lambda item: item[0] or "")
            for one in _told(judge, counts)
        ]


def _told(judge: str | None, counts: Counter[_Account]) -> list[ReportedModel]:
    model = _most([(account.model, count) for account, count in counts.items()])
    build = _most([(account.system_fingerprint, count) for account, count in counts.items()])
    ordered = sorted(counts.items(), key=lambda item: (-item[1], *(text or "" for text in item[0])))
    return [
        ReportedModel(
            judge=judge,
            model=account.model,
            system_fingerprint=account.system_fingerprint,
            answers=count,
            deviates=account.model not in (None, model)
            or account.system_fingerprint not in (None, build),
        )
        for account, count in ordered
    ]


def _most(counted: list[tuple[str | None, int]]) -> str | None:
    """Return the value of most answers; of two equally frequent ones, the first by spelling."""
    total: Counter[str] = Counter()
    for text, count in counted:
        if text is not None:
            total[text] += count
    return min(total, key=lambda text: (-total[text], text), default=None)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
