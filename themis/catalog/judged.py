"""Judged metrics: rubrics put to one judge or to a panel; the mean or majority of what they say.

They only say what to ask and how to read the answers; the calls, their retries and their journal
are the engine's. A judge that gives no verdict is left out where ``min_judges`` allows it, and
never counted as a zero.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from themis.catalog.rubric_workflow import (
    Criterion,
    Fold,
    RubricWorkflow,
    majority_verdict,
    mean_verdict,
    rubric_calls,
)
from themis.catalog.shipped import ShippedComponent
from themis.catalog.verdicts import PASS_FAIL, Scale, ScaleSpec
from themis.core.contexts import EvalScoreContext
from themis.core.errors import DefinitionError, did_you_mean
from themis.core.judging import CandidateSetSubject
from themis.core.prompts import PromptSpec

_CRITERION = {"name", "rubric", "weight"}
_CRITERIA = (
    'a list of {"name": ..., "rubric": ..., "weight": ...} with different names, the weights above '
    "zero, not beyond all numbers together, and 1 where not given"
)


class JudgedMetric(ShippedComponent):
    """What the judged metrics have in common: whom they ask."""

    higher_is_better = True
    unparsed = "incorrect"

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
        self, judges: list[str] | None, min_judges: int | None, judge_names: Sequence[str]
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

    def names_param(self, name: str, value: Any) -> list[str] | None:
        """Return a parameter that must be a list of different names, or None."""
        if value is None:
            return None
        is_list = isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value)
        if not is_list or not value or len(set(value)) != len(value):
            raise self.refuse(name, value, "a list of different names")
        return list(value)


class _RubricMetric(JudgedMetric):
    """What the rubric metrics have in common."""

    subject = "candidate"
    fold: Fold = staticmethod(mean_verdict)
    count_judges = True

    def __init__(
        self,
        *,
        rubric: str | None,
        scale: ScaleSpec,
        min_judges: int | None,
        repeats: int,
        criteria: Sequence[Mapping[str, Any]] | None,
        **params: Any,
    ) -> None:
        self._scale = Scale.of(scale)
        shown = scale if isinstance(scale, str) else dict(scale)
        given = {} if criteria is None else {"criteria": self._listed(criteria)}
        super().__init__(
            {
                "rubric": rubric,
                "scale": shown,
                "min_judges": min_judges,
                "repeats": repeats,
                **given,
                **params,
            }
        )
        self.count_param("repeats", repeats)
        if min_judges is not None:
            self.count_param("min_judges", min_judges)
        self._criteria = self._asked(rubric, criteria)
        self._min_judges = min_judges
        self._repeats = repeats
        self._known_apart: tuple[str, ...] = ()
        self.value_range = (self._scale.low, self._scale.high)

    def _asked(
        self, rubric: str | None, criteria: Sequence[Mapping[str, Any]] | None
    ) -> list[Criterion]:
        """Return the criteria: those given, or the one rubric."""
        if (rubric is None) == (criteria is None):
            raise DefinitionError(
                f"{self.component_id} needs the param 'rubric', one text that says what a good "
                "answer is, or in its place 'criteria', a list of such texts with names",
                field="rubric",
            )
        if criteria is None:
            wanted = "a text that says what a good answer is"
            assert rubric is not None
            return [Criterion(None, self.text_param("rubric", rubric, wanted))]
        asked = []
        for one in criteria:
            name, rubric, weight = one.get("name"), one.get("rubric"), one.get("weight", 1)
            if (
                not set(one) <= _CRITERION
                or not isinstance(name, str)
                or not name.strip()
                or not isinstance(rubric, str)
                or not rubric.strip()
                or type(weight) not in (int, float)
                or not (math.isfinite(weight) and weight > 0)
            ):
                raise self.refuse("criteria", dict(one), _CRITERIA)
            asked.append(Criterion(name, rubric, float(weight)))
        # What a weighted sum cannot exceed; a mean of numbers that are too large is none.
        total = sum(one.weight for one in asked) * max(abs(self._scale.low), abs(self._scale.high))
        if not (asked and len({one.name for one in asked}) == len(asked) and math.isfinite(total)):
            raise self.refuse("criteria", [dict(one) for one in criteria], _CRITERIA)
        return asked

    def _listed(self, criteria: Any) -> list[dict[str, Any]]:
        is_list = isinstance(criteria, Sequence) and not isinstance(criteria, str)
        if not is_list or not all(isinstance(one, Mapping) for one in criteria):
            raise self.refuse("criteria", criteria, _CRITERIA)
        return [dict(one) for one in criteria]

    def _told_apart(self, judges: list[str]) -> list[str]:
        """Return judges whose questions go by different ids, as a run keeps them."""
        if tuple(judges) == self._known_apart:
            return judges
        calls = rubric_calls(judges, self._criteria, self._repeats)
        counts = Counter(call.call_id for call in calls)
        for name, count in counts.items():
            if count > 1:
                raise DefinitionError(
                    f"{self.component_id}: the names of judges, criteria and repeats run into each "
                    f"other: two questions would go by '{name}'; name the criteria without '/' "
                    "and '#'",
                    field="criteria",
                    value=name,
                )
        self._known_apart = tuple(judges)
        return judges

    def judges_needed(self, judge_names: Sequence[str]) -> list[str]:
        """Return the judges that are asked, of the run's judges."""
        raise NotImplementedError

    def build_workflow(self, subject: CandidateSetSubject, ctx: EvalScoreContext) -> RubricWorkflow:
        """Return the workflow: every criterion to each judge, ``repeats`` times."""
        del subject
        judges = self.judges_needed(ctx.judge_model_refs)
        return RubricWorkflow(
            metric_id=self.component_id,
            criteria=self._criteria,
            scale=self._scale,
            calls=rubric_calls(judges, self._criteria, self._repeats),
            fold=type(self).fold,
            min_judgments=self._min_judges,
            count_judges=self.count_judges,
        )

    @property
    def is_one_verdict(self) -> bool:
        """Whether a score is a single verdict of two, never a mean."""
        return self._scale.is_binary and len(self._criteria) == 1


class LLMRubric(_RubricMetric):
    """Has one judge say whether, or how well, an answer meets a rubric.

    Args:
        rubric: what a good answer is, in words.
        judge: name of the judge; not needed where the run has one only.
        scale: "pass_fail"; a range of numbers such as "0-10"; or labels and what each is worth.
        min_judges: how many judgments suffice, where ``repeats`` asks for several; all by default.
        repeats: how often the judge is asked; the score is the mean, and the details tell how often
            it said the same.
        criteria: in place of ``rubric``, several with names and weights: each is a question of its
            own with a verdict and a reason, and the score is their weighted mean.
    """

    component_id = "builtin/llm_rubric"
    version = "2"
    count_judges = False

    def __init__(
        self,
        *,
        rubric: str | None = None,
        judge: str | None = None,
        scale: ScaleSpec = PASS_FAIL,
        min_judges: int | None = None,
        repeats: int = 1,
        criteria: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(
            rubric=rubric,
            scale=scale,
            min_judges=min_judges,
            repeats=repeats,
            criteria=criteria,
            judge=judge,
        )
        if min_judges is not None and min_judges > repeats:
            raise self.refuse("min_judges", min_judges, f"at most repeats, which is {repeats}")
        if judge is not None:
            self.text_param("judge", judge, "the name of a judge")
        self._judge = judge
        self.kind = "binary" if self.is_one_verdict and repeats == 1 else "value"

    def judges_needed(self, judge_names: Sequence[str]) -> list[str]:
        """Return the one judge that is asked, of the run's judges.

        Raises:
            DefinitionError: there is none, not the one named, or several and none is named.
        """
        self.some_judges(judge_names)
        if self._judge is not None:
            return self._told_apart([self.known_judge(self._judge, judge_names, "judge")])
        if len(judge_names) > 1:
            raise DefinitionError(
                f"{self.component_id} asks one judge and the run has {len(judge_names)} "
                f"({', '.join(judge_names)}): name one with "
                f'use("{self.component_id}", judge="{judge_names[0]}", ...), '
                "or ask them all with builtin/panel_of_judges",
                field="judge",
            )
        return self._told_apart([judge_names[0]])


class _Panel(_RubricMetric):
    """Several judges, who are asked the same."""

    def __init__(self, *, judges: list[str] | None, repeats: int, **params: Any) -> None:
        super().__init__(judges=judges, repeats=repeats, **params)
        self._judges = self.names_param("judges", judges)

    def judges_needed(self, judge_names: Sequence[str]) -> list[str]:
        """Return the judges that are asked, of the run's judges.

        Raises:
            DefinitionError: there is none, one that is named is not there, or they are fewer than
                ``min_judges``.
        """
        return self._told_apart(self.panel(self._judges, self._min_judges, judge_names))


class PanelOfJudges(_Panel):
    """Has several judges decide by the same rubric; the score is the mean of their verdicts.

    Source: Verga et al. 2024, "Replacing Judges with Juries", https://arxiv.org/abs/2404.18796.

    Args:
        rubric: what a good answer is, in words.
        judges: names of the judges; all of the run's by default.
        min_judges: how many judges suffice; by default every call must give a verdict.
        scale: "pass_fail"; a range of numbers such as "0-10"; or labels and what each is worth.
        repeats: how often each judge is asked; its verdict is the mean of its own.
        criteria: in place of ``rubric``, several with names and weights.
    """

    component_id = "builtin/panel_of_judges"
    version = "2"
    kind = "value"

    def __init__(
        self,
        *,
        rubric: str | None = None,
        judges: list[str] | None = None,
        min_judges: int | None = None,
        scale: ScaleSpec = PASS_FAIL,
        repeats: int = 1,
        criteria: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(
            rubric=rubric,
            judges=judges,
            min_judges=min_judges,
            scale=scale,
            repeats=repeats,
            criteria=criteria,
        )


class MajorityVoteJudge(_Panel):
    """Has several judges vote by the same rubric; the score is what the winning label is worth.

    The label with the most votes wins. Of labels with equally many the one that is worth least
    counts, and the details name those that tied.

    Args:
        rubric: what a good answer is, in words.
        judges: names of the judges; all of the run's by default.
        min_judges: how many judges suffice; by default every call must give a verdict.
        scale: "pass_fail"; a range of numbers such as "1-5", whose numbers are the labels; or
            labels and what each is worth.
        repeats: how often each judge is asked; its vote is its own most frequent verdict, shared
            out evenly where several are.
        criteria: in place of ``rubric``, several with names and weights, each voted on.
    """

    component_id = "builtin/majority_vote_judge"
    fold: Fold = staticmethod(majority_verdict)

    def __init__(
        self,
        *,
        rubric: str | None = None,
        judges: list[str] | None = None,
        min_judges: int | None = None,
        scale: ScaleSpec = PASS_FAIL,
        repeats: int = 1,
        criteria: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(
            rubric=rubric,
            judges=judges,
            min_judges=min_judges,
            scale=scale,
            repeats=repeats,
            criteria=criteria,
        )
        self.kind = "binary" if self.is_one_verdict else "value"
