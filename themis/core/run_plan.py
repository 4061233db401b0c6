"""The plan of a run, with reasons for each step to run; and the differences of two runs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from themis.core.base import JSONValue, Model
from themis.core.hashing import encode

_LONGEST = 60


class PlanReason(Model):
    """One reason why steps of a stage would run, and how many steps it applies to."""

    causes: list[str]
    """The kinds of reason, all of which apply: "new_case", "case_changed", "new_sample",
    "prompt_changed", "component_changed", "component_new", "code_changed", "settings_changed",
    "failed_before", "never_finished", "depends", "again", "this_run_only", "unknown", ..."""
    text: str
    """The reason in words, with the old and the new value."""
    component: str | None = None
    """The parser, metric or judge, where the stage has several."""
    count: int
    """Number of steps."""
    cases: list[str] = Field(default_factory=list)
    """Ids of the first few cases."""


class StagePlan(Model):
    """How many steps of one stage would run, are cache hits, or are done."""

    to_run: int = 0
    """Steps that would run. Steps downstream of these count as well, although they become cache
    hits if the steps before them give the same result as earlier."""
    reused: int = 0
    """Steps whose result is in the store from another run, or will come from another step."""
    done: int = 0
    """Steps that this run has done already."""
    at_least: bool = False
    """Whether more steps may have to run: the number of judge calls, or of candidates that a
    selector chooses, is not known in advance."""
    reasons: list[PlanReason] = Field(default_factory=list)
    """Reasons of the steps to run, most steps first; their counts add up to ``to_run``."""


class RunPlan(Model):
    """The plan of a run: by stage, how many steps would run and why."""

    run_id: str
    n_cases: int
    compared_with: str | None = None
    """The run that the reasons compare with; None if the store has no related run."""
    stages: dict[str, StagePlan]
    """By stage, in order. Under "judge" each judged metric counts once for each subject; the calls
    that it and a selector make stand under "judge_calls"."""
    prompt_tokens: int | None = None
    """Estimated prompt tokens of the generations to run; None if unknown."""
    output_tokens_at_most: int | None = None
    """Output tokens of these generations if each reaches its limit; None without a limit."""
    cost_usd: list[float] | None = None
    """US dollars of these generations: without any output, and with each at its limit (only the
    first number if there is no limit). None if the price is unknown."""
    notes: list[str] = Field(default_factory=list)

    @property
    def to_run(self) -> dict[str, int]:
        """Steps to run, by stage."""
        return {stage: plan.to_run for stage, plan in self.stages.items()}

    @property
    def reused(self) -> dict[str, int]:
        """Steps found in the store, by stage."""
        return {stage: plan.reused for stage, plan in self.stages.items()}


class Difference(Model):
    """One field in which two runs differ."""

    field: str
    """Path of the field, as in "prompt_spec.instructions" or "metric:close.params.tol"."""
    change: Literal["changed", "added", "removed"] = "changed"
    before: JSONValue = None
    now: JSONValue = None

    def text(self) -> str:
        """Return the difference in one line, long values cut short."""
        if self.change != "changed":
            value = self.now if self.change == "added" else self.before
            return f"{self.field} {self.change}{'' if value is None else f' ({_short(value)})'}"
        return f"{self.field} changed ({_short(self.before)} -> {_short(self.now)})"


class DatasetDifference(Model):
    """How the cases of a dataset differ that two runs have in common."""

    dataset_id: str
    added: int
    removed: int
    changed: int
    reordered: bool = False
    """Whether the same cases stand in another order."""
    known: bool = True
    """Whether the store has all cases of both runs; else the counts are of the stored ones."""

    def text(self) -> str:
        """Return the difference in one line."""
        said = [
            f"{count:,} {what}"
            for count, what in (
                (self.added, "added"),
                (self.removed, "removed"),
                (self.changed, "changed"),
            )
            if count
        ]
        if self.reordered:
            said.append("another order")
        known = "" if self.known else " (of the cases that both runs came to keep)"
        return f"cases of dataset '{self.dataset_id}': {', '.join(said) or 'the same'}{known}"


class Explanation(Model):
    """The differences that give two runs different ids."""

    before: str
    """Id of the first run."""
    now: str
    """Id of the second run."""
    identity: list[Difference] = Field(default_factory=list)
    """Differences of the identities: any of them changes the run id."""
    data: list[DatasetDifference] = Field(default_factory=list)
    """Differences of the cases, for datasets that both runs have with different fingerprints."""
    code: list[Difference] = Field(default_factory=list)
    """Components whose code differs, which is no part of identity."""

    @property
    def equal(self) -> bool:
        """Whether the identities are equal, so that both are the same run."""
        return self.before == self.now


def _short(value: Any) -> str:
    said = encode(value).decode().strip()
    return said if len(said) <= _LONGEST else said[: _LONGEST - 3] + "..."
