"""Keeping secrets out of everything that is stored, shown or hashed.

A secret is recognised by the name of its field, or by its own form: the well-known forms of keys,
tokens and passwords in addresses. A password that looks like a word is recognised by its field's
name only. Inputs and expected outputs of cases are never redacted: a benchmark may be about keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

HIDDEN = "[hidden]"

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_MAKERS = (
    "openai|anthropic|azure|google|gemini|mistral|cohere|groq|together|fireworks|openrouter|deepseek"
    "|perplexity|replicate|xai|nvidia|hf|huggingface|wandb|langsmith|langfuse"
)
_SECRET = re.compile(
    r"(^|_)((api|access|private|secret|signing|encryption|subscription|auth|functions?|master|admin"
    r"|account|storage|client|gateway|license|service|deploy|shared|security"
    rf"|{_MAKERS})_?keys?|secrets?|passwords?|passwd|pwd|passphrase|passkey|authorization"
    r"|authentication|(auth|access|api|refresh|session)_?tokens?|bearer|cookie|credentials?|jwt"
    r"|session_?id)[0-9]*($|_)"
    r"|^x_auth$|(^|_)token(_value)?$"
)
# Names of a tokenizer's tokens and of token counts are no secrets.
_OF_TEXT = re.compile(
    r"(^|_)(bos|eos|eot|eom|pad|unk|cls|sep|mask|special|stop|start|begin|end|first|next|last|new"
    r"|image|audio|text|think|thinking|reasoning|prompt|completion|input|output|target|answer"
    r"|trigger|decoding|per|by)_token$|(^|_)per_[a-z0-9_]{1,40}_token$"
)
# Facts about a secret, such as its length, are no secrets.
_ABOUT = re.compile(
    r"^(has|is|needs|requires?)_|_(count|detection|format|kind|length|levels?|policy|required"
    r"|rotation|strength|type)$"
)
_TOKEN = re.compile(r"^(?!.*(api|access|auth|refresh|session|hf)).*token$")
_LONGEST_WORD = 16

# Each form begins with its issuer's prefix and has a length limit, so that a search stays linear in
# long texts. A part of a longer word does not count: encoded images contain any letters.
_SHAPES = re.compile(
    r"(?<![A-Za-z0-9_+/-])(?:"
    r"(?P<sk>sk-[A-Za-z0-9_-]{20,512})"
    r"|(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,256}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9_+/=-])"
    r"|gh[opsur]_[A-Za-z0-9]{36,255}"
    r"|github_pat_[A-Za-z0-9_]{40,255}"
    r"|glpat-[A-Za-z0-9_-]{20,255}"
    r"|hf_[A-Za-z0-9]{30,255}"
    r"|(?:gsk_|xai-|pplx-|nvapi-)[A-Za-z0-9_-]{40,255}"
    r"|r8_[A-Za-z0-9]{37,64}"
    r"|npm_[A-Za-z0-9]{36}(?![A-Za-z0-9_+/=-])"
    r"|pypi-AgE[A-Za-z0-9_-]{50,512}"
    r"|(?P<xox>xox[abeoprs]-(?=[A-Za-z-]{0,64}[0-9])[A-Za-z0-9-]{10,255})"
    r"|AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_+/=-])"
    r"|eyJ[A-Za-z0-9_-]{8,4096}\.eyJ[A-Za-z0-9_-]{2,8192}\.[A-Za-z0-9_-]{16,2048}"
    r"|[Bb][Ee][Aa][Rr][Ee][Rr][ \t]{1,4}"
    r"(?P<bearer>[A-Za-z0-9._~+/-]{20,4096}={0,2})"
    r")"
    r"|(?P<pem>-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?:[A-Za-z0-9+/=\s:,-]{0,16384}"
    r"-----END [A-Z ]{0,40}PRIVATE KEY-----)?)"
    # A password in an address; one that is yet to be filled in ($NAME, env:NAME, <name>) is none,
    # nor is an image's tag before its digest.
    r"|(?<=://)[^\s/?#@:\"'<>]{0,256}:(?P<password>(?!env:|[$<{*\[%])[^\s/?#@\"'<>]{1,256})"
    r"@(?!sha(?:256|512):)"
)
_RUN = re.compile(r"[A-Za-z0-9]{12,}")
# Of models, whose names mix their characters as keys do; five letters hardly come by chance.
_MODEL = re.compile(
    r"checkpoint|claude|coder|deepseek|gemma|instruct|llama|mistral|mixtral|nemotron|preview|smollm"
    r"|turbo",
    re.IGNORECASE,
)
_BORDER = re.compile(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[A-Z])(?=[a-z0-9])|(?<=[0-9])(?=[A-Za-z])")


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Return whether a field of this name holds a secret, if it holds any text.

    ``hf_token``, ``openaiApiKey``, ``X-Auth-Key`` and ``secrets`` do; ``max_tokens``,
    ``cost_per_output_token``, ``eos_token``, ``secret_level`` and ``keyword`` do not.
    """
    words = _words(name)
    return not any(one.search(words) for one in (_OF_TEXT, _ABOUT)) and bool(_SECRET.search(words))


def names_secret(name: str, value: Any) -> bool:
    """Return whether a field holds a secret, by its name and the type of its value.

    Numbers, booleans and values without text are no secrets, nor is a short word without a digit
    under ``token``, which in datasets and tokenizers is a token of text.
    """
    if not is_secret_name(name) or not _holds_text(value):
        return False
    if isinstance(value, str) and len(value) < _LONGEST_WORD and _TOKEN.search(_words(name)):
        return any(one.isdigit() for one in value)
    return True


def looks_like_secret(text: str) -> bool:
    """Return whether a text contains something of the form of a key, a token or a password.

    The shapes are those of the known makers (``sk-...``, ``AKIA...``, ``ghp_...``, ``hf_...``,
    ``xoxb-...``, ``AIza...``, ``glpat-...`` and their kin), ``Bearer`` tokens, JSON web tokens,
    private keys in PEM form and passwords in addresses. Digests, UUIDs, encoded images and words
    such as ``sk-learn`` or ``hf_hub`` do not count.
    """
    return any(True for _ in _keys_in(text))


def find_secret(value: Any, where: str) -> str | None:
    """Return the place of the first secret in JSON data, without its value; None if none is there.

    Args:
        value: any JSON value.
        where: name of the whole value; the place begins with it.

    Returns:
        A path such as ``where.key[3].password``. For a secret that is itself a key of an object,
        the path of the object.
    """
    if isinstance(value, str):
        return where if looks_like_secret(value) else None
    if isinstance(value, dict):
        for key, item in value.items():
            if looks_like_secret(str(key)):
                return f"a key of {where}"
            place = f"{where}.{key}"
            if names_secret(str(key), item):
                return place
            if (found := find_secret(item, place)) is not None:
                return found
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            if (found := find_secret(item, f"{where}[{index}]")) is not None:
                return found
    return None


def redact(value: Any) -> Any:
    """Return JSON data with secrets replaced: fields with a secret's name, and texts of its form.

    Of a text only the secret itself is replaced.
    """
    if isinstance(value, str):
        return _without_keys(value)
    if isinstance(value, dict):
        return {
            _without_keys(key) if isinstance(key, str) else key: HIDDEN
            if names_secret(str(key), item)
            else redact(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [redact(item) for item in value]
    return value


def _words(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", _CAMEL.sub("_", name)).strip("_").lower()


def _holds_text(value: Any) -> bool:
    if isinstance(value, str):
        return value != ""
    if isinstance(value, dict):
        return any(map(_holds_text, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_holds_text, value))


def _without_keys(text: str) -> str:
    parts, end = [], 0
    for start, stop in _keys_in(text):
        parts += [text[end:start], HIDDEN]
        end = stop
    return "".join([*parts, text[end:]]) if parts else text


def _keys_in(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each secret begins and ends."""
    for match in _SHAPES.finditer(text):
        worded = match["sk"] or match["xox"] or match["bearer"]  # prefixes that words have too
        if worded is not None and not _is_drawn(worded):
            continue
        group = match.lastgroup or 0  # text around a secret stays
        yield match.span(group)


def _is_drawn(text: str) -> bool:
    """Return whether a text contains a random-looking part: long, of mixed kinds of characters.

    Words, and names joined by dashes, as of models and packages, do not.
    """
    runs = (run for run in _RUN.findall(text) if _MODEL.search(run) is None)
    return any(len(_BORDER.findall(run)) >= len(run) / 6 for run in runs)
