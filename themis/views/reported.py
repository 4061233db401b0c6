"""Which models answered, by their endpoints' own account: a run is of one model, or it says so.

An endpoint may serve another model, or another build of it, in the midst of a run. What stands in
an answer's ``model`` and ``system_fingerprint`` is counted as it is; nothing is known of what an
endpoint does not tell, and what was asked for is not compared with it: many go by an alias.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from themis.core.results import ReportedModel

HINT = b'"raw_response"'
"""Stands in the raw payload of every answer that an endpoint gave; a quick look spares decoding."""


class _Account(NamedTuple):
    """What an endpoint says of itself in an answer; None for what it does not say."""

    model: str | None
    system_fingerprint: str | None


class ReportedFold:
    """Fold over the answers of a run, in any order, each taken once."""

    def __init__(self) -> None:
        self._found: dict[str | None, Counter[_Account]] = {}

    def take(self, payload: dict[str, Any], judge: str | None) -> None:
        """Take one answer.

        Args:
            payload: of a generation or a judge's response: what holds its ``artifacts``.
            judge: the judge that was asked; None for the generator.
        """
        told = (payload.get("artifacts") or {}).get("raw_response")
        if not isinstance(told, dict):
            return
        account = _Account(_text(told.get("model")), _text(told.get("system_fingerprint")))
        if account.model is not None or account.system_fingerprint is not None:
            self._found.setdefault(judge, Counter())[account] += 1

    def reported(self) -> list[ReportedModel]:
        """Return the accounts by who was asked, the generator first, the most frequent first."""
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
    """Return what most answers say; of two that are said as often, the first by its spelling."""
    total: Counter[str] = Counter()
    for text, count in counted:
        if text is not None:
            total[text] += count
    return min(total, key=lambda text: (-total[text], text), default=None)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
