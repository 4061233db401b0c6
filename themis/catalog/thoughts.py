"""A model's thoughts, as they stand in its answer, are no part of it.

An endpoint that does not part the two leaves them in the text: a number or a letter that the model
weighed would be read as what it said. One rule, for parsers and for judges' answers alike; what a
thought looks like is data.

Sources: the chat templates of DeepSeek-R1 and Qwen3 (``<think>``), Magistral (``[THINK]``),
OpenThinker (``<|begin_of_thought|>``), Command A (``<|START_THINKING|>``) and Seed-OSS
(``<seed:think>``), the model card of MedGemma (``<unused94>``); the prompts that ask for
``<reasoning>``, ``<thinking>``, ``<analysis>`` or ``<scratchpad>``; OpenAI's harmony format
for gpt-oss, whose channel "final" is the answer:
https://cookbook.openai.com/articles/openai-harmony.
"""

from __future__ import annotations

import re
from typing import Literal

from themis.core.errors import ParseError

Thoughts = Literal["drop", "keep"]
"""Whether thoughts are left out of what is read."""
_NAMES = r"(?:seed:)?think(?:ing)?|thoughts?|reasoning|scratchpad|analysis|cot"
_NAMES += r"|(?:inner|internal)_(?:thoughts?|monologue)|chain_of_thoughts?"


def _tags(pattern: str) -> re.Pattern[str]:
    """Return an expression of tags; one in quotes is spoken of, as in code that looks for it."""
    return re.compile(rf"(?<![\"'`])(?:{pattern})|(?:{pattern})(?![\"'`])", re.IGNORECASE)


_OPEN = _tags(
    rf"<(?:{_NAMES})\s*>|\[THINK\]|<\|begin_of_thought\|>|<\|START_THINKING\|>|<unused94>|◁think▷"
)
_CLOSE = _tags(
    rf"</(?:{_NAMES})\s*>|\[/THINK\]|<\|end_of_thought\|>|<\|END_THINKING\|>|<unused95>|◁/think▷"
)
_CHANNEL = re.compile(
    r"<\|channel\|>\s*(?P<name>\w++)[^<]*+(?:<\|(?!message)[^|]*+\|>[^<]*+)?<\|message\|>"
)
_CHANNEL_END = re.compile(r"<\|(?:return|end|call|start)\|>")
_HAS_CHANNELS = re.compile(r"<\|channel\|>\s*(?:analysis|commentary|final)\b")
# The same where an endpoint dropped the special tokens between the words.
_BARE_ANALYSIS = re.compile(r"\s*analysis(?=[A-Z\"'\s])")


def without_thoughts(text: str) -> str:
    """Return an answer without the thoughts that stand in it.

    What follows the last closing tag is the answer: the templates of some models open the thought
    themselves, so that only its end stands in the text. Where nothing follows, what stands outside
    of thoughts is. A thought that was never ended is left out with all that follows it.
    """
    if _HAS_CHANNELS.search(text) is not None:
        return _final_channel(text)
    if _BARE_ANALYSIS.match(text) is not None and "assistantfinal" in text:
        return text.rpartition("assistantfinal")[2]
    if not any(mark in text for mark in "<[◁"):
        return text
    closed = list(_CLOSE.finditer(text))
    answer = text[closed[-1].end() :] if closed else text
    opened = _OPEN.search(answer)
    if opened is not None:
        answer = answer[: opened.start()]
    if closed and not answer.strip():
        answer = _outside(text)
    return answer


def answer_in(text: str) -> str:
    """Return an answer without thoughts.

    Raises:
        ParseError: it ends within a thought, or holds nothing else; reason "nothing_found".
    """
    answer = without_thoughts(text)
    if not answer.strip() and text.strip():
        raise ParseError(
            "the final output holds thoughts and no answer: it ends within them, or with them",
            reason="nothing_found",
        )
    return answer


def _final_channel(text: str) -> str:
    """Return what the channel "final" holds; nothing where the text ends before it."""
    begins = [one.end() for one in _CHANNEL.finditer(text) if one["name"] == "final"]
    if not begins:
        return ""
    end = _CHANNEL_END.search(text, begins[-1])
    return text[begins[-1] : end.start() if end else len(text)]


def _outside(text: str) -> str:
    """Return what stands before and between thoughts; an end without a beginning ends one."""
    kept: list[str] = []
    position, is_inside = 0, False
    opened = [(*one.span(), True) for one in _OPEN.finditer(text)]
    closed = [(*one.span(), False) for one in _CLOSE.finditer(text)]
    for start, end, opens in sorted([*opened, *closed]):
        if not opens:
            kept = kept if is_inside else []
            position, is_inside = end, False
        elif not is_inside:
            kept.append(text[position:start])
            is_inside = True
    return "\n".join([*kept, "" if is_inside else text[position:]])
