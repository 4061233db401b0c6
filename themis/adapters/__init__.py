"""Models and graphs behind the Generator and JudgeModel protocols.

Importing this package loads no SDK: each adapter imports its own when it is first called. An
adapter says what an endpoint did (``ProviderError``) and leaves waiting, retrying and limits to
the engine.
"""

from themis.adapters.function import function
from themis.adapters.http import http
from themis.adapters.judges import openai_judge, vllm_judge
from themis.adapters.langgraph import langgraph
from themis.adapters.openai import openai
from themis.adapters.vllm import vllm

__all__ = ["function", "http", "langgraph", "openai", "openai_judge", "vllm", "vllm_judge"]
