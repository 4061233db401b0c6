"""What is shown holds no command, and what is logged neither.

Covers: themis.core.shown_text
"""

from __future__ import annotations

import json
import logging
import unicodedata

import pytest

from themis.core.shown_text import logger, shown, shown_json, shown_line

ALL = "".join(map(chr, range(0x110000)))
WRITING = {"\u00ad", "\u200c", "\u200d"}
"""Format characters that words and emoji are written with."""


def test_no_control_and_no_mark_of_direction_is_left() -> None:
    left = set(shown(ALL))
    assert {one for one in left if unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp")} == {"\n"}
    assert {one for one in left if unicodedata.bidirectional(one) in ("LRE", "RLE", "PDF")} == set()
    assert left >= WRITING
    assert "\n" not in shown_line(ALL)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("\x1b]52;c;aGk=\x07", "\\x1b]52;c;aGk=\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202eb", "a\\u202eb"),
        ("\r\t\0", "\\r\\t\\x00"),
        ("\U000e0041", "\\U000e0041"),
        ("日本語 é 👩‍👩‍👧 [red]", "日本語 é 👩‍👩‍👧 [red]"),
    ],
)
def test_commands_are_spelled_out_and_writing_stays(given: str, said: str) -> None:
    assert shown(given) == said


def test_json_says_the_same() -> None:
    text = "".join(one for one in ALL if not 0xD800 <= ord(one) < 0xE000)
    said = shown_json(json.dumps([text], ensure_ascii=False))
    assert json.loads(said) == [text]
    assert shown(said) == said


def test_what_is_logged_holds_no_command(caplog: pytest.LogCaptureFixture) -> None:
    logger().addHandler(caplog.handler)
    try:
        logger().warning("said %s and %d", "\x1b[2J\n\u202e", 3)
        try:
            raise ValueError("\x1b[2J")
        except ValueError:
            logger().exception("failed")
    finally:
        logging.getLogger("themis").removeHandler(caplog.handler)
    assert caplog.messages[0] == "said \\x1b[2J \\u202e and 3"
    assert "\x1b" not in caplog.text
    assert "ValueError: \\x1b[2J" in caplog.text
