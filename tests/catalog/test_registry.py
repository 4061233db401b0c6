"""Ids and import paths lead to components, or to a message that says what to do.

Covers: themis.catalog, themis.catalog.component, themis.catalog.registry, themis.catalog.table
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from themis.catalog.registry import KINDS, ids, kind_of, load, make
from themis.core.config import use
from themis.core.errors import DefinitionError, UnknownComponentError

PARAMS: dict[str, dict[str, Any]] = {
    "builtin/best_at_k": {"of": "builtin/f1", "k": 2},
    "builtin/consistency": {"of": "builtin/f1"},
    "builtin/maj_at_k": {"of": "builtin/f1", "k": 2},
    "builtin/mean_at_k": {"of": "builtin/f1", "k": 2},
    "builtin/pass_at_k": {"of": "builtin/exact_match", "k": 2},
    "builtin/conversation_rubric": {"rubric": "Is it right?"},
    "builtin/llm_rubric": {"rubric": "Is it right?"},
    "builtin/majority_vote_judge": {"rubric": "Is it right?"},
    "builtin/pairwise_judge": {"rubric": "Is it right?"},
    "builtin/outputs": {"path": "outputs.jsonl"},
    "builtin/panel_of_judges": {"rubric": "Is it right?"},
    "builtin/regex": {"pattern": "x"},
    "builtin/trace/sequence": {"calls": ["search"]},
    "builtin/trace/tool_called": {"tool": "search"},
    "builtin/trace_rubric": {"rubric": "Is it right?"},
}


@pytest.fixture
def own_module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    class Shout:
        component_id = "parser/shout"
        version = "1"

        def __init__(self, mark: Any = "!") -> None:
            self.mark = mark

        def fingerprint(self) -> str:
            return f"shout{self.mark}"

        def parse(self, candidate: Any, ctx: Any) -> Any:
            return None

    module: Any = types.ModuleType("own_parts")
    module.Shout = Shout
    module.ready = Shout()
    module.number = 4
    monkeypatch.setitem(sys.modules, "own_parts", module)
    return module


@pytest.mark.parametrize("kind", KINDS)
def test_every_catalog_id_loads_and_makes_a_component_of_that_id(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("outputs.jsonl").write_text('{"case_id": "c", "output": "4"}\n')
    assert ids(kind)
    for component_id in ids(kind):
        component, params = make(use(component_id, **PARAMS.get(component_id, {})), kind)
        assert component.component_id == component_id
        path_params = getattr(component, "path_params", ())  # no part of what it is
        told = PARAMS.get(component_id, {}).items()
        assert params == {name: value for name, value in told if name not in path_params}
        assert type(component).__module__.startswith("themis.catalog")
        assert isinstance(component.fingerprint(), str)
        assert kind_of(component_id) == kind


def test_the_ids_of_all_kinds_are_listed_in_order() -> None:
    assert ids() == sorted(component_id for kind in KINDS for component_id in ids(kind))


@pytest.mark.parametrize(("name", "kind"), [("openai", "generator"), ("vllm", "generator"),
    ("langgraph", "generator"), ("openai_judge", "judge"), ("vllm_judge", "judge")])  # fmt: skip
def test_adapters_go_by_short_names(name: str, kind: Any) -> None:
    assert load(name, kind).__name__ == name


def test_an_adapters_arguments_are_checked_and_recorded_by_its_fingerprint_only() -> None:
    made, params = make(use("vllm", model="m", base_url="http://localhost:1/v1"), "generator")
    assert made.model == "m"
    assert params == {}
    with pytest.raises(DefinitionError, match="openai has no param 'modle'; did you mean 'model'"):
        make(use("openai", modle="m"), "generator")
    with pytest.raises(DefinitionError, match=r"openai needs the param 'model': use\("):
        make("openai", "generator")


def test_an_unknown_id_names_the_nearest() -> None:
    with pytest.raises(UnknownComponentError) as caught:
        make("builtin/exact_mach", "metric")
    assert caught.value.nearest == "builtin/exact_match"
    assert "no metric 'builtin/exact_mach'; did you mean 'builtin/exact_match'?" in str(
        caught.value
    )


def test_a_known_id_of_another_kind_says_so() -> None:
    with pytest.raises(DefinitionError, match=r"builtin/text is a parser, not a metric"):
        make("builtin/text", "metric")


def test_a_dotted_path_is_told_to_use_a_colon() -> None:
    with pytest.raises(UnknownComponentError, match="write 'own_parts:Shout'"):
        make("own_parts.Shout", "parser")


def test_an_import_path_resolves_with_params(own_module: Any) -> None:
    made, params = make(use("own_parts:Shout", mark="?"), "parser")
    assert made.mark == "?"
    assert params == {"mark": "?"}
    ready, _ = make("own_parts:ready", "parser")
    assert ready is own_module.ready


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("no_such_pkg.part:make", "there is no module 'no_such_pkg'"),
        ("own_parts:Shoot", "has no 'Shoot'; did you mean 'Shout'"),
        (":Shout", "is no import path"),
        ("own_parts:", "is no import path"),
    ],
)
def test_a_path_that_leads_nowhere_says_what_is_missing(
    own_module: Any, path: str, said: str
) -> None:
    with pytest.raises(UnknownComponentError, match=said):
        make(path, "parser")


def test_a_module_that_fails_while_loading_says_how(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "breaks_early.py").write_text("1 / 0\n")
    (tmp_path / "needs_more.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UnknownComponentError, match="failed with ZeroDivisionError"):
        make("breaks_early:x", "parser")
    with pytest.raises(UnknownComponentError, match="needs 'not_installed_anywhere'"):
        make("needs_more:x", "parser")


def test_what_cannot_make_a_component_is_refused(own_module: Any) -> None:
    with pytest.raises(DefinitionError, match="is a int, which makes no parser"):
        make("own_parts:number", "parser")
    with pytest.raises(DefinitionError, match="takes no params"):
        make(use("own_parts:ready", mark="?"), "parser")


def test_params_are_checked_before_anything_is_made(own_module: Any) -> None:
    with pytest.raises(DefinitionError, match="has no param 'chioces'; did you mean 'choices'"):
        make(use("builtin/choice_letter", chioces=4), "parser")
    with pytest.raises(DefinitionError, match="has no param 'x'; it takes none"):
        make(use("builtin/first", x=1), "reducer")
    with pytest.raises(DefinitionError, match="has no param 'x'; known: thoughts"):
        make(use("builtin/text", x=1), "parser")
    with pytest.raises(DefinitionError, match="needs the param 'rubric'"):
        make("builtin/llm_rubric", "metric")
    with pytest.raises(DefinitionError, match="param 'mark' is set, not a JSON value"):
        make(use("own_parts:Shout", mark={"!"}), "parser")


def test_params_of_shipped_components_enter_their_fingerprints() -> None:
    four, _ = make(use("builtin/choice_letter", choices=4), "parser")
    same, _ = make(use("builtin/choice_letter", choices=4), "parser")
    five, _ = make(use("builtin/choice_letter", choices=5), "parser")
    assert four.fingerprint() == same.fingerprint() != five.fingerprint()


class OnlyGenerates:
    component_id = "generator/own"
    version = "1"

    async def generate(self, case: Any, ctx: Any) -> Any: ...


def test_an_object_that_lacks_something_is_told_what_to_write() -> None:
    with pytest.raises(DefinitionError) as caught:
        make(OnlyGenerates(), "generator")
    assert str(caught.value) == (
        "OnlyGenerates has no fingerprint(): add a method that returns a text naming its behaviour"
    )


def test_everything_an_object_lacks_is_said_at_once() -> None:
    with pytest.raises(DefinitionError) as caught:
        make(object(), "metric")
    methods = "score() or build_workflow() or score_set()"
    for what in ("component_id", "version", "fingerprint()", methods):
        assert f"has no {what}: " in str(caught.value)


def test_an_object_of_another_kind_is_recognised() -> None:
    parser, _ = make("builtin/text", "parser")
    with pytest.raises(DefinitionError, match="it looks like a parser"):
        make(parser, "metric")


def test_a_class_in_place_of_an_object_is_pointed_out() -> None:
    with pytest.raises(DefinitionError, match=r"OnlyGenerates is a class; give an instance"):
        make(OnlyGenerates, "generator")


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        (use("builtin/demo_generator", accuracy=1.5), "generator"),
        (use("builtin/demo_generator", accuracy="high"), "generator"),
        (use("builtin/demo_generator", latency_ms=-1), "generator"),
        (use("builtin/demo_judge", pass_rate=True), "judge"),
        (use("builtin/choice_letter", choices=1), "parser"),
        (use("builtin/choice_letter", choices="AA"), "parser"),
        (use("builtin/choice_accuracy", first_index="1"), "metric"),
        (use("builtin/llm_rubric", rubric=" "), "metric"),
        (use("builtin/llm_rubric", rubric="r", scale="10-0"), "metric"),
        (use("builtin/llm_rubric", rubric="r", repeats=0), "metric"),
        (use("builtin/llm_rubric", rubric="r", repeats=2, min_judges=3), "metric"),
        (use("builtin/panel_of_judges", rubric="r", judges=[]), "metric"),
        (use("builtin/panel_of_judges", rubric="r", judges=["a", "a"]), "metric"),
        (use("builtin/best_of_n", rubric=""), "selector"),
    ],
)
def test_a_param_out_of_range_is_refused_by_name(spec: Any, kind: Any) -> None:
    with pytest.raises(DefinitionError, match=r"must be"):
        make(spec, kind)
