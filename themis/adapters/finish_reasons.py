"""Why an answer ended, in one vocabulary: stop, length, tool_calls, content_filter, refusal.

Endpoints and chat models have words of their own for it. Words that are not known here are kept as
they are; what follows from a reason is not decided here.
"""

from __future__ import annotations

_WORDS = {
    "end_turn": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "function_call": "tool_calls",
    "max_output_tokens": "length",
    "max_tokens": "length",
    "model_length": "length",
    "prohibited_content": "content_filter",
    "recitation": "content_filter",
    "safety": "content_filter",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
}


def finish_reason_of(said: object) -> str | None:
    """Return the reason that an endpoint's word stands for; None where it said none."""
    if not isinstance(said, str) or not said:
        return None
    word = said.lower()
    return _WORDS.get(word, word)
