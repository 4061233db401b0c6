"""The options of OpenAI-compatible adapters: said once, and seen by name in every factory.

Covers: themis.adapters.model_apis.openai_compatible, themis.adapters.model_apis.options,
themis.core.config_roles
"""

from __future__ import annotations

import inspect
from typing import Any, get_type_hints

import pytest

from themis.adapters import (
    anthropic,
    anthropic_judge,
    gemini,
    gemini_judge,
    openai,
    openai_judge,
    vllm,
    vllm_judge,
)
from themis.adapters.model_apis.options import DEFAULTS, AskOptions, ModelOptions
from themis.catalog import registry
from themis.core.config import use
from themis.core.config_roles import OBJECT, SECRET
from themis.core.errors import DefinitionError

FACTORIES: list[Any] = [openai, vllm, openai_judge, vllm_judge]
OWN = {"model", "base_url", "api_key", "input_builder"}


def test_every_option_has_a_default_and_a_place_in_the_docstring() -> None:
    assert list(get_type_hints(ModelOptions)) == list(DEFAULTS)
    told = (AskOptions.__doc__ or "") + (ModelOptions.__doc__ or "")
    for name in DEFAULTS:
        assert f"    {name}: " in told


@pytest.mark.parametrize("factory", FACTORIES)
def test_the_signature_and_the_docstring_name_every_option(factory: Any) -> None:
    judges = factory in (openai_judge, vllm_judge)
    signature = inspect.signature(factory)
    assert set(signature.parameters) == OWN | set(DEFAULTS) | (
        {"structured_output"} if judges else set()
    )
    for name, default in DEFAULTS.items():
        assert signature.parameters[name].default == default
    doc = inspect.getdoc(factory) or ""
    for name in signature.parameters:
        assert f"\n    {name}: " in doc
    assert "**options" not in doc


@pytest.mark.parametrize("factory", [anthropic, anthropic_judge, gemini, gemini_judge])
def test_one_that_speaks_one_api_takes_no_mode_and_no_client(factory: Any) -> None:
    names = set(inspect.signature(factory).parameters)
    assert names >= OWN | set(get_type_hints(AskOptions))
    assert not names & {"api_mode", "client"}
    with pytest.raises(DefinitionError, match="has no argument 'api_mode'"):
        factory("m", sampling={"max_output_tokens": 1}, api_mode="responses")


@pytest.mark.parametrize("factory", FACTORIES)
def test_a_wrong_name_is_refused_with_the_nearest(factory: Any) -> None:
    with pytest.raises(
        DefinitionError, match=r"has no argument 'samplng'; did you mean 'sampling'"
    ):
        factory("m", base_url="http://h/v1", samplng={})
    with pytest.raises(DefinitionError, match="no argument 'baseurl'; did you mean 'base_url'"):
        factory("m", baseurl="http://h/v1")
    kind: registry.Kind = "judge" if factory in (openai_judge, vllm_judge) else "generator"
    with pytest.raises(DefinitionError, match=r"has no param 'strem'; did you mean 'stream'"):
        registry.make(use(factory.__name__, model="m", strem=True), kind)


@pytest.mark.parametrize("factory", FACTORIES)
def test_each_factory_declares_its_secrets_and_objects(factory: Any) -> None:
    roles = registry.config_roles(factory)
    assert {name for name, role in roles.items() if role == OBJECT} == {"client", "input_builder"}
    assert roles["api_key"] == SECRET
    assert roles["client_options"].reads_references
    assert roles["client_options"].files == ("verify",)
