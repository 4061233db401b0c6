"""OpenAI, and endpoints that speak its Responses or Chat Completions API.

The HTTP library comes with the extras and is loaded by the first call; OpenAI's SDK is not needed,
unless for a client of one's own. Conversations kept at the endpoint are not used: a sample is one
request.
"""

from __future__ import annotations

from typing import Annotated, Unpack

from themis.adapters.model_apis.api import Dialect, bearer
from themis.adapters.model_apis.chat_completions import ChatCompletionsApi
from themis.adapters.model_apis.endpoint_generator import EndpointGenerator, ModelSettings
from themis.adapters.model_apis.endpoint_judge import EndpointJudge, PromptBuilder
from themis.adapters.model_apis.options import ModelOptions, takes_options
from themis.adapters.model_apis.responses_api import ResponsesApi
from themis.adapters.prompting.input_builder import InputBuilder
from themis.core.config_roles import OBJECT, SECRET

OPENAI = Dialect(
    provider="openai",
    apis={
        "responses": ResponsesApi(takes_seed=False),
        "chat_completions": ChatCompletionsApi(cap="max_completion_tokens"),
    },
    headers=bearer,
    address="https://api.openai.com/v1",
    address_variable="OPENAI_BASE_URL",
    key_variables=("OPENAI_API_KEY",),
)
VLLM = Dialect(
    provider="vllm",
    apis={
        "responses": ResponsesApi(takes_seed=True),
        "chat_completions": ChatCompletionsApi(cap="max_tokens"),
    },
    headers=bearer,
)
NO_KEY = "EMPTY"
"""What vLLM's own documentation gives for a server that asks for no key."""


class OpenAIGenerator(EndpointGenerator):
    """Generates by asking OpenAI, or a server that speaks its API."""


class VLLMGenerator(EndpointGenerator):
    """Generates by asking a vLLM server."""


@takes_options
def openai(
    model: str,
    *,
    base_url: str | None = None,
    api_key: Annotated[str | None, SECRET] = None,
    input_builder: Annotated[InputBuilder | None, OBJECT] = None,
    **options: Unpack[ModelOptions],
) -> OpenAIGenerator:
    """Return a generator that asks an OpenAI model.

    The sample's seed is sent with Chat Completions; the Responses API takes none.

    Args:
        model: name of the model, such as "gpt-4.1-mini".
        base_url: address of the endpoint; ``OPENAI_BASE_URL``, or OpenAI's own, by default.
        api_key: its key, or ``env:NAME``; ``OPENAI_API_KEY`` by default. Never stored, never part
            of identity.
        input_builder: makes the input of a case: text, chat messages, a list of text and image
            parts, ``{"text": ..., "image": ...}``, or any other JSON value, sent as JSON text.
        **options: those of ``ModelOptions``.

    Raises:
        MissingExtraError: the extra is not installed. DefinitionError: an argument is not right.
    """
    return OpenAIGenerator(ModelSettings(OPENAI, model, base_url, api_key, input_builder, options))


@takes_options
def vllm(
    model: str,
    *,
    base_url: str,
    api_key: Annotated[str, SECRET] = NO_KEY,
    input_builder: Annotated[InputBuilder | None, OBJECT] = None,
    **options: Unpack[ModelOptions],
) -> VLLMGenerator:
    """Return a generator that asks a model served by vLLM.

    The sample's seed is sent with both APIs.

    Args:
        model: the name it is served under.
        base_url: address of the server, such as "http://localhost:8000/v1".
        api_key: what the server was started with, if anything, or ``env:NAME``. Never stored,
            never part of identity.
        input_builder: makes the input of a case, as with ``openai``.
        **options: those of ``ModelOptions``.

    Raises:
        MissingExtraError: the extra is not installed. DefinitionError: an argument is not right.
    """
    return VLLMGenerator(ModelSettings(VLLM, model, base_url, api_key, input_builder, options))


@takes_options
def openai_judge(
    model: str,
    *,
    base_url: str | None = None,
    api_key: Annotated[str | None, SECRET] = None,
    input_builder: Annotated[PromptBuilder | None, OBJECT] = None,
    structured_output: bool = False,
    **options: Unpack[ModelOptions],
) -> EndpointJudge:
    """Return a judge that asks an OpenAI model.

    Args:
        model: name of the model, such as "gpt-4.1-mini".
        base_url: address of the endpoint, as with ``openai``.
        api_key: its key, as with ``openai``.
        input_builder: makes the input of a rendered judge prompt.
        structured_output: whether the endpoint enforces JSON schemas: metrics then ask for a
            verdict in the form of one, else for a last line.
        **options: those of ``ModelOptions``.

    Raises:
        MissingExtraError: the extra is not installed. DefinitionError: an argument is not right.
    """
    settings = ModelSettings(OPENAI, model, base_url, api_key, input_builder, options)
    return EndpointJudge(settings, structured_output=structured_output)


@takes_options
def vllm_judge(
    model: str,
    *,
    base_url: str,
    api_key: Annotated[str, SECRET] = NO_KEY,
    input_builder: Annotated[PromptBuilder | None, OBJECT] = None,
    structured_output: bool = False,
    **options: Unpack[ModelOptions],
) -> EndpointJudge:
    """Return a judge that asks a model served by vLLM.

    Args:
        model: the name it is served under.
        base_url: address of the server, such as "http://localhost:8000/v1".
        api_key: what the server was started with, as with ``vllm``.
        input_builder: makes the input of a rendered judge prompt.
        structured_output: whether the endpoint enforces JSON schemas: metrics then ask for a
            verdict in the form of one, else for a last line.
        **options: those of ``ModelOptions``.

    Raises:
        MissingExtraError: the extra is not installed. DefinitionError: an argument is not right.
    """
    settings = ModelSettings(VLLM, model, base_url, api_key, input_builder, options)
    return EndpointJudge(settings, structured_output=structured_output)
