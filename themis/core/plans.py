"""What a run would do, and in what two runs differ: figures and reasons, before a cent is spent."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from themis.core.base import JSONValue, Model
from themis.core.hashing import encode

_LONGEST = 60


class PlanReason(Model):
    """Why some steps of a stage would run: what they have in common, and how many they are."""

    causes: list[str]
    """What kinds of reason there are, all of which hold: "new_case", "case_changed", "new_sample",
    "prompt_changed", "component_changed", "component_new", "code_changed", "settings_changed",
    "failed_before", "never_finished", "depends", "again", "this_run_only", "unknown", ..."""
    text: str
    """The same in words, with what was and what is."""
    component: str | None = None
    """The parser, metric or judge, where the stage has several."""
    count: int
    """Steps."""
    cases: list[str] = Field(default_factory=list)
    """Ids of the first few cases."""


class StagePlan(Model):
    """What a run would do in one stage."""

    to_run: int = 0
    """Steps that would be taken. Those count that depend on steps still to be taken, though these
    may give what was seen before, so that the run finds what comes of it in the store."""
    reused: int = 0
    """Steps whose results other work has left in the store, or another step of the run will."""
    done: int = 0
    """Steps that this run itself has already."""
    at_least: bool = False
    """Whether more may have to run than can be known: how often a judge will be asked, or how many
    candidates will be selected."""
    reasons: list[PlanReason] = Field(default_factory=list)
    """Of the steps to run, the most first; their counts add up to ``to_run``."""


class RunPlan(Model):
    """What a run would do, step by step, and why."""

    run_id: str
    n_cases: int
    compared_with: str | None = None
    """The run that the reasons compare with; None where the store has none that is related."""
    stages: dict[str, StagePlan]
    """By stage, in order. Under "judge" each judged metric counts once for each subject; the calls
    that it and a selector make stand under "judge_calls"."""
    prompt_tokens: int | None = None
    """Of the generations to run, about; None where the generator cannot say."""
    output_tokens_at_most: int | None = None
    """Of the same generations, each at its cap; None where they have none."""
    cost_usd: list[float] | None = None
    """US dollars of the same generations: with no output at all, and with each at its cap (or, of
    those without a cap, the first number only). None where the price is unknown."""
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
    """Where it stands, as in "prompt_spec.instructions" or "metric:close.params.tol"."""
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
    """How the cases of a dataset that two runs share differ."""

    dataset_id: str
    added: int
    removed: int
    changed: int
    reordered: bool = False
    """Whether the same cases stand in another order."""
    known: bool = True
    """Whether both runs kept all of their cases; else the counts are of those they kept."""

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
    """Why two runs have different ids, or that they have not."""

    before: str
    """The one run's id."""
    now: str
    """The other's."""
    identity: list[Difference] = Field(default_factory=list)
    """Fields of what was asked: any of them makes another run."""
    data: list[DatasetDifference] = Field(default_factory=list)
    """How the cases differ of datasets that both have, where their fingerprints do."""
    code: list[Difference] = Field(default_factory=list)
    """Components whose code is not the same, though it is no part of identity."""

    @property
    def equal(self) -> bool:
        """Whether what was asked is the same, so that it is one run."""
        return self.before == self.now


def _short(value: Any) -> str:
    said = encode(value).decode().strip()
    return said if len(said) <= _LONGEST else said[: _LONGEST - 3] + "..."
