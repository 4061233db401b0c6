"""What an endpoint's answer means: one table, for every adapter, whole answers and streamed ones.

An answer is read elsewhere and asked about here: an error by ``meaning_of_error``, from its status,
its codes, the setting it names and its words; anything else by the word with which the model ended
(``reason_of``) or the state that the endpoint gives it (``meaning_of_state``). The first rule that
fits decides. Codes and words are facts of public documentation, named beside them; a code that
nobody listed is decided by its status.

What an error means for other cases is a suspicion of one answer: the engine bears it out (several
cases, and none answered), since a prompt may be refused with any status.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from themis.core.errors import ProviderError


class Meaning(Enum):
    """What an answer means, each with what becomes of it."""

    ANSWER = "scored"
    REFUSED = "a result: kept, scored by rule, not asked again"
    CUT_OFF = "a result: scored as it is, told beside the value"
    EMPTY = "a result: scored as empty, told beside the value"
    UNKNOWN = "scored as it came; the run's notes and the artifacts name the word"
    OF_ITS_CASE = "an error of its case; the next run asks again"
    PASSING = "tried again after a while; else an error of its case"
    OF_ALL = "an error of its case; stops the run once several cases met it and none was answered"
    OF_THE_ACCOUNT = "an error of its case; stops the run once several cases in a row met it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What an endpoint tells of an error, in one form.

    Attributes:
        words: its own account, in one line.
        codes: its codes and types, however they are spelled, the innermost included.
        status: HTTP's, or the number that it gives as its code.
        param: the field of the request that it complains of, such as "messages[0].content".
        begun: whether an answer had begun.
        wait: seconds after which it may be asked again, where it says so in the body.
    """

    words: str
    codes: frozenset[str] = frozenset()
    status: int | None = None
    param: str | None = None
    begun: bool = False
    wait: float | None = None


class Rule(NamedTuple):
    """A row of the table: it fits an error with one of its codes, statuses or phrases."""

    what: str
    """What kind of error it is, for people to read."""
    meaning: Meaning
    codes: frozenset[str] = frozenset()
    statuses: frozenset[int] = frozenset()
    words: re.Pattern[str] | None = None
    """Searched in the error's text, unless the status says more than a text can."""
    setting: bool = False
    """Whether it fits an error that names a setting, which all requests have in common."""
    begun: bool = False
    """Whether it fits an error in the midst of an answer."""


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _words(*phrases: str) -> re.Pattern[str]:
    return re.compile("|".join(phrases), re.IGNORECASE)


REFUSAL = "content_filter"
"""The code of a refusal, where one is to be named."""
_MODEL = r"(?:[`'\"]?[\w./:@-]{1,200}[`'\"]?\s+)?"

ERRORS: tuple[Rule, ...] = (
    # OpenAI and Azure OpenAI, "content filtering"; Moonshot, DashScope and Zhipu, "error codes".
    Rule(
        "a filter or the model's owner withholds the answer",
        Meaning.REFUSED,
        codes=_codes(
            "content_filter content_filtered content_policy_violation content_policy "
            "responsibleaipolicyviolation invalid_prompt moderation_blocked flagged_input "
            "data_inspection_failed datainspectionfailed sensitive_content content_blocked "
            "image_content_policy_violation safety_violation 1301 "
        ),
    ),
    # OpenAI, "error codes"; Azure OpenAI; DeepSeek; Mistral; Anthropic's compatible API.
    Rule(
        "the key, the account, its quota or the model's name",
        Meaning.OF_THE_ACCOUNT,
        codes=_codes(
            "invalid_api_key incorrect_api_key invalid_authentication authentication_error "
            "unauthorized account_deactivated billing_not_active billing_hard_limit_reached "
            "billing_error insufficient_quota insufficient_balance insufficient_user_quota "
            "model_not_found model_not_exist model_decommissioned "
            "deploymentnotfound organization_suspended arrearage"
        ),
    ),
    # OpenAI, llama.cpp's server ("exceed_context_size_error"), Anthropic, Google.
    Rule(
        "the prompt is too long, or is not what can be read",
        Meaning.OF_ITS_CASE,
        codes=_codes(
            "context_length_exceeded context_window_exceeded exceed_context_size_error "
            "string_above_max_length array_above_max_length request_too_large "
            "input_too_long prompt_too_long image_parse_error invalid_image invalid_image_url "
            "invalid_image_format invalid_base64_image image_too_large image_too_small "
            "failed_to_download_image json_validate_failed"
        ),
    ),
    # OpenAI, "error codes"; FastAPI's and pydantic's error types.
    Rule(
        "a setting or a parameter that is not taken there",
        Meaning.OF_ALL,
        codes=_codes(
            "unknown_parameter unsupported_parameter unsupported_value unknown_url "
            "unsupported_country_region_territory ip_not_authorized "
            "operationnotsupported model_not_supported unsupported_model unsupported_api_for_model"
        ),
    ),
    Rule(
        "it is overloaded, too slow, or failed by itself",
        Meaning.PASSING,
        codes=_codes(
            "server_error internal_error internal_server_error api_error rate_limit_exceeded "
            "rate_limit_error ratelimitreached too_many_requests overloaded overloaded_error "
            "engine_overloaded engine_overloaded_error model_overloaded service_unavailable "
            "serviceunavailable slow_down timeout timeout_error request_timeout "
            "vector_store_timeout bad_gateway unavailable"
        ),
    ),
    Rule(
        "it is overloaded, too slow, or failed by itself",
        Meaning.PASSING,
        statuses=ProviderError.RETRYABLE_STATUS,
    ),
    # Azure OpenAI, OpenAI, DeepSeek ("Content Exists Risk"), xAI, Moonshot, OpenRouter.
    Rule(
        "a filter or the model's owner withholds the answer",
        Meaning.REFUSED,
        words=_words(
            r"content management policy",
            r"flagged as potentially violating",
            r"input was flagged",
            r"rejected (?:as a result of|by) (?:our|the) safety system",
            r"content violates (?:the )?usage guidelines",
            r"content exists risk",
            r"considered (?:as )?high risk",
            r"(?:blocked|rejected|withheld|filtered) by (?:the |our )?content (?:filter|policy|m)",
        ),
    ),
    # vLLM, llama.cpp, Ollama, OpenAI, Anthropic, Mistral.
    Rule(
        "the prompt is too long, or is not what can be read",
        Meaning.OF_ITS_CASE,
        statuses=frozenset({413, 414}),
        words=_words(
            r"maximum context length",
            r"max(?:imum)?[ _](?:model|context|prompt|input)[ _](?:len|length|tokens?)",
            r"exceeds? (?:the )?(?:available |model'?s? |maximum )*context",
            r"context (?:size|window|length) (?:is |was |of )?(?:exceeded|too|limit)",
            r"(?:prompt|input|request) (?:is|was) too (?:long|large)",
            r"(?:prompt|input) (?:contains|has) too many (?:tokens|characters)",
        ),
    ),
    # OpenAI, vLLM, Ollama, DeepSeek, OpenRouter, LiteLLM, LM Studio, Azure OpenAI, Groq, Google
    # ("API key not valid"), Anthropic ("credit balance").
    Rule(
        "the key, the account, its quota or the model's name",
        Meaning.OF_THE_ACCOUNT,
        statuses=frozenset({401, 402, 407}),
        words=_words(
            rf"\bmodel:?\s+{_MODEL}(?:does not exist|doesn't exist|not exist|"
            r"(?:was |is |could )?not (?:be )?found|is unknown|has been decommissioned)",
            r"\b(?:unknown|no such|unrecognized) model\b",
            r"\binvalid model (?:id|name)\b",
            r"is not a valid model(?: id| name)?\b",
            r"\bno endpoints found for\b",
            r"\bdoes not have access to (?:the )?model\b",
            r"deployment for this resource does not exist",
            r"模型不存在",
            r"exceeded your current quota",
            r"insufficient (?:balance|credits?|quota|funds)",
            r"(?:incorrect|invalid) (?:api[ _-]?key|authentication|token)",
            r"api key (?:not valid|expired)",
            r"credit balance is too low",
        ),
    ),
    Rule(
        "the address, or that it may be asked at all",
        Meaning.OF_ALL,
        statuses=frozenset({403, 404, 405, 410, 501, 505, 511, *range(300, 400)}),
    ),
    Rule("a setting or a parameter that is not taken there", Meaning.OF_ALL, setting=True),
    Rule(
        "any other request that it does not take",
        Meaning.OF_ITS_CASE,
        statuses=frozenset(range(400, 500)),
    ),
    Rule(
        "it is overloaded, too slow, or failed by itself",
        Meaning.PASSING,
        words=_words(
            r"rate.?limit",
            r"too many requests",
            r"overloaded",
            r"at capacity",
            r"temporar(?:y|ily)",
            r"try again",
            r"timed? ?out",
            r"(?:upstream|provider|connection) \w*\s?(?:error|disconnected|reset|closed|failed)",
            r"internal (?:server )?error",
        ),
        begun=True,
    ),
    Rule("any other error in a good answer", Meaning.OF_ITS_CASE),
)
"""Tried in this order; the last fits every error."""

_TELLING = ProviderError.RETRYABLE_STATUS | {401, 402}
_MODEL_PARAM = "model"
_PARTS_OF_A_CASE = ("messages", "input", "prompt", "contents", "content", "image", "images", "text")
"""Fields of a request that differ from case to case."""


def meaning_of_error(told: Told) -> Meaning:
    """Return what an error means."""
    return rule_for(told).meaning


def rule_for(told: Told) -> Rule:
    """Return the first row that fits an error."""
    return next(rule for rule in ERRORS if _fits(rule, told))


def _fits(rule: Rule, told: Told) -> bool:
    if _plain(rule.codes) & _plain(told.codes):
        return True
    if told.status in rule.statuses:
        return True
    if rule.setting and told.status in (400, 422) and names_a_setting(told.param):
        return True
    named = rule.meaning is Meaning.OF_THE_ACCOUNT and rule.words is not None
    if named and told.status in (None, 400, 404, 422) and told.param == _MODEL_PARAM:
        return True
    said = rule.words is not None and told.status not in _TELLING
    if said and rule.words is not None and rule.words.search(told.words):
        return True
    if rule.begun and told.begun and told.status is None:
        return True
    return rule is ERRORS[-1]


@lru_cache(maxsize=256)
def _plain(codes: frozenset[str]) -> frozenset[str]:
    """Return codes in lower case without separators: ``InvalidApiKey`` is ``invalid_api_key``."""
    return frozenset(re.sub(r"[\W_]+", "", code.lower()) for code in codes)


def names_a_setting(param: str | None) -> bool:
    """Return whether a field of a request has the same value in all requests of a run."""
    if not param:
        return False
    first = re.split(r"[.\[]", param.removeprefix("body."), maxsplit=1)[0]
    return first not in _PARTS_OF_A_CASE and re.fullmatch(r"[A-Za-z_]\w*", first) is not None


# ── how answers end ───────────────────────────────────────────────────────────────────────────────


class Reason(NamedTuple):
    """Why an answer ended."""

    word: str
    """As Themis calls it; the endpoint's own where it is not known."""
    meaning: Meaning


_STOP = Reason("stop", Meaning.ANSWER)
_CALLS = Reason("tool_calls", Meaning.ANSWER)
_LENGTH = Reason("length", Meaning.CUT_OFF)
_FILTER = Reason("content_filter", Meaning.REFUSED)
_FAILED = Reason("error", Meaning.PASSING)

REASONS: Mapping[str, Reason] = {
    # OpenAI; Anthropic; Hugging Face's TGI (eos_token, stop_sequence); Cohere (complete).
    **dict.fromkeys(
        ("stop", "end_turn", "eos", "eos_token", "stop_sequence", "complete", "completed"), _STOP
    ),
    # OpenAI, before and now; Anthropic; Cohere.
    **dict.fromkeys(("tool_calls", "tool_call", "function_call", "tool_use"), _CALLS),
    # OpenAI, both APIs; Mistral (model_length); Anthropic (the window); Bedrock; Cohere.
    **dict.fromkeys(
        (
            "length", "max_output_tokens", "max_tokens", "max_length", "max_new_tokens",
            "model_length", "model_context_window_exceeded", "context_window_exceeded",
            "context_length_exceeded", "context_length", "token_limit", "error_limit",
        ),
        _LENGTH,
    ),
    "refusal": Reason("refusal", Meaning.REFUSED),
    # OpenAI, and the words of Gemini (the most of these), Bedrock (content_filtered and
    # guardrail_intervened), Cohere (error_toxic) and Zhipu (sensitive).
    **dict.fromkeys(
        (
            "content_filter", "content_filtered", "blocklist", "prohibited_content", "recitation",
            "safety", "spii", "image_safety", "image_prohibited_content", "image_recitation",
            "jailbreak", "model_armor", "guardrail_intervened", "error_toxic", "sensitive",
        ),
        _FILTER,
    ),
    # OpenRouter (error); DeepSeek (insufficient_system_resource); Zhipu (network_error).
    **dict.fromkeys(
        (
            "error", "server_error", "internal_error", "engine_error", "network_error", "failed",
            "insufficient_system_resource",
        ),
        _FAILED,
    ),
}  # fmt: skip
"""By an endpoint's word for why an answer ended, in lower case: finish, stop or incomplete."""

STATES: Mapping[str, Meaning] = {
    "completed": Meaning.ANSWER,
    "failed": Meaning.PASSING,
    "cancelled": Meaning.PASSING,
    # An answer that is not over, or does not say why it is: told, where it holds anything at all.
    "in_progress": Meaning.UNKNOWN,
    "queued": Meaning.UNKNOWN,
    "incomplete": Meaning.UNKNOWN,
}
"""By ``status`` of the Responses API."""


def reason_of(said: object) -> Reason | None:
    """Return the reason that an endpoint's word stands for; None where it gave none."""
    if not isinstance(said, str) or not said.strip():
        return None
    word = said.strip().lower().replace("-", "_")
    return REASONS.get(word) or Reason(word, Meaning.UNKNOWN)


def meaning_of_state(state: object) -> Meaning | None:
    """Return what the state of a response means; None where it gives none."""
    if not isinstance(state, str) or not state:
        return None
    return STATES.get(state, Meaning.UNKNOWN)


def told_reason(reason: Reason | None) -> str | None:
    """Return what a run should tell of a reason that is not known; None for any other."""
    if reason is None or reason.meaning is not Meaning.UNKNOWN:
        return None
    return (
        f"answers ended with '{reason.word}', which is not known here: they are scored as they "
        "came, and may not be whole"
    )
