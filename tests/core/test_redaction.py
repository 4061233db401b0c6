"""Secrets are told by their shape: those of the known makers are, and nothing that is none.

Covers: themis.core.redaction
"""

from __future__ import annotations

import base64
import hashlib
import json
import string
import uuid
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.growth import assert_linear
from themis.core.redaction import HIDDEN, find_secret, is_secret_name, looks_like_secret, redact

BASE62 = string.ascii_letters + string.digits
URL_SAFE = BASE62 + "-_"


def _text(draw: Random, n: int, letters: str = BASE62) -> str:
    return "".join(draw.choices(letters, k=n))


def _jwt(draw: Random) -> str:
    def part(data: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")

    claims = {"sub": str(draw.random()), "iat": draw.randrange(10**9)}
    return ".".join([part({"alg": "HS256", "typ": "JWT"}), part(claims), _text(draw, 43, URL_SAFE)])


def _pem(draw: Random) -> str:
    body = "\n".join(_text(draw, 64, BASE62 + "+/") for _ in range(5))
    kind = draw.choice(["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "])
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----"


SHAPES: dict[str, Callable[[Random], str]] = {
    "openai, classic": lambda draw: "sk-" + _text(draw, 48),
    "openai, of a project": lambda draw: "sk-proj-" + _text(draw, 148, URL_SAFE),
    "anthropic": lambda draw: "sk-ant-api03-" + _text(draw, 95, URL_SAFE),
    "openrouter": lambda draw: "sk-or-v1-" + _text(draw, 64, "0123456789abcdef"),
    "aws": lambda draw: "AKIA" + _text(draw, 16, string.ascii_uppercase + string.digits),
    "github, classic": lambda draw: f"gh{draw.choice('pousr')}_" + _text(draw, 36),
    "github, fine-grained": lambda draw: f"github_pat_{_text(draw, 22)}_{_text(draw, 59)}",
    "gitlab": lambda draw: "glpat-" + _text(draw, 20, URL_SAFE),
    "hugging face": lambda draw: "hf_" + _text(draw, 34),
    "slack": lambda draw: f"xoxb-{draw.randrange(10**11, 10**12)}-{_text(draw, 24)}",
    "google": lambda draw: "AIza" + _text(draw, 35, URL_SAFE),
    "groq": lambda draw: "gsk_" + _text(draw, 52),
    "stripe": lambda draw: "sk_live_" + _text(draw, 24),
    "npm": lambda draw: "npm_" + _text(draw, 36),
    "a bearer token": lambda draw: "Bearer " + _text(draw, 40),
    "a JSON web token": _jwt,
    "a private key": _pem,
    "an address": lambda draw: f"postgres://evals:{_text(draw, 12)}@db.example:5432/runs",
    "a proxy": lambda draw: f"http://:{_text(draw, 9)}@proxy:3128",
}
PLAIN = [
    "tokenizer",
    "max_tokens",
    "sk-learn",
    "sk-learn-compatible-estimators-and-pipelines",
    "sk-model-2026-11-05-checkpoint-of-the-week",
    "sk-checkpoint20261105-of-a-Classifier",
    "hf_hub",
    "hf_hub_download_with_retries_and_backoff",
    "hf_xet-1.2.0-cp37-abi3-manylinux",
    "AKIA",
    "ghp_",
    "sk-...",
    "sk-ant-<your key>",
    "env:OPENAI_API_KEY",
    "Bearer env:OPENAI_API_KEY",
    "the bearer of this letter, unquestionably trustworthy",
    "Bearer <token>",
    "https://example.org:8080/a/b?c=d@e",
    "http://localhost:8000/v1",
    "http://user@host/path",
    "http://user:env:PROXY_PASSWORD@proxy:3128",
    "postgres://user:$PASSWORD@db/runs",
    "postgres://user:{password}@db/runs",
    "-----BEGIN PUBLIC KEY-----",
    "-----BEGIN CERTIFICATE-----",
    "themis-eval==0.3.0",
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    "meta-llama/Llama-3.3-70B-Instruct",
    "2026-11-24T02:54:19+00:00",
    "ask-about-the-risk-1234567890",
    "a risk-12ab34cd56ef78gh90ij is one word",
    "sk-SmolLM2135MInstruct4bitGGUF",
    "sk-Qwen25Coder32BInstructAWQInt4",
    "xoxb-some-team-2024-model",
    "docker://python:3.11@sha256:" + "a" * 64,
    "oci://registry/image:tag@sha512:" + "0" * 128,
]
draws = st.integers(0, 2**64 - 1).map(Random)


@pytest.mark.parametrize("kind", SHAPES)
@given(draw=draws, around=st.sampled_from(["{}", "key={}", '{{"a": "{}"}}', "use {} now", "a:{}"]))
def test_a_key_of_a_known_maker_is_told_and_hidden_wherever_it_stands(
    kind: str, draw: Random, around: str
) -> None:
    key = SHAPES[kind](draw)
    text = around.format(key)
    assert looks_like_secret(text)
    hidden = redact({"note": [text]})["note"][0]
    assert HIDDEN in hidden
    assert key not in hidden
    assert not looks_like_secret(hidden)
    assert redact(hidden) == hidden


@pytest.mark.parametrize("text", PLAIN)
def test_ordinary_words_are_no_secrets_and_are_shown(text: str) -> None:
    assert not looks_like_secret(text)
    assert redact([text]) == [text]


@given(data=st.binary(max_size=2000), draw=draws)
def test_digests_identifiers_and_encoded_bytes_are_no_secrets(data: bytes, draw: Random) -> None:
    noise = draw.randbytes(3000)
    told = [
        hashlib.sha256(data).hexdigest(),
        hashlib.sha1(data, usedforsecurity=False).hexdigest(),
        str(uuid.UUID(int=draw.getrandbits(128))),
        "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + noise).decode(),
        "data:image/jpeg;base64," + base64.b64encode(b"\xff\xd8\xff\xe0" + noise).decode(),
        base64.b64encode(data).decode(),
        f"{draw.random()} {draw.getrandbits(200)}",
    ]
    for text in told:
        assert not looks_like_secret(text), text


@given(
    words=st.lists(
        st.text(string.ascii_lowercase, min_size=1, max_size=14), min_size=1, max_size=12
    ),
    joint=st.sampled_from([" ", "-", "_", ".", "/", ":"]),
)
def test_words_are_no_secrets_however_they_are_joined(words: list[str], joint: str) -> None:
    text = joint.join(words)
    assert not looks_like_secret(text)
    assert not looks_like_secret(f"sk-{text}")


@given(
    value=st.recursive(
        st.none() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    draw=draws,
)
def test_a_secret_is_found_at_its_place_and_never_told(value: object, draw: Random) -> None:
    key = SHAPES["openai, classic"](draw)
    assert find_secret(value, "place") is None
    assert find_secret({"deep": [value, {"x": key}]}, "place") == "place.deep[1].x"
    assert find_secret({"deep": {"password": "hunter2"}}, "place") == "place.deep.password"
    assert find_secret({"deep": {key: 1}}, "place") == "a key of place.deep"
    for empty in (None, "", [], {}):
        assert find_secret({"password": empty}, "place") is None


SECRET_NAMES = [
    "X-Auth-Key", "X-Auth", "x-functions-key", "Authentication", "X-JWT", "jwt", "openai_key",
    "OPENAI_API_KEY", "openaikey", "hf_key", "hf_token", "master_key", "X-Master-Key",
    "account_key", "AccountKey", "storage_key", "service_key", "client_secret", "secrets",
    "api_keys", "X-APIKEY", "X-Amz-Security-Token", "AUTH_TOKENS", "access_token", "token",
    "tokenValue", "sessionid", "X-Session-ID", "Set-Cookie", "db_password2", "credentials",
    "Proxy-Authorization", "aws_access_key_id", "passkey",
]  # fmt: skip
OTHER_NAMES = [
    "token_count", "tokens", "max_tokens", "tokenizer", "eos_token", "think_token",
    "prompt_token", "completion_token", "target_token", "max_new_token", "cost_per_output_token",
    "usd_per_1k_token", "price_per_reasoning_token", "requires_api_key", "has_credentials",
    "secret_level", "password_strength", "cookie_policy", "keyword", "key", "keys", "answer_key",
    "primary_key", "cache_key", "provider_key", "output_key", "sort_key", "author", "authority",
    "authenticated", "secretary", "session_ids", "monkey", "account", "client_keyboard",
    "private_key_detection",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_what_a_name_says_is_secret_is_hidden(name: str) -> None:
    assert is_secret_name(name)
    assert find_secret({name: "hunter2"}, "at") == f"at.{name}"
    assert redact({name: "hunter2"}) == {name: HIDDEN}
    assert redact({name: ["hunter2", 1]}) == {name: HIDDEN}


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_what_other_names_say_is_shown(name: str) -> None:
    assert not is_secret_name(name)
    assert find_secret({name: "hunter2"}, "at") is None
    assert redact({name: "hunter2"}) == {name: "hunter2"}


@pytest.mark.parametrize("name", SECRET_NAMES)
@pytest.mark.parametrize("value", [0, 2e-6, True, False, None, "", [1, 2.5], {"on": True}, [{}]])
def test_what_holds_no_text_is_no_secret(name: str, value: object) -> None:
    assert find_secret({name: value}, "at") is None
    assert redact({name: value}) == {name: value}


@pytest.mark.parametrize("word", ["bank", "<think>", "[MASK]", "</s>", "ﷺ"])
def test_a_word_is_a_token_of_text(word: str) -> None:
    assert redact({"token": word, "rare_token": word}) == {"token": word, "rare_token": word}
    assert find_secret({"token": word}, "at") is None
    for name in ("hf_token", "access_token", "api_token", "password"):
        assert find_secret({name: word}, "at") == f"at.{name}"
    for drawn in (f"{word}7", "correct-horse-battery-staple"):
        assert find_secret({"token": drawn}, "at") == "at.token"


def test_what_surrounds_a_hidden_password_is_still_told() -> None:
    assert redact("postgres://evals:hunter2@db/runs") == f"postgres://evals:{HIDDEN}@db/runs"
    told = redact("Authorization: Bearer " + "a1" * 20)
    assert told == f"Authorization: Bearer {HIDDEN}"


def test_a_long_text_is_searched_once() -> None:
    """A search that went back at every letter would take hours here."""
    for text in ("sk-" * 300_000, "a" * 1_000_000, "eyJ" * 300_000, "a://" * 200_000):
        assert not looks_like_secret(text)
        assert_linear(looks_like_secret, text)
