"""The context that a component is given beside what it works on.

Ids and ``run_id`` in a context are for logging: they are not part of a step's key, so that a result
must not depend on them. It may depend on the seed, the case's metadata and the fields that a
stage's own context adds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from themis.core.base import CandidateId, CaseId, CaseKey, DatasetId, RunId
from themis.core.models import Case, ConversationTrace, ParsedOutput, WorkflowTrace
from themis.core.prompts import PromptSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The fields that the contexts of all stages have."""

    run_id: RunId
    case_id: CaseId
    dataset_id: DatasetId
    case_key: CaseKey
    seed: int | None
    """The sample's seed; for later stages one derived from the case id."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """The case's metadata, where the component reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateContext(Context):
    """Context of ``generate``, for one sample."""

    prompt_spec: PromptSpec | None = None
    sample_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectContext(Context):
    """Context of a selector."""

    case: Case
    """The case; parts that are not in the selector's ``reads`` are empty."""
    candidate_ids: Sequence[CandidateId] = ()
    judge_models: Sequence[Any] = ()
    """The run's judges, as JudgeModel; each call through one is journaled and never repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReduceContext(Context):
    """Context of a reducer."""

    candidate_ids: Sequence[CandidateId] = ()
    parsed: Mapping[str, ParsedOutput | None] = field(default_factory=dict)
    """By candidate id, for a reducer that declares ``reads_parsed``; None where parsing failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseContext(Context):
    """Context of a parser."""

    candidate_id: CandidateId
    input: Any = None
    """The case's input, where the parser's ``reads`` names it and not all three parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreContext(Context):
    """Context of a metric."""

    case: Case
    parsed_output: ParsedOutput | None
    dataset_metadata: Mapping[str, Any] = field(default_factory=dict)
    candidate_id: CandidateId | None = None
    trace: WorkflowTrace | None = None
    """The steps that led to the candidate, for a metric that declares ``subject = "trace"``."""
    conversation: ConversationTrace | None = None
    """The candidate's messages, for a metric that declares ``subject = "conversation"``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetScoreContext(Context):
    """Context of a candidate-set metric."""

    case: Case
    dataset_metadata: Mapping[str, Any] = field(default_factory=dict)
    higher_is_better: bool = True
    """Whether a greater score is better, in the scores that the metric folds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalScoreContext(ScoreContext):
    """Context of a judged metric's workflow."""

    judge_model_refs: Sequence[str] = ()
    """Names of the run's judges, in the order given."""
    judges_with_schemas: Collection[str] = ()
    """Names of the judges whose endpoint enforces a prompt's JSON schema."""
    judge_seed: int | None = None
    prompt_spec: PromptSpec | None = None
    judge_config: Mapping[str, Any] = field(default_factory=dict)
    eval_workflow_config: Mapping[str, Any] = field(default_factory=dict)
    """This metric's entry in ``workflow_overrides``."""
