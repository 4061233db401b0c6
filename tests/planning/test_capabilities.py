"""What components declare is read once, and refused in one line where it is of another type.

Covers: themis.planning.capabilities
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pytest

from tests.execution.stages.test_score_set import Spread
from tests.support.runs import experiment
from themis import use
from themis.core.errors import DefinitionError
from themis.core.prompts import PromptSpec
from themis.core.snapshot import MetricFacts
from themis.planning.capabilities import Capabilities, Role, read_capabilities
from themis.testing.scripted import (
    CountingMetric,
    CountingParser,
    ScriptedGenerator,
    ScriptedJudge,
)


class Bare:
    """Has what every component must have, and what it is given."""

    component_id = "mine"
    version = "1"

    def __init__(self, **declared: Any) -> None:
        vars(self).update(declared)

    def fingerprint(self) -> str:
        return "f"

    def score(self) -> None: ...


_FOLDING = {"score_set": print, "of": "other"}
_JUDGED = {"build_workflow": print}
_FLAGS = ["yes", 1, None]
_TEXTS = [5, ["a"], b"a"]
_COUNTS = [0, -1, 2.0, True, "7"]
_METHODS = [5, "call", ()]
_MAPPINGS = [5, "a", [("a", 1)]]
WRONG: dict[str, tuple[Role, Mapping[str, Any], list[Any], str]] = {
    "component_id": ("parser", {}, ["", 5, None, "a\nb"], "a non-empty text on one line"),
    "version": ("judge", {}, ["", 2, None], "a non-empty text on one line"),
    "reuse_across_runs": ("generator", {}, _FLAGS, "True or False"),
    "fingerprinted": ("parser", {}, _MAPPINGS, "a mapping"),
    "users_function": ("generator", {}, _METHODS, "a method"),
    "made_elsewhere": ("generator", {}, _TEXTS, "a text"),
    "aopen": ("judge", {}, _METHODS, "a method"),
    "aclose": ("selector", {}, _METHODS, "a method"),
    "provider_key": ("generator", {}, _TEXTS, "a text"),
    "model": ("judge", {}, _TEXTS, "a text"),
    "base_url": ("generator", {}, [*_TEXTS, object()], "a text"),
    "max_output_tokens": ("generator", {}, _COUNTS, "an integer of at least 1"),
    "estimate_tokens": ("judge", {}, _METHODS, "a method"),
    "max_prompt_tokens": ("generator", {}, _METHODS, "a method"),
    "sampling": ("generator", {}, _MAPPINGS, "a mapping"),
    "request": ("generator", {}, _METHODS, "a method"),
    "structured_output": ("judge", {}, _FLAGS, "True or False"),
    "cpu_bound": ("parser", {}, _FLAGS, "True or False"),
    "cpu_bound_over": ("parser", {}, _COUNTS, "an integer of at least 1"),
    "cpu_timeout": ("metric", {}, [0, -1.0, True, float("inf"), "5"], "seconds above 0"),
    "reads_parsed": ("reducer", {}, _FLAGS, "True or False"),
    "judges_needed": ("selector", {}, _METHODS, "a method"),
    "check_samples": ("metric", _JUDGED, _METHODS, "a method"),
    "check_prompt": ("metric", _JUDGED, _METHODS, "a method"),
    "k": ("metric", _FOLDING, _COUNTS, "an integer of at least 1"),
    "of_kind": ("metric", _FOLDING, ["bool", 5], "one of binary, value"),
    "aggregate": ("metric", {}, _METHODS, "a method"),
    "additive": ("metric", {}, _FLAGS, "True or False"),
    "reads": ("selector", {}, [5, True], "a set of expected_output, input, metadata"),
    "kind": ("metric", {}, ["bool", 5, None], "one of binary, value"),
    "value_range": ("metric", {}, [5, "01", (1, 0), ("a", "b")], "two finite numbers"),
    "higher_is_better": ("metric", {}, _FLAGS, "True or False"),
    "unit": ("metric", {}, _TEXTS, "a text"),
    "unparsed": ("metric", {}, ["skip", None], "one of incorrect, error"),
    "subject": ("metric", {}, ["all", None, ["trace"]], "one of candidate, "),
    "scores_refusals": ("metric", {}, _FLAGS, "True or False"),
    "scores_empty": ("metric", {}, _FLAGS, "True or False"),
    "why_unequal": ("metric", {}, _METHODS, "a method"),
    "corpus_signature": ("metric", {}, [*_TEXTS, "", "two\nlines"], "a non-empty text on one line"),
    "of": ("metric", {"score_set": print}, ["", 5, None], "must name the metric"),
}
FOUND = {"facts", "own_facts", "judged", "corpus"}
"""What follows from the declarations, and is none."""


def test_the_table_has_everything_that_is_declared() -> None:
    declared = {one.name for one in fields(Capabilities)} | set(MetricFacts.model_fields)
    assert declared - FOUND == WRONG.keys() - {"component_id", "version"}


@pytest.mark.parametrize("attribute", WRONG)
def test_an_attribute_of_the_wrong_type_is_refused_by_name(attribute: str) -> None:
    role, beside, values, wanted = WRONG[attribute]
    for value in values:
        component = Bare(**{**beside, attribute: value})
        with pytest.raises(DefinitionError) as refused:
            read_capabilities(component, role, "field[0]")
        said = str(refused.value)
        assert said.startswith(f"field[0]: Bare.{attribute} is {' '.join(repr(value).split())}; it")
        assert wanted in said
        assert "\n" not in said


def test_an_attribute_that_means_nothing_for_a_role_is_the_components_own_business() -> None:
    own = {"model": 5, "unit": 5, "k": "all", "request": 5, "cpu_bound": "yes", "judges_needed": 5}
    assert read_capabilities(Bare(**own), "reducer", "reducer") == Capabilities()
    of_metrics = {"model": object, "k": "all", "judges_needed": 5, "of": 5, "sampling": 5}
    read_capabilities(Bare(**of_metrics), "metric", "metrics[0]")


def test_a_generator_may_keep_its_own_model_and_sampling_parameters() -> None:
    own = read_capabilities(Bare(model=object(), sampling=object()), "generator", "generator")
    assert (own.model, own.sampling) == (None, None)
    named = read_capabilities(Bare(model="m", sampling={"seed": 1}), "generator", "generator")
    assert (named.model, named.sampling) == ("m", {"seed": 1})


def test_a_declaration_that_raises_is_refused_by_name() -> None:
    class Raising(Bare):
        @property
        def max_output_tokens(self) -> int:
            raise RuntimeError("no settings")

    with pytest.raises(DefinitionError, match=r"Raising\.max_output_tokens raised RuntimeError"):
        read_capabilities(Raising(), "generator", "generator")


class _Asked:
    """Counts how often a component's fingerprint is asked."""

    asked = 0

    def fingerprint(self) -> str:
        self.asked += 1
        return "f"


class AskedGenerator(_Asked, ScriptedGenerator):
    reads = frozenset({"input"})


class AskedParser(_Asked, CountingParser): ...


class AskedMetric(_Asked, CountingMetric): ...


class AskedSpread(_Asked, Spread): ...


class AskedJudge(_Asked, ScriptedJudge): ...


METRIC = AskedMetric(component_id="with its own parser")


def test_each_components_fingerprint_is_asked_once() -> None:
    parser = AskedParser()
    components: list[Any] = [AskedGenerator(), parser, METRIC]
    components += [AskedMetric(component_id=Spread.of), AskedSpread(), AskedJudge()]
    generator, _, _, *metrics, judge = components
    METRIC.asked = 0
    metric = use(f"{__name__}:METRIC", parser=parser)
    compiled = experiment(
        generator,
        metrics=[*metrics, metric],
        parser=parser,
        judges=[judge],
        samples=3,
        prompt=PromptSpec(template="{{ metadata }}"),
    ).compile()
    assert [one.asked for one in components] == [1] * len(components)
    assert len(compiled.identity.parsers) == 1
    assert compiled.identity.generator.reads == ["input", "metadata"]
