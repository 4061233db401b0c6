"""Judged metrics: rubrics put to one judge or to a panel; the mean or majority of their verdicts.

They only say what to ask and how to read the answers; the calls, their retries and their journal
are the engine's. A judge that gives no verdict is left out where ``min_judges`` allows it, and
never counted as a zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, PlainValidator

from themis.catalog.component import Count, MustBe, Names, ShippedPart
from themis.catalog.judged.rubric_workflow import (
    Criterion,
    Folded,
    RubricWorkflow,
    majority_verdict,
    mean_verdict,
    rubric_calls,
)
from themis.catalog.judged.scales import PASS_FAIL, Scale, ScaleSpec
from themis.core.base import JSONValue
from themis.core.contexts import EvalScoreContext
from themis.core.errors import DefinitionError, did_you_mean
from themis.core.judging import JudgeCall, ParsedJudgment
from themis.core.prompts import PromptSpec

_CRITERIA = (
    'a list of {"name": ..., "rubric": ..., "weight": ...} with different names, the weights above '
    "zero, not beyond all numbers together, and 1 where not given"
)


def _as_objects(given: Any) -> Any:
    """Return objects in a list, where they stand in any sequence of mappings."""
    if isinstance(given, Sequence) and all(isinstance(one, Mapping) for one in given):
        return [dict(one) for one in given]
    return given


def _are_criteria(given: Sequence[Mapping[str, Any]]) -> bool:
    for one in given:
        if not _is_criterion(one):
            raise ValueError(f"{_CRITERIA}; {one!r} is not one of these")
    return 0 < len(given) == len({one["name"] for one in given})


def _is_criterion(given: Mapping[str, Any]) -> bool:
    texts, weight = (given.get("name"), given.get("rubric")), given.get("weight", 1)
    return (
        set(given) <= {"name", "rubric", "weight"}
        and all(isinstance(text, str) and text.strip() for text in texts)
        and type(weight) in (int, float)
        and math.isfinite(weight)
        and weight > 0
    )


def _as_given(scale: Any) -> Any:
    """Return a scale as it is given: to read it is ``Scale``'s work."""
    return dict(scale) if isinstance(scale, Mapping) else scale


Rubric = Annotated[str, MustBe("a text that says what a good answer is", str.strip)]
Criteria = Annotated[
    list[dict[str, Any]], BeforeValidator(_as_objects), MustBe(_CRITERIA, _are_criteria)
]


class JudgedMetric(ShippedPart):
    """What the judged metrics have in common: whom they ask."""

    higher_is_better: ClassVar[bool] = True
    unparsed: ClassVar[str] = "incorrect"

    def check_prompt(self, prompt_spec: PromptSpec) -> None:
        """Refuse prompt material for judges that would show them no question.

        Raises:
            DefinitionError: the template leaves the question out.
        """
        if prompt_spec.leaves_input_out():
            raise DefinitionError(
                f"{self.component_id}: EvaluationConfig.prompt_spec.template = "
                f"{prompt_spec.template!r}: a judge is shown neither rubric nor answer; put "
                "{{ input }} where they go",
                field="template",
                value=prompt_spec.template,
            )

    def known_judge(self, judge: str, judge_names: Sequence[str], field: str) -> str:
        """Return a judge of the run.

        Raises:
            DefinitionError: the run has none of that name.
        """
        if judge not in judge_names:
            raise DefinitionError(
                f"{self.component_id}: the run has no judge '{judge}'"
                f"{did_you_mean(judge, judge_names)}",
                field=field,
                value=judge,
            )
        return judge

    def some_judges(self, judge_names: Sequence[str]) -> None:
        """Check that the run has a judge.

        Raises:
            DefinitionError: it has none.
        """
        if not judge_names:
            raise DefinitionError(
                f"{self.component_id} needs a judge: set judge_models=[...], "
                'such as judge_models=["builtin/demo_judge"]',
                field="judge_models",
            )

    def panel(
        self, judges: Sequence[str] | None, min_judges: int | None, judge_names: Sequence[str]
    ) -> list[str]:
        """Return the judges of a panel: those named, or all of the run's.

        Raises:
            DefinitionError: there is none, one that is named is not there, or they are fewer than
                ``min_judges``.
        """
        self.some_judges(judge_names)
        asked = [
            self.known_judge(judge, judge_names, "judges")
            for judge in (judge_names if judges is None else judges)
        ]
        if min_judges is not None and min_judges > len(asked):
            raise self.refuse("min_judges", min_judges, f"at most {len(asked)}, the judges")
        return asked


class RubricMetric(JudgedMetric):
    """What the rubric metrics have in common: what is asked, and on which scale."""

    subject: ClassVar[str] = "candidate"
    count_judges: ClassVar[bool] = True

    rubric: Rubric | None = None
    """What a good answer is, in words."""
    scale: Annotated[ScaleSpec, PlainValidator(_as_given)] = PASS_FAIL
    """"pass_fail"; a range of numbers such as "0-10"; or labels and what each is worth."""
    min_judges: Count | None = None
    """How many judges suffice; by default every question must be answered by a verdict."""
    repeats: Count = 1
    """How often each judge is asked; its verdict is the mean of its own."""
    criteria: Criteria | None = None
    """In place of ``rubric``, several with names and weights: each is a question of its own with a
    verdict and a reason, and the score is their weighted mean."""

    def model_post_init(self, context: object, /) -> None:
        """Check that there is one rubric, or criteria whose weighted mean is a number."""
        del context
        if (self.rubric is None) == (self.criteria is None):
            raise DefinitionError(
                f"{self.component_id} needs the param 'rubric', one text that says what a good "
                "answer is, or in its place 'criteria', a list of such texts with names",
                field="rubric",
            )
        low, high = self.value_range
        largest = sum(one.weight for one in self._criteria) * max(abs(low), abs(high))
        if not math.isfinite(largest):
            raise self.refuse("criteria", self.criteria, _CRITERIA)

    @property
    def value_range(self) -> tuple[float, float]:
        """What the worst and the best verdict are worth."""
        return self._scale.low, self._scale.high

    @property
    def is_one_verdict(self) -> bool:
        """Whether a score is a single verdict of two, never a mean."""
        return self._scale.is_binary and len(self._criteria) == 1

    @cached_property
    def _scale(self) -> Scale:
        return Scale.of(self.scale)

    @cached_property
    def _criteria(self) -> list[Criterion]:
        """The criteria: those given, or the one rubric."""
        if self.criteria is None:
            assert self.rubric is not None
            return [Criterion(None, self.rubric)]
        return [
            Criterion(one["name"], one["rubric"], float(one.get("weight", 1)))
            for one in self.criteria
        ]

    def judges_needed(self, judge_names: Sequence[str]) -> list[str]:
        """Return the judges that are asked, of the run's judges.

        Raises:
            DefinitionError: the metric cannot do with the run's judges; the message says what to
                write.
        """
        judges = self._asked(judge_names)
        self._calls(judges)
        return judges

    def build_workflow(self, subject: object, ctx: EvalScoreContext) -> RubricWorkflow:
        """Return the workflow: every criterion to each judge, ``repeats`` times."""
        del subject
        return RubricWorkflow(
            metric_id=self.component_id,
            criteria=self._criteria,
            scale=self._scale,
            calls=self._calls(self._asked(ctx.judge_model_refs)),
            fold=self._fold,
            min_judgments=self.min_judges,
            count_judges=self.count_judges,
            shown=self._shown,
        )

    def _asked(self, judge_names: Sequence[str]) -> list[str]:
        """Return the judges that are asked, of the run's judges."""
        raise NotImplementedError

    def _fold(self, scale: Scale, by_judge: Mapping[str, Sequence[ParsedJudgment]]) -> Folded:
        """Return what the judgments of one criterion come to."""
        return mean_verdict(scale, by_judge)

    def _shown(self, subject: Any) -> JSONValue:
        """Return what of a subject the judges are shown: the answer of the one candidate."""
        answer: JSONValue = subject.candidates[0].final_output
        return answer

    def _calls(self, judges: Sequence[str]) -> list[JudgeCall]:
        """Return the questions, each under an id of its own, as a run keeps them."""
        calls = rubric_calls(judges, self._criteria, self.repeats)
        known: set[str] = set()
        for call in calls:
            if call.call_id in known:
                raise DefinitionError(
                    f"{self.component_id}: the names of judges, criteria and repeats run into each "
                    f"other: two questions would go by '{call.call_id}'; name the criteria without "
                    "'/' and '#'",
                    field="criteria",
                    value=call.call_id,
                )
            known.add(call.call_id)
        return calls


class LLMRubric(RubricMetric):
    """Has one judge say whether, or how well, an answer meets a rubric.

    Where the judge is asked several times the score is the mean, and the details hold the share of
    its most frequent verdict.
    """

    component_id = "builtin/llm_rubric"
    count_judges = False

    judge: Annotated[str, MustBe("the name of a judge", str.strip)] | None = None
    """Name of the judge; not needed where the run has one only."""
    min_judges: Count | None = None
    """How many judgments suffice, where ``repeats`` asks for several; all by default."""
    repeats: Count = 1
    """How often the judge is asked."""

    def model_post_init(self, context: object, /) -> None:
        """Check that no more judgments are needed than are asked for."""
        super().model_post_init(context)
        if self.min_judges is not None and self.min_judges > self.repeats:
            wanted = f"at most repeats, which is {self.repeats}"
            raise self.refuse("min_judges", self.min_judges, wanted)

    @property
    def kind(self) -> str:
        """Binary where a score is a single verdict of two."""
        return "binary" if self.is_one_verdict and self.repeats == 1 else "value"

    def _asked(self, judge_names: Sequence[str]) -> list[str]:
        self.some_judges(judge_names)
        if self.judge is not None:
            return [self.known_judge(self.judge, judge_names, "judge")]
        if len(judge_names) > 1:
            raise DefinitionError(
                f"{self.component_id} asks one judge and the run has {len(judge_names)} "
                f"({', '.join(judge_names)}): name one with "
                f'use("{self.component_id}", judge="{judge_names[0]}", ...), '
                "or ask them all with builtin/panel_of_judges",
                field="judge",
            )
        return [judge_names[0]]


class _Panel(RubricMetric):
    """Several judges, who are asked the same."""

    judges: Names | None = None
    """Names of the judges; all of the run's by default."""

    def _asked(self, judge_names: Sequence[str]) -> list[str]:
        return self.panel(self.judges, self.min_judges, judge_names)


class PanelOfJudges(_Panel):
    """Has several judges decide by the same rubric; the score is the mean of their verdicts.

    Source: Verga et al. 2024, "Replacing Judges with Juries", https://arxiv.org/abs/2404.18796.
    """

    component_id = "builtin/panel_of_judges"
    kind: ClassVar[str] = "value"


class MajorityVoteJudge(_Panel):
    """Has several judges vote by the same rubric; the score is what the winning label is worth.

    The label with the most votes wins. Of labels with equally many the one that is worth least
    counts, and the details name those that tied. On a range of numbers such as "1-5" the numbers
    are the labels; each criterion is voted on by itself.
    """

    component_id = "builtin/majority_vote_judge"

    repeats: Count = 1
    """How often each judge is asked; its vote is its own most frequent verdict, shared out evenly
    where several are."""

    @property
    def kind(self) -> str:
        """Binary where a score is a single verdict of two."""
        return "binary" if self.is_one_verdict else "value"

    def _fold(self, scale: Scale, by_judge: Mapping[str, Sequence[ParsedJudgment]]) -> Folded:
        return majority_verdict(scale, by_judge)
