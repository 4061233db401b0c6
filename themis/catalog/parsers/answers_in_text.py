r"""Answers that a text declares: ``\boxed{...}``, ``#### 42``, "the final answer is 42".

Three tiers, the clearest first: boxed, final, said. A tier gives what stands there word for word;
reading a number or an expression out of it is the parser's work.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal, NamedTuple

from themis.catalog.numbers_in_text import numbers_in, whole_number
from themis.catalog.parsers import answer_phrases as phrases
from themis.catalog.parsers.code_blocks import without_programs
from themis.core.errors import ParseError

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")
_UNBRACED = re.compile(r"(?:[^$\n\\]|\\(?!(?:boxed|fbox)(?![A-Za-z])))*")
_TAGGED = (
    re.compile(r"(?<!#)####(?!#)[ \t]*"),
    re.compile(r"【\s*(?:正确|正確|标准|最终|参考)?(?:答案|解答|正解|回答)\s*】\s*[:：]?\s*"),
    re.compile(r"\[\s*answer\s*\]\s*[:：]?\s*", re.IGNORECASE),
)
# An opening that is never closed is not looked past by each of those before it.
_ELEMENT = re.compile(
    r"<answer>(?P<answer>(?:[^<]|<(?!answer>))*?)</answer>", re.IGNORECASE | re.DOTALL
)
_LONGEST_ANSWER = 400
_MARK = r"(?:\s*(?:=>|[:：=＝→ঃ]|->))"
_BAR = r"[ \t]*\|"  # it parts the cells of a table
_UNDER = r"[ \t*_:]*\n"
_HEADS = re.compile(r"[ \t#*_>]*(?:\w+ ){0,2}")
_MARKED = re.compile(
    # GSM8K's finetuned form: "A: 18". Prose behind it ("A: There are 15 trees ...") is no answer.
    r"^[ \t]*a[ \t]*[:：][ \t]*(?=(?:[-+*(\u2212–]|[$€£¥₹])*[ \t]*(?:\.?\d|\$|\\|[a-z]\s*=))",
    re.IGNORECASE | re.MULTILINE,
)
_OPTION_B = re.compile(r"^[ \t]*b[ \t]*[:：]", re.IGNORECASE | re.MULTILINE)


class _Grammar(NamedTuple):
    """A language's phrases, ready to be looked for."""

    noun: re.Pattern[str]
    link: re.Pattern[str]
    denial: re.Pattern[str]
    denied_at_once: re.Pattern[str]
    denied_after: re.Pattern[str] | None
    loose: re.Pattern[str]
    """What may stand before a number that is denied or asked about without a link."""


def _nouns(language: phrases.Language) -> str:
    """Return the words for an answer in both normal forms: they differ in Thai."""
    return "|".join(
        dict.fromkeys(unicodedata.normalize(form, language.nouns) for form in ("NFC", "NFKC"))
    )


def _grammar(language: phrases.Language) -> _Grammar:
    links, denials, after = (unicodedata.normalize("NFC", one) for one in language[1:4])
    if language.is_spaced:
        # What follows a stem within its word ("isn't") makes another word of it.
        links = rf"(?:(?<!\w)(?:{links})(?![\w]))"
        about = r"[^\n:：=＝.?？。;]{0,60}?"
        denials = rf"(?:(?<!\w)(?:{denials})(?!\w)|n['’]t\b)"
        bare = r"\s+(?=[^\s:：=＝]{0,3}[0-9\d$\\A-Z(])"
    else:
        links, about = f"(?:{links})", r"[^\n:：=＝.?？。;，,]{0,12}?"
        denials = f"(?:{denials})"
        bare = r"\s*(?=[\d$\\A-Z(（])"
    linked = rf"{about}[\"'”*_]*(?:(?:{_MARK}|\s*{links}){{1,3}}(?:{_BAR}(?=[ \t]))?|{_BAR})"
    dash = r"[ \t*_]*[-–—]+[ \t]+"
    unlinked = f"{bare}|" if language.is_bare else ""
    return _Grammar(
        re.compile(rf"(?:{_nouns(language)})", re.IGNORECASE),
        re.compile(rf"(?:{unlinked}{dash}|{_UNDER}|{linked})[*_:\s]*", re.IGNORECASE),
        re.compile(denials, re.IGNORECASE),
        re.compile(rf"[\s*_\"']*{denials}", re.IGNORECASE),
        re.compile(after) if after else None,
        re.compile(
            rf"{about}(?=(?<!\w)[^\w\s]{{0,3}}(?:\d|[\u00bc-\u00be\u2150-\u215e]|[dt]?frac))"
        ),
    )


_GRAMMARS = {name: _grammar(language) for name, language in phrases.LANGUAGES.items()}
_NOUN = re.compile(
    "|".join(
        rf"(?<!\w)(?:{nouns})(?!\w)" if language.is_spaced else f"(?:{nouns})"
        for language in phrases.LANGUAGES.values()
        for nouns in [_nouns(language)]
    ),
    re.IGNORECASE,
)
_REJECTED = re.compile(
    rf"(?:[^.,;\n]|[.,](?=\}}?\d)){{0,60}}?{phrases.ASIDE}\b(?:(?:is|are|was|were|seems|looks)\s+(?:\w+ly\s+)?(?:wrong|incorrect|false|impossible)"
    r"|(?:isn't|can't\s+be|cannot\s+be)\b)",
    re.IGNORECASE,
)
_IS_FINAL = re.compile(rf"(?:{phrases.FINAL})", re.IGNORECASE)
_CLAUSE_END = re.compile(
    r"[.!?;,:\n。！？；，、：।؟،]|\b(?:but|so|then|however|yet|therefore|thus|hence)\b",
    re.IGNORECASE,
)
_SPACED_DASH = re.compile(r"[-\u2212]\s+(?=[$\\.\d])")
_OUTER = re.compile(r"[\s*\"'(]*(?:[^\W\d_]{2,12}[\s:]+){0,3}")
_CLAUSE = re.compile(r"(?:[^,，、،;]|,(?=\}?\d))*")
_SENTENCE = re.compile(r"(?<=[^\s.])(?:[.;!](?=\s|\**$)|\?)|[。।！？؟；]")
_MEMBER = re.compile(r'"((?:[^"\\]|\\.)+)"|([^\s,}\]"]+)')  # what JSON gives under a name
_ASKED = "?？؟"


class Declaration(NamedTuple):
    """A place where a text declares an answer."""

    tier: Literal["final", "said", "marked"]
    start: int
    """Where the declaration begins."""
    at: int
    """Where the answer begins."""
    answer: str
    """What stands there, up to its line's end or its closing tag."""
    is_denied: bool = False
    """Whether the answer is denied, only supposed or asked about."""
    link: str = ""
    """What stands between the word for an answer and the answer."""


MATH = (
    re.compile(r"\$\$(.+?)\$\$", re.DOTALL),
    re.compile(r"\$(.+?)\$(?![0-9])", re.DOTALL),  # "$3 + $4" is money
    re.compile(r"\\\((.+?)\\\)", re.DOTALL),
    re.compile(r"\\\[(.+?)\\\]", re.DOTALL),
)
FILLER = re.compile(
    rf"(?:(?:therefore|thus|simply|just|exactly|equal to|given by|{phrases.THUS})\b[:,\s]*)+",
    re.IGNORECASE,
)
_OTHER = (
    r"(?:\$[^$\n]+\$|\\\(|\\\[|(?:[A-Za-z]\s*=\s*)?[-+]?\s?[$€£]?\s?\.?[0-9]"
    r"|(?:[A-Za-z]\s*=\s*)?[-+]?\s?\\(?:[dt]?frac|sqrt|pi)\b)"
)
# What stands behind the first of several answers: "3 or 4", "3 apples, or maybe 4", "3, 4 and 5".
# Other words for the same ("or about 1.41") and what it is not (", not 6") are no other answer.
_SEVERAL = re.compile(
    r"(?:\$+|\\\)|\\\]|\*+)?(?:"
    r"(?:\s+(?!(?:or|and|to|but|not)\b)[A-Za-z]+){0,2}\s*,?\s*\(?(?:\b(?:or|and|to)\b|&)\s*"
    rf"(?:(?:also|else|even|maybe|perhaps|possibly|then)\b\s*)?{_OTHER}"
    rf"|\s*,\s*{_OTHER}[^\s,;]*\s*(?:$|[,;)]|[^\x00-\x7f]|(?:and|or)\b))",
    re.IGNORECASE,
)


class Declared(NamedTuple):
    """The answers of the clearest tier that a text has."""

    rule: str
    """boxed, final or said."""
    answers: list[str]
    """In the text's order; what is said twice stands here once, but for boxes."""


def declared_answers(text: str) -> Declared | None:
    r"""Return what a text declares to be its answers, or None.

    Raises:
        ParseError: a ``\boxed{`` is never closed; reason "invalid".
    """
    text = without_programs(text)
    boxes = boxed(text)
    if boxes:
        return Declared("boxed", boxes)
    found = [one for one in declarations(text) if one.answer and not one.is_denied]
    for tier in ("final", "said", "marked"):
        said = dict.fromkeys(one.answer for one in found if one.tier == tier)
        if answers := list(dict.fromkeys(_sentence(one) for one in said)):
            return Declared("said" if tier == "marked" else tier, answers)
    return None


def declarations(text: str) -> list[Declaration]:
    """Return the places where a text declares an answer, in order; boxes are not among them."""
    text = unicodedata.normalize("NFC", text)
    found = [
        Declaration("final", one.start(), one.end(), _line(text, one.end()))
        for pattern in _TAGGED
        for one in pattern.finditer(text)
    ]
    found += [
        Declaration("final", one.start(), one.start("answer"), one["answer"].strip())
        for one in _ELEMENT.finditer(text)
    ]
    found += _phrases(text)
    if _OPTION_B.search(text) is None:
        found += [
            Declaration("marked", one.start(), one.end(), _line(text, one.end()), link=":")
            for one in _MARKED.finditer(text)
        ]
    return sorted(found, key=lambda one: one.start)


def _phrases(text: str) -> list[Declaration]:
    """Return what is declared in words."""
    found: list[Declaration] = []
    position = 0
    while (noun := _NOUN.search(text, position)) is not None:
        position = noun.end()
        for name, grammar in _GRAMMARS.items():
            of_language = grammar.noun.match(text, noun.start())
            if of_language is None or of_language.end() != noun.end():
                continue
            link = grammar.link.match(text, noun.end())
            if link is None or (not link[0].strip("*_ \t\n") and not _is_heading(text, noun, link)):
                loose = grammar.loose.match(text, noun.end())
                if loose and (one := _declaration(text, name, noun, loose)).is_denied:
                    found.append(one)
                continue
            # "Final answer: the answer is 5" declares once.
            if found and _OUTER.fullmatch(text, found[-1].at, noun.start()) is not None:
                outer = found.pop()
                found.append(_declaration(text, name, noun, link, outer))
            else:
                found.append(_declaration(text, name, noun, link))
            break
    return found


def _declaration(
    text: str,
    name: str,
    noun: re.Match[str],
    link: re.Match[str],
    outer: Declaration | None = None,
) -> Declaration:
    grammar = _GRAMMARS[name]
    start, at = noun.start(), link.end()
    before = text[max(0, start - 25) : start]
    is_final = (outer is not None and outer.tier == "final") or any(
        _IS_FINAL.search(one)
        for one in (before.split()[-1] if before.split() else "", noun[0], link[0])
    )
    answer = _line(text, at)
    # "is - 5" is spaced like a formula; under a heading a dash is a list's.
    if (dash := _SPACED_DASH.match(answer)) is not None and (
        text[at - 1] == "\n" or link[0].strip()[-1:] not in ":："
    ):
        answer = answer[dash.end() :] if text[at - 1] == "\n" else f"-{answer[dash.end() :]}"
    if link[0].rstrip("*_ \t").endswith("|"):
        answer = answer.removesuffix("|").rstrip()
    elif link[0].startswith('"') and (member := _MEMBER.match(answer)) is not None:
        answer = (member[1] or member[2]).replace("\\\\", "\\")
    clause = text[max(0, start - 100) : start]
    cuts = [cut.end() for cut in _CLAUSE_END.finditer(clause)]
    clause = clause[cuts[-1] if cuts else 0 :] + text[start:at]
    end = _SENTENCE.search(answer)
    sentence = answer[: end.start()] if end else answer
    is_denied = (
        grammar.denial.search(clause) is not None
        or grammar.denied_at_once.match(answer) is not None
        or (
            grammar.denied_after is not None
            and grammar.denied_after.search(_first_clause(sentence)) is not None
        )
        or (end is not None and end[0] in _ASKED)
        or _REJECTED.match(sentence) is not None
        or (outer is not None and outer.is_denied)
    )
    return Declaration(
        "final" if is_final else "said",
        start if outer is None else outer.start,
        at,
        answer,
        is_denied,
        link[0].strip(),
    )


def _first_clause(sentence: str) -> str:
    found = _CLAUSE.match(sentence)
    return found[0] if found else sentence


def _is_heading(text: str, noun: re.Match[str], link: re.Match[str]) -> bool:
    """Return whether nothing but a line's end stands between, or it is a line of its own."""
    if "\n" not in link[0]:
        return True
    line = text.rfind("\n", max(0, noun.start() - 80), noun.start()) + 1
    return _HEADS.fullmatch(text, line, noun.start()) is not None


def _line(text: str, start: int) -> str:
    end = text.find("\n", start, start + _LONGEST_ANSWER)
    return text[start : end if end >= 0 else start + _LONGEST_ANSWER].strip()


def boxed(text: str) -> list[str]:
    r"""Return the contents of every ``\boxed{...}`` and ``\fbox{...}``, outermost, in order.

    Braces nest; ``\{`` and ``\}`` are none. ``\boxed 5`` holds what stands up to a dollar sign, the
    next box or the line's end, as the reference does: Hendrycks et al. 2021, "Measuring
    Mathematical Problem Solving With the MATH Dataset", https://arxiv.org/abs/2103.03874,
    ``last_boxed_only_string``.

    Raises:
        ParseError: one of them is never closed; reason "invalid".
    """
    found: list[str] = []
    position = 0
    while (box := _BOX.search(text, position)) is not None:
        if text[box.end() : box.end() + 1] == "{":
            end = _closing(text, box.end())
            if end is None:
                raise ParseError(
                    f"{box[0].strip()}{{ at position {box.start()} is never closed",
                    reason="invalid",
                )
            found.append(text[box.end() + 1 : end].strip())
            position = end + 1
        else:
            rest = _UNBRACED.match(text, box.end())
            bare = rest[0].strip() if rest else ""
            if bare:
                found.append(bare)
            position = box.end()
    return found


def _closing(text: str, start: int) -> int | None:
    depth = 0
    for found in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, start):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if depth == 0 and found[0] == "}":
            return found.start()
    return None


def _sentence(answer: str) -> str:
    """Return an answer up to the end of its sentence; a stop inside of math ends none."""
    for pattern in MATH:
        found = pattern.match(answer)
        if found is not None:
            end = _SENTENCE.search(answer, found.end())
            whole = (answer[: end.start()] if end else answer).strip()
            return whole if goes_on(whole, found.end()) else found[0]
    end = _SENTENCE.search(answer)
    return (answer[: end.start()] if end else answer).strip()


def undressed(answer: str) -> str:
    r"""Return an answer without emphasis, math delimiters and the stop around it.

    One pair of delimiters is taken off: ``$x$``, ``$$x$$``, ``\(x\)``, ``\[x\]``.
    """
    answer = answer.strip().strip("*_`").strip()
    if (filler := FILLER.match(answer)) is not None:
        answer = answer[filler.end() :]
    answer = answer.rstrip(".").strip().strip("*_`").strip()
    for pattern in MATH:
        found = pattern.fullmatch(answer)
        if found is not None and "$" not in found[1]:
            return found[1].strip().rstrip(".").strip()
    return answer


def goes_on(answer: str, end: int) -> bool:
    """Return whether an answer goes on with another one behind a place; an equal one is none."""
    if _SEVERAL.match(answer, end) is None:
        return False
    values = {number.value for number in numbers_in(answer)}
    return whole_number(answer[:end]) is None or len(values) != 1
