"""Each maker's keys are told in all of their forms, fields by all names for a secret.

Covers: themis.core.redaction
"""

from __future__ import annotations

import string
from random import Random

import pytest

from themis.core.redaction import HIDDEN, find_secret, is_secret_name, looks_like_secret, redact

UPPER = string.ascii_uppercase + string.digits
BASE62 = string.ascii_letters + string.digits


@pytest.mark.parametrize(
    ("prefix", "length", "letters"),
    [
        ("AKIA", 16, UPPER),
        ("ASIA", 16, UPPER),
        *((f"gh{kind}_", 36, BASE62) for kind in "oprsu"),
        *((f"{kind}_{place}_", 24, BASE62) for kind in ("sk", "rk") for place in ("live", "test")),
        *((maker, 52, BASE62) for maker in ("gsk_", "xai-", "pplx-", "nvapi-")),
        ("r8_", 37, BASE62),
        ("pypi-AgE", 60, BASE62),
        *((f"xox{kind}-", 24, BASE62) for kind in "abeoprs"),
    ],
)
def test_every_form_of_a_makers_keys_is_told(prefix: str, length: int, letters: str) -> None:
    for seed in range(20):
        key = prefix + "".join(Random(seed).choices(letters, k=length))
        assert looks_like_secret(f"use {key} here")
        assert redact(f"use {key} here") == f"use {HIDDEN} here"


@pytest.mark.parametrize("name", ["jwt", "session_jwt", "clientSecret", "secrets", "secret"])
def test_a_field_for_a_secret_is_told_by_its_name(name: str) -> None:
    assert is_secret_name(name)
    assert redact({name: "a word"}) == {name: HIDDEN}


def test_a_short_word_is_a_token_of_text_and_a_long_one_or_one_with_digits_a_secret() -> None:
    assert redact({"token": "determination"}) == {"token": "determination"}
    assert redact({"token": "d3termination"}) == {"token": HIDDEN}
    assert redact({"token": "uncharacteristically"}) == {"token": HIDDEN}


def test_secrets_are_found_and_hidden_in_lists_in_tuples_and_as_keys() -> None:
    key = "ghp_" + "aB3dE5gH7jK9" * 3
    assert find_secret([0, key], "here") == "here[1]"
    assert find_secret((0, key), "here") == "here[1]"
    assert find_secret({key: 1}, "here") == "a key of here"
    assert redact([{key: [key]}]) == [{HIDDEN: [HIDDEN]}]
