"""What answers of endpoints mean: each is sent over a real socket, read by the real adapters.

    python -m benchmarks.meanings        # what each answer is taken for
    python -m benchmarks.meanings docs   # the table of docs/generators.md

A row is one answer. It is given as Chat Completions and as the Responses API have it, whole and
streamed, and as a product's JSON to ``http``; the table says what became of it in each. An answer
that has no form in one of them has a dash there. ``tests/endpoints/test_meanings.py`` holds the
adapters to it. The shapes are those of public documentation and of reports of what servers send.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.endpoint import Asked, Endpoint, Reply
from themis.adapters import http, openai
from themis.adapters.transport.meanings import (
    ERRORS,
    REASONS,
    STATES,
    Meaning,
    Told,
    meaning_of_error,
)
from themis.core.base import CaseId, CaseKey, DatasetId, RunId
from themis.core.contexts import GenerateContext
from themis.core.endings import ending_of, note_in
from themis.core.errors import ProviderError
from themis.core.models import Case, GenerationResult

WAYS = ("chat", "chat streamed", "responses", "responses streamed", "http")
_HTTP = "http"
_PAGE = {"content-type": "text/html"}
_OF_ENDING = {
    "refused": Meaning.REFUSED,
    "truncated": Meaning.CUT_OFF,
    "empty": Meaning.EMPTY,
}


@dataclass(frozen=True, kw_only=True)
class Given:
    """One answer of an endpoint, and what it means.

    Attributes:
        name: of it, for people.
        means: what it means; of single ways too, where these differ.
        status: of the answer.
        body: of an error: the same for all ways.
        chat: as Chat Completions have it, whole.
        responses: as the Responses API has it, whole.
        chunks: as Chat Completions stream it, where that is not made of ``chat``.
        events: as the Responses API streams it, where that is not made of ``responses``.
        done: whether a stream comes to its end.
        headers: of the answer.
        says: what the message of an error holds.
        differs: what it means in single ways.
        text: what the output must be, where it is an answer.
    """

    name: str
    means: Meaning
    status: int = 200
    body: Any = None
    chat: Any = None
    responses: Any = None
    chunks: list[Any] | None = None
    events: list[Any] | None = None
    done: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)
    says: str = ""
    differs: Mapping[str, Meaning] = field(default_factory=dict)
    text: Any = None

    def sent(self, way: str) -> bytes | None:
        """Return the bytes that are sent in a way; None where it has no form in it."""
        if self.body is not None:
            return _bytes(self.body)
        is_whole = self.status != 200 or not way.endswith("streamed")
        if is_whole:
            whole = self.responses if way.startswith("responses") else self.chat
            return None if whole is None else _bytes(whole)
        if way == "chat streamed":
            made = self.chunks
            if made is None and isinstance(self.chat, dict):
                made = _chunks(self.chat)
            return None if made is None else _stream(made, done=self.done)
        events = self.events
        if events is None and isinstance(self.responses, dict):
            events = _events(self.responses)
        return None if events is None else _stream(events, done=False)

    def meaning_in(self, way: str) -> Meaning:
        """Return what it means in a way."""
        return self.differs.get(way, self.means)


# ── shapes ────────────────────────────────────────────────────────────────────────────────────────


def chat(text: Any, finish: str | None = "stop", **message: Any) -> dict[str, Any]:
    """Return a whole answer of Chat Completions."""
    said = {"role": "assistant", "content": text, **message}
    choice = {"index": 0, "finish_reason": finish, "message": said}
    return {"id": "c1", "object": "chat.completion", "model": "m", "choices": [choice]}


def response(*items: Any, status: str = "completed", **more: Any) -> dict[str, Any]:
    """Return a whole answer of the Responses API."""
    output = [message(one) if isinstance(one, str) else one for one in items]
    return {"id": "r1", "object": "response", "status": status, "output": output, **more}


def message(text: str, **more: Any) -> dict[str, Any]:
    """Return a message of the Responses API."""
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "role": "assistant", "content": [part], **more}


def cut_short(reason: str | None, *items: Any) -> dict[str, Any]:
    """Return an incomplete answer of the Responses API."""
    why = None if reason is None else {"reason": reason}
    return response(*items, status="incomplete", incomplete_details=why)


def said(text: str, **more: Any) -> dict[str, Any]:
    """Return an error as OpenAI words it."""
    return {"error": {"message": text, "type": "invalid_request_error", **more}}


def _chunks(whole: dict[str, Any]) -> list[Any]:
    head = {name: value for name, value in whole.items() if name != "choices"}
    choices = whole.get("choices")
    if not choices:
        return [whole]
    made = []
    for choice in choices:
        more = {k: v for k, v in choice.items() if k not in ("message", "finish_reason", "index")}
        given = dict(choice.get("message") or {})
        if "tool_calls" in given:
            calls = enumerate(given["tool_calls"])
            given["tool_calls"] = [{"index": number, **call} for number, call in calls]
        piece = {"index": 0, "delta": given, "finish_reason": None}
        last = {"index": 0, "delta": {}, "finish_reason": choice.get("finish_reason"), **more}
        made += [{**head, "choices": [piece]}, {**head, "choices": [last]}]
    return made


def _events(whole: dict[str, Any]) -> list[Any]:
    begun = {**whole, "status": "in_progress", "output": []}
    last = whole.get("status")
    kind = last if last in ("failed", "incomplete", "cancelled") else "completed"
    return [
        {"type": "response.created", "response": begun},
        {"type": f"response.{kind}", "response": whole},
    ]


def _stream(events: list[Any], *, done: bool) -> bytes:
    lines = b"".join(b"data: " + _bytes(one) + b"\n\n" for one in events)
    return lines + (b"data: [DONE]\n\n" if done else b"")


def _bytes(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


# ── the answers ───────────────────────────────────────────────────────────────────────────────────

_CALL = {"id": "x1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
_ITEM = {"type": "function_call", "call_id": "x1", "name": "add", "arguments": '{"a": 1}'}
_CALLED = [{"name": "add", "arguments": {"a": 1}}]
_AZURE = {
    "error": {
        "message": "The response was filtered", "type": None, "param": "prompt", "code": "400",
        "innererror": {"code": "ResponsibleAIPolicyViolation"},
    }
}  # fmt: skip
_BROKEN = {"code": 502, "message": "provider disconnected"}
_FASTAPI = {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}
_MISTRAL = {"object": "error", "message": _FASTAPI, "type": "invalid_request_error"}
_FLAGGED = {
    "error": {
        "code": 403, "message": "Your input was not let through",
        "metadata": {"reasons": ["violence"], "flagged_input": "poison"},
    }
}  # fmt: skip
_UPSTREAM = {"error": {"message": "Provider returned error", "metadata": {"raw": "GPU is full"}}}
_BLOCKED = "<!DOCTYPE html><html><head><title>Attention Required!</title></head><p>no</html>"
_A, _R, _C, _E = Meaning.ANSWER, Meaning.REFUSED, Meaning.CUT_OFF, Meaning.EMPTY
_U, _O, _P = Meaning.UNKNOWN, Meaning.OF_ITS_CASE, Meaning.PASSING
_ALL, _ACC = Meaning.OF_ALL, Meaning.OF_THE_ACCOUNT


def _ended(word: str, means: Meaning, *, responses: Any = None, text: Any = None) -> Given:
    return Given(
        name=f"ended with '{word}'", means=means, chat=chat("4", word), responses=responses,
        text=text,
    )  # fmt: skip


def _status(status: int, means: Meaning, body: Any = "", says: str = "", **more: Any) -> Given:
    name = more.pop("name", f"{status}")
    return Given(name=name, means=means, status=status, body=body, says=says, **more)


ANSWERS: tuple[Given, ...] = (
    # Answers, and how they end.
    _ended("stop", _A, responses=response("4"), text="4"),
    _ended("end_turn", _A, text="4"),
    _ended("eos_token", _A, text="4"),
    Given(name="no reason given", means=_A, chat=chat("4", None), responses=response("4"),
          differs={"chat streamed": _P}),
    Given(name="tool calls without text", means=_A, text=_CALLED,
          chat=chat(None, "tool_calls", tool_calls=[_CALL]), responses=response(_ITEM)),
    Given(name="tool calls beside text", means=_A, text="See:",
          chat=chat("See:", "tool_calls", tool_calls=[_CALL]), responses=response("See:", _ITEM)),
    Given(name="a thought in a field of its own", means=_A, text="4",
          chat=chat("4", reasoning_content="3 and 1"),
          responses=response({"type": "reasoning", "summary": [{"text": "3 and 1"}]}, "4")),
    Given(name="a thought as a part of the content", means=_A, text="4",
          chat=chat([{"type": "thinking", "thinking": [{"type": "text", "text": "3 and 1"}]},
                     {"type": "text", "text": "4"}])),
    Given(name="commentary before the final answer", means=_A, text="4",
          responses=response(message("Adding.", phase="commentary"),
                             message("4", phase="final_answer"))),
    _ended("length", _C, responses=cut_short("max_output_tokens", "4"), text="4"),
    _ended("max_tokens", _C, responses=cut_short("max_tokens", "4")),
    _ended("model_length", _C),
    _ended("model_context_window_exceeded", _C,
           responses=cut_short("model_context_window_exceeded", "4")),
    _ended("MAX_TOKENS", _C),
    _ended("content_filter", _R, responses=cut_short("content_filter", "4")),
    _ended("SAFETY", _R),
    _ended("guardrail_intervened", _R),
    _ended("refusal", _R),
    Given(name="a refusal as a field", means=_R, text="No.", chat=chat(None, refusal="No."),
          responses=response({"type": "message", "role": "assistant",
                              "content": [{"type": "refusal", "refusal": "No."}]})),
    Given(name='content ""', means=_E, chat=chat(""), responses=response("")),
    Given(name="content null", means=_E, chat=chat(None), responses=response()),
    Given(name="content of blanks", means=_E, chat=chat(" \n"), responses=response(" \n")),
    Given(name="no content at all", means=_E, responses=response({"type": "message"}),
          chat={"choices": [{"index": 0, "finish_reason": "stop",
                             "message": {"role": "assistant"}}]}),
    _ended("abort", _U, text="4"),
    _ended("pause_turn", _U, responses=cut_short("pause_turn", "4")),
    Given(name="status in_progress", means=_U, text="4",
          responses=response("4", status="in_progress")),
    Given(name="status incomplete, no reason", means=_U, text="4", responses=cut_short(None, "4")),
    Given(name="status queued, nothing there", means=_P, says="'queued'",
          responses=response(status="queued")),
    Given(name="status cancelled", means=_P, says="'cancelled'",
          responses=response("4", status="cancelled")),
    Given(name="status failed", means=_P, says="it broke",
          responses=response("4", status="failed",
                             error={"code": "server_error", "message": "it broke"})),
    # Failures that are told in a good answer.
    Given(name="ended with 'error'", means=_P, chat=chat("4", "error"), says="'error'"),
    Given(name="ended with 'insufficient_system_resource'", means=_P,
          chat=chat("4", "insufficient_system_resource")),
    Given(name="an error in the choice", means=_P, says="provider disconnected",
          chat={"choices": [{**chat("4", "error")["choices"][0], "error": _BROKEN}]}),
    Given(name="an error of the server in a 200", means=_P, says="it broke",
          chat=said("it broke", code="server_error"),
          responses=response(error={"code": "server_error", "message": "it broke"}),
          chunks=[said("it broke", code="server_error")],
          events=[{"type": "error", "code": "server_error", "message": "it broke"}]),
    Given(name="a rate limit in a 200, no code", means=_P, says="Rate limit",
          chat={"error": "Rate limit reached"}, responses={"error": "Rate limit reached"},
          chunks=[{"error": "Rate limit reached"}], events=[{"error": "Rate limit reached"}]),
    Given(name="invalid_prompt in a 200", means=_R, chat=said("flagged", code="invalid_prompt"),
          responses=response(status="failed",
                             error={"code": "invalid_prompt", "message": "flagged"}),
          chunks=[said("flagged", code="invalid_prompt")], text="flagged"),
    Given(name="an unknown model in a 200", means=_ACC, says="'m' not found",
          chat={"error": {"message": "model 'm' not found"}},
          responses={"error": {"message": "model 'm' not found"}},
          chunks=[{"error": {"message": "model 'm' not found"}}],
          events=[{"type": "error", "message": "model 'm' not found"}]),
    Given(name="a stream that ends without its end", means=_P, done=False,
          chunks=[{"choices": [{"index": 0, "delta": {"content": "4"}}]}],
          events=[{"type": "response.output_text.delta", "delta": "4"}]),
    Given(name="an error amid a stream", means=_P, says="lost",
          chunks=[{"choices": [{"index": 0, "delta": {"content": "4"}}]},
                  {"error": {"message": "lost", "code": "x"}}],
          events=[{"type": "response.output_text.delta", "delta": "4"},
                  {"type": "error", "message": "lost"}]),
    Given(name="a filter amid a stream", means=_R,
          chunks=[{"choices": [{"index": 0, "delta": {"content": "4"}}]},
                  said("withheld", code="content_filter")],
          events=[{"type": "response.output_text.delta", "delta": "4"},
                  {"type": "error", "code": "content_filter", "message": "withheld"}]),
    Given(name="no choices, no output", means=_P, chat={"choices": []}, responses={"id": "r"},
          chunks=[{"choices": []}], differs={_HTTP: _ALL}),
    Given(name="a page of HTML", means=_P, body=_BLOCKED, says="Attention Required!",
          headers=_PAGE),
    Given(name="half of a JSON", means=_P, body=b'{"id": "cut", "choi'),
    # Refusals that come as an error.
    _status(400, _R, said("filtered", code="content_filter"), name="400 content_filter",
            text="filtered"),
    _status(400, _R, _AZURE, name="400 ResponsibleAIPolicyViolation within"),
    _status(400, _R, said("flagged", code="invalid_prompt"), name="400 invalid_prompt"),
    _status(400, _R, said("Content Exists Risk"), name="400 'Content Exists Risk'"),
    _status(403, _R, _FLAGGED, name="403 with what was flagged"),
    Given(name="400 with a whole answer", means=_R, status=400,
          chat=chat("", "content_filter"), responses=cut_short("content_filter")),
    # One case's own errors.
    _status(400, _O, said("This model's maximum context length is 8 tokens."), "maximum context",
            name="400 context, in words"),
    _status(400, _O, said("too long", code="context_length_exceeded"), "too long",
            name="400 context_length_exceeded"),
    _status(400, _O, {"error": {"message": "too big", "type": "exceed_context_size_error"}},
            "too big", name="400 exceed_context_size_error"),
    _status(400, _O, {"message": "no"}, "400: no", name="400, message"),
    _status(400, _O, {"errors": [{"message": "one"}, "two"]}, "one; two", name="400, errors"),
    _status(400, _O, {"title": "Bad input", "detail": "a tab in it"}, "Bad input: a tab in it",
            name="400, title and detail"),
    _status(413, _O, "<html><head><title>413 Too Large</title></head></html>", "413 Too Large",
            headers=_PAGE),
    _status(422, _O, {"detail": [{"loc": ["body", "messages", 0], "msg": "bad role"}]},
            "body.messages.0: bad role", name="422 about a message"),
    # Outages worth another try.
    *(_status(status, _P, f"error code: {status}", str(status))
      for status in (408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 525, 526,
                     527, 529, 530)),
    _status(500, _P, _UPSTREAM, "GPU is full", name="500 with what is behind it"),
    _status(503, _P, {"error": "Service Unavailable", "message": "loading"}, "Unavailable",
            name="503, error as text"),
    _status(400, _P, said("busy", code="engine_overloaded"), name="400 engine_overloaded"),
    # Outages that all cases share.
    _status(401, _ACC, {"detail": "Not authenticated"}, "Not authenticated", name="401, detail"),
    _status(402, _ACC, said("pay"), "pay"),
    _status(429, _ACC, said("pay", code="insufficient_quota"), name="429 insufficient_quota"),
    _status(404, _ACC, {"error": "model 'm' not found, try pulling it first"}, "try pulling",
            name="404 model, error as text"),
    _status(404, _ACC, said("gone", code="model_not_found"), name="404 model_not_found"),
    _status(400, _ACC, said("Model Not Exist"), name="400 'Model Not Exist'"),
    _status(400, _ACC, said("m is not a valid model ID"), name="400 'is not a valid model ID'"),
    _status(403, _ALL, _BLOCKED, "Attention Required!", name="403, a firewall's page",
            headers=_PAGE),
    _status(404, _ALL, {"detail": "Not Found"}, "is the address right?", name="404, no such path"),
    _status(405, _ALL, {"detail": "Method Not Allowed"}, "is the address right?"),
    _status(501, _ALL, "no"),
    _status(302, _ALL, "", "a redirect to", headers={"location": "http://elsewhere/v1"}),
    _status(400, _ALL, said("no", code="unsupported_parameter"), name="400 unsupported_parameter"),
    _status(400, _ALL, said("no", code="unsupported_value", param="temperature"),
            name="400 unsupported_value"),
    _status(400, _ALL, said("no", param="top_p"), name="400 about a setting"),
    _status(422, _ALL, _MISTRAL, "body.seed: Extra inputs", name="422 a seed is not permitted"),
)  # fmt: skip


# ── asking ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Became:
    """What became of an answer in one way."""

    given: Given
    way: str
    meaning: Meaning
    said: str
    """The output, or the error's message."""
    output: Any = None
    result: GenerationResult | None = None


def asked() -> Iterator[Became]:
    """Yield what becomes of each answer in each way in which it has a form."""
    return iter(asyncio.run(_asked()))


async def _asked() -> list[Became]:
    found = []
    sent: dict[str, tuple[Given, bytes]] = {}

    def script(one: Asked) -> Reply:
        given, body = sent["now"]
        kind = "text/event-stream" if body.startswith(b"data:") else "application/json"
        headers = {name: value for name, value in given.headers.items() if name != "content-type"}
        kind = given.headers.get("content-type", kind)
        return Reply(status=given.status, body=body, content_type=kind, headers=headers)

    with Endpoint(script) as endpoint:
        models = {way: _model(way, endpoint.url) for way in WAYS}
        for given in ANSWERS:
            for way, model in models.items():
                body = given.sent(way)
                if body is not None:
                    sent["now"] = given, body
                    found.append(await _became(given, way, model))
        for model in models.values():
            await model.aclose()
    return found


def _model(way: str, url: str) -> Any:
    if way == _HTTP:
        return http(
            f"{url}/product", body={"q": "{{ input }}"}, answer="choices[0].message.content",
            finish_reason="choices[0].finish_reason",
        )  # fmt: skip
    mode = "responses" if way.startswith("responses") else "chat_completions"
    return openai("m", base_url=url, api_key="k", api_mode=mode, stream=way.endswith("streamed"))


async def _became(given: Given, way: str, model: Any) -> Became:
    case = Case(case_id="c", input="1+3")
    context = GenerateContext(
        run_id=RunId("r"),
        case_id=CaseId("c"),
        dataset_id=DatasetId("d"),
        case_key=CaseKey("k"),
        seed=1,
    )
    try:
        result: GenerationResult = await model.generate(case, context)
    except ProviderError as error:
        return Became(given=given, way=way, meaning=_of_error(error), said=str(error))
    ending = ending_of(result.final_output, result.artifacts)
    if ending is not None:
        meaning = _OF_ENDING[ending.category]
    else:
        meaning = Meaning.UNKNOWN if note_in(result.artifacts) else Meaning.ANSWER
    return Became(
        given=given, way=way, meaning=meaning, said=str(result.final_output),
        output=result.final_output, result=result,
    )  # fmt: skip


def _of_error(error: ProviderError) -> Meaning:
    if error.confirm is not None:
        return {"in_a_row": Meaning.OF_THE_ACCOUNT}.get(error.confirm, Meaning.OF_ALL)
    return Meaning.PASSING if error.retryable else Meaning.OF_ITS_CASE


# ── telling ───────────────────────────────────────────────────────────────────────────────────────


def documented() -> str:
    """Return the table of meanings as the documentation has it."""
    head = ("It means", "Ended with, or of the state", "Statuses", "Codes", "What becomes of it")
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for meaning in Meaning:
        ends = [word for word, reason in REASONS.items() if reason.meaning is meaning]
        ends += [word for word, state in STATES.items() if state is meaning and word not in ends]
        rules = [rule for rule in ERRORS if rule.meaning is meaning]
        codes = sorted({code for rule in rules for code in rule.codes})
        statuses = sorted({status for rule in rules for status in rule.statuses})
        own = [one for one in statuses if _deciding(one) is meaning]
        cells = (
            meaning.name.lower().replace("_", " "),
            _listed(ends) or _OTHERWISE.get(meaning, ""),
            ", ".join(_ranges(own)),
            _listed(codes),
            meaning.value,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


_OTHERWISE = {Meaning.EMPTY: 'no text: null, missing, `""` or blank, and no tool calls'}


def _deciding(status: int) -> Meaning:
    return meaning_of_error(Told(words="", status=status))


def _listed(words: list[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _ranges(numbers: list[int]) -> Iterator[str]:
    """Yield numbers, those in a row as a range."""
    begin = 0
    for at, number in enumerate(numbers):
        if at + 1 == len(numbers) or numbers[at + 1] != number + 1:
            first = numbers[begin]
            yield f"{first}" if first == number else f"{first}-{number}"
            begin = at + 1


def main() -> int:
    """Print the table; return 1 where an answer is not taken for what it means."""
    if sys.argv[1:] == ["docs"]:
        print(documented())
        return 0
    rows: dict[str, dict[str, Became]] = {}
    for one in asked():
        rows.setdefault(one.given.name, {})[one.way] = one
    wrong = 0
    width = max(map(len, rows)) + 2
    print("".join([f"{'answer':{width}}", *(f"{way:20}" for way in WAYS)]))
    for name, ways in rows.items():
        cells = []
        for way in WAYS:
            became = ways.get(way)
            is_right = became is None or became.meaning is became.given.meaning_in(way)
            wrong += not is_right
            shown = "-" if became is None else became.meaning.name.lower().replace("_", " ")
            cells.append(f"{shown if is_right else shown + ' (WRONG)':20}")
        print(f"{name:{width}}" + "".join(cells).rstrip())
    count = sum(map(len, rows.values()))
    print(f"\n{len(rows)} answers in {count} ways; {wrong} not taken for what they mean")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
