"""Models and graphs behind the Generator and JudgeModel protocols.

Importing this package loads no library of theirs: each adapter imports its own at its first call.
An adapter says what an endpoint did (``ProviderError``) and leaves waiting, retrying and limits to
the engine.
"""

from themis.adapters.function import function
from themis.adapters.http.http_generator import http
from themis.adapters.langgraph.graph_generator import langgraph
from themis.adapters.model_apis.anthropic import anthropic, anthropic_judge
from themis.adapters.model_apis.gemini import gemini, gemini_judge
from themis.adapters.model_apis.openai_compatible import openai, openai_judge, vllm, vllm_judge

__all__ = [
    "anthropic",
    "anthropic_judge",
    "function",
    "gemini",
    "gemini_judge",
    "http",
    "langgraph",
    "openai",
    "openai_judge",
    "vllm",
    "vllm_judge",
]
