r"""Reading the chosen option out of a model's prose, without ever guessing.

Rules stand in tiers, the clearest first: the whole text is a letter; a final answer is declared
(``\boxed{C}``, "final answer: C"); a sentence states a choice ("the answer is C", "C is right"); a
letter is marked as an option ("C) Paris", "**C**", "(C)", "option C"). The first tier that names
any option decides: one letter is the choice, several are ambiguous. A letter that is denied,
supposed or asked about is no choice, a word ("A tough one", "I think") is no letter, and neither is
a symbol of a formula ("F = 48 N", "P(1 + r)", "H2 (g)"). What declares an answer, in whatever
language, is the grammar of ``answers_in_text``; letters of other scripts are read as the options
that they stand for.
"""

from __future__ import annotations

import re
import string
import unicodedata
from bisect import bisect
from functools import lru_cache
from typing import NamedTuple

from themis.catalog.parsers import answer_phrases as phrases
from themis.catalog.parsers.answers_in_text import declarations
from themis.catalog.parsers.code_blocks import without_programs
from themis.catalog.parsers.formulas import in_formula, is_concentration, is_initial
from themis.core.errors import ParseError

ALL_LETTERS = string.ascii_uppercase
_QUOTES = str.maketrans("‘’“”。", "''\"\".", "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff")


# A letter that a formula of the text sets equal, applies, raises or gives an index.
_SYMBOL = re.compile(
    r"(?<![A-Za-z0-9])(?P<symbol>[A-Za-z])(?:[_^]|\s*[=≈∝](?![=>])|\((?=[^()\n]{0,30}\)))"
)


class Choice(NamedTuple):
    """A chosen option."""

    letter: str
    """In upper case."""
    rule: str
    """The tier that found it: whole, final, statement or label."""


def read_choice(text: str, letters: str = ALL_LETTERS) -> Choice:
    """Return the option that a text chooses.

    Args:
        text: what the model said.
        letters: letters of the options on offer, in upper case.

    Raises:
        ParseError: reason "ambiguous" where several are named and none is clearly chosen,
            "nothing_found" where none is.
    """
    rules = _rules(letters)
    text = without_programs(text).strip() or text
    normal = unicodedata.normalize("NFKC", _latin(text)).translate(_QUOTES)
    marked = _without_latex(normal).strip()
    plain = _without_emphasis(marked)
    whole = rules.whole.fullmatch(plain)
    if whole is not None:
        return Choice(whole["x"].upper(), "whole")
    denied: set[str] = set()
    lists: _Lists = {}
    denials = [one.start() for one in _DENIAL.finditer(plain)]
    declared = declarations(plain)
    symbols = {one["symbol"] for one in _SYMBOL.finditer(plain)}
    mentions: list[re.Match[str]] = []
    for rule, patterns in (
        ("final", rules.final),
        ("statement", rules.statement),
        ("label", rules.label),
    ):
        found = [one for pattern in patterns for one in pattern.finditer(plain)]
        named: set[str] = set()
        tier = {"final": "final", "statement": "said"}.get(rule)
        for one in declared:
            match = rules.answer.match(plain, one.at) if one.tier == tier else None
            if match is None or in_formula(plain, *match.span("x")):
                continue
            letters_named, end = _mentioned(match, rules, lists)
            is_denied = one.is_denied or _is_denied(match, denials) or _is_rejected(plain, end)
            (denied if is_denied else named).update(letters_named)
        if rule == "label":
            found += mentions
            found = [
                one
                for one in found
                if not ("aside" in one.groupdict() and one["x"] in symbols)
                and not is_initial(plain, *one.span("x"))
                and not is_concentration(plain, *one.span("x"))
            ]
        for match in found:
            if in_formula(plain, *match.span("x")):
                continue
            letters_named, end = _mentioned(match, rules, lists)
            if match.groupdict().get("hence") is not None and len(letters_named) > 1:
                mentions.append(match)  # "So A and B are in balance" names, and chooses none
            elif rule != "final" and (_is_denied(match, denials) or _is_rejected(plain, end)):
                denied |= letters_named
            else:
                named |= letters_named
        if rule == "label":
            named |= {
                match["x"].upper()
                for match in rules.bold.finditer(marked)
                if not in_formula(marked.replace("*", " "), *match.span("x"))
            }
            named -= denied
        if len(named) == 1:
            return Choice(named.pop(), rule)
        if named:
            raise ParseError(
                f"the text names several options ({', '.join(sorted(named))}) "
                "and none is clearly chosen",
                reason="ambiguous",
            )
    raise ParseError("the text names no option", reason="nothing_found")


class _Rules(NamedTuple):
    whole: re.Pattern[str]
    answer: re.Pattern[str]
    """What stands behind a declaration: the letter, perhaps after "the option"."""
    final: tuple[re.Pattern[str], ...]
    statement: tuple[re.Pattern[str], ...]
    label: tuple[re.Pattern[str], ...]
    bold: re.Pattern[str]
    more: re.Pattern[str]


_BE = (
    r"(?i:[\"']?(?:\s*(?:\bis\b|'s\b|\b(?:would|should|must|has\s+to|will)\s+be\b"
    r"|[:=→]|->|\s-\s)){1,3}\s*)"
)
_BE_INLINE = _BE.replace(r"\s*", r"[ \t]*")
_FILLER = (
    r"(?i:(?:(?:clearly|definitely|probably|therefore|thus|indeed|most\s+likely|likely|simply|just|"
    rf"{phrases.THUS}"
    r"|the|correct|right|letter|number|option|choice|answer)[\s:]+){0,6})"
)
_ABOUT = r"(?i:\s+(?:to|for|of|here|among|from|that)\b[^.\n:?!]{0,60}?)?"
_PICK = (
    r"(?i:\b(?:choos(?:e|ing)|pick(?:ing)?|select(?:ing)?|go(?:ing)?\s+(?:with|for)|vote\s+for"
    r"|opt\s+for|settle\s+on)\s+|(?<![可不必一])(?:选择?|選擇?)[\s:]*)"
)
_THINK = (
    r"(?i:\b(?:think|believe|say|guess|suspect|reckon|conclude)\s+(?:that\s+)?"
    r"(?:it(?:'s|\s+is|\s+must\s+be|\s+would\s+be)\s+)?)"
)
_HENCE = (
    r"(?i:\b(?:so|thus|hence|therefore|definitely|clearly|probably|surely|obviously|certainly"
    r"|it's|it\s+is|(?:it\s+)?must\s+be|that's|that\s+is|(?:it|that)\s+would\s+be|that\s+leaves"
    r"|leaving|but(?:\s+rather)?)[,:]?\s+)"
)
_RIGHT = (
    r"(?i:[^\S\n]+(?:(?:is|must\s+be|would\s+be|seems(?:\s+to\s+be)?|looks|has\s+to\s+be)\s+"
    r"(?:(?:clearly|definitely|probably|indeed|the|my|most|more|only)\s+){0,5}"
    r"(?:right|correct|true|best|answer|choice|pick|accurate|appropriate|valid|one(?=\s*[.,!]|\s*$))"
    r"|fits\s+(?:the\s+)?best|works\s+best|makes\s+(?:the\s+)?most\s+sense)\b"
    # "B is the right inverse of A" says something of a thing called B.
    r"(?!\s+(?:hand\w*|side|angled?|triangle|inverse|adjoint|multiple|approximation|estimat\w+"
    r"|value|function|number|set|event|point|fraction)\b)"
    r"|\s*(?:选?项)?\s*是?(?:正确|正確|对的|對的)"
    r"|\s*[がは]\s*(?:正解|正答|正しい)(?!\w{0,4}(?:ない|ありません))"
    r"|\s*[가이]\s*(?:정답|맞)(?!\w*\s*(?:아니|아닙|않)))"
)
# What stands before a colon where the rest of the line is a letter alone.
_MARKER = rf"(?i:{phrases.MARKERS}|result)"
_ALONE = r"[)\].]?[ \t]*(?m:$)"
# Repetitions are bounded, so that no text takes longer than its length warrants.
# What may stand before "C is right": otherwise the letter is part of a name ("vitamin C is ...").
_OPENS = (
    rf"(?:^|[.!?:;,、。]\s*|\n[^\S\n]*|(?:{phrases.CONCLUSIONS})[,、]?\s*|"
    r"(?i:\b(?:option|choice|answer|letter|think|believe|that|so|because|but"
    r"|say|since|only|therefore|thus|hence|guess|conclude|suspect)\s+))"
)

_DENIAL = re.compile(
    rf"\b(?:{phrases.LANGUAGES['en'].denials}"
    r"|rul(?:e|es|ed|ing)\s+out|eliminat\w+|exclud\w+|discard\w*|reject\w*)\b|n't\b",
    re.IGNORECASE,
)
_LONGEST_DENIAL = 60
_REJECTION = re.compile(
    r"(?:(?!\b(?:because|since|as|while|whereas|but|so)\b)[^.,;\n]){0,60}?"
    + phrases.ASIDE
    + r"\b(?:(?:is|are|was|were|seems|looks)\s+(?:\w+ly\s+|also\s+|both\s+|all\s+)?"
    r"(?:wrong|incorrect|false|impossible|out\b|not\b)"
    r"|(?:isn't|aren't|wasn't|can't\s+be|cannot\s+be)\b)"
    rf"|[)\]」'\"]?\s+(?:(?:{phrases.COPULAS})\s+)?(?:{phrases.REJECTIONS})(?!\w|\s+[(]?[A-Z](?!\w))"
    r"|[)\]」]?\s*(?:选?项|選項)?(?:的?说法)?\s*是?(?:错|錯|不对|不正确|不正確|有误)",
    re.IGNORECASE,
)
_CLAUSE_END = re.compile(r"[.!?;,:\n]|\b(?:but|so|then|however|yet)\b", re.IGNORECASE)
_AFTER_LETTER = re.compile(
    r"\s+(?:because|since|as|with|and|or|but|not|rather|instead|which|due|given|here|based|if|when|so|then|on|over)\b"
    r"|\s*/\s*[A-Za-z]\b|\s*[(\[]|\s+[-–—=&|]|\s*$|\s*\n|[.:;!)\]}>\"、」』】।؛،؟]+(?![A-Za-z0-9?])|,"
    rf"|(?={phrases.FOLLOWERS})",
    re.IGNORECASE,
)
# Behind letters that are no words: "A car" and "a non-zero number" are English.
_AFTER_OTHERS = re.compile(rf"\s+(?:{phrases.BECAUSE}|{phrases.REJECTIONS})(?!\w|-)", re.IGNORECASE)
_CAPITAL = re.compile(r"\s+[A-ZА-Я][a-zа-я]")
_AFTER_ARTICLE = frozenset({"as", "based", "due", "given", "here", "not", "over", "so", "with"})
_NEW_CLAUSE = re.compile(r"\s+(?:is|was|seems|looks|would|could|might|may)\b", re.IGNORECASE)
_AFTER_IN_LIST = re.compile(
    r"\s+(?:is|are|would|could|might|may|seems?|looks?|both)\b", re.IGNORECASE
)


@lru_cache(maxsize=32)
def _rules(letters: str) -> _Rules:
    any_case = f"[{letters}{letters.lower()}]"
    words = unicodedata.normalize("NFKC", phrases.OPTION_WORDS)
    named = rf"(?i:(?:(?:{phrases.ARTICLES})\s+)?(?:(?:{words})[\s:]*)?)"
    not_i = f"[{letters.replace('I', '')}]"  # "the option I like"
    token = rf"[(\[{{<\"'「『【《]*(?P<x>{any_case})(?![A-Za-z0-9?]|'(?![dt][iıuü]r)[a-z]|[)\]]*\?)"
    # "Consider each option:" may stand over the options, so that its letter is on the same line.
    option = r"(?i:\b(?:choice|option|selection|select|pick|correct)\b)"
    line = rf"(?m:^)[ \t>#\-–•]*(?:\d+[.)][ \t]+)?[(\[\"']*(?P<x>{any_case})"
    return _Rules(
        whole=re.compile(rf"[^\w?]*(?P<x>{any_case})[\s)\]}}>\"'.!:;,]*"),
        answer=re.compile(rf"{_FILLER}{named}{token}"),
        final=(
            re.compile(
                rf"\\?\b(?:boxed|fbox)\s*\{{\s*[(\[]?(?P<x>{any_case})(?P<sure>[)\].]?\s*\}}|[)\]]|[.:]\s)"
            ),
            re.compile(
                rf"(?i:<answer>)\s*[(\[]?(?P<x>{any_case})(?P<sure>[)\].]?\s*(?i:</answer>))"
            ),
        ),
        statement=(
            re.compile(rf"{option}{_ABOUT}{_BE_INLINE}{_FILLER}{token}"),
            re.compile(rf"(?i:\b(?:correct|right|best)\s+one){_BE_INLINE}{token}"),
            re.compile(rf"(?m:^)[ \t]*{_MARKER}[ \t]*:[ \t]*(?P<x>{any_case})(?P<sure>{_ALONE})"),
            re.compile(rf"{_PICK}{_FILLER}{token}"),
            re.compile(rf"{_THINK}{_FILLER}{token}"),
            re.compile(rf"(?P<hence>{_HENCE}){_FILLER}{token}"),
            re.compile(
                rf"(?:{phrases.CONCLUSIONS})[,:\s]*{named}[(\[「【]*(?P<x>{any_case})"
                r"(?P<sure>[)\]」】]*\s*(?:[.!]|$))",
                re.MULTILINE,
            ),
            re.compile(rf"(?m:{_OPENS})[(\[\"']*(?P<x>[{letters}])[)\]\"'.]*(?P<sure>{_RIGHT})"),
            re.compile(rf"(?<![A-Za-z0-9])[(\[](?P<x>{any_case})[)\]](?P<sure>{_RIGHT})"),
        ),
        label=(
            re.compile(rf"{line}(?P<sure>\s*[).:\]](?=\s|$|[)\]\"']))"),
            re.compile(rf"{line}(?P<sure>[)\]\"']*\s*$)", re.MULTILINE),
            re.compile(rf"(?<!vs)[.!…]\s+[(\[\"']*(?P<x>[{letters}])(?P<sure>[)\]\"'.!]*\s*\Z)"),
            re.compile(rf"{line}(?=\s+[-–—=(\[]|,|\s+(?:because|since|as|and|or)\b)"),
            re.compile(
                rf"(?<![A-Za-z0-9)\]])(?P<aside>[(\[])(?P<x>{any_case})(?P<sure>[)\]])"
                r"(?![A-Za-z0-9(?])"
            ),
            re.compile(
                rf"(?i:选项|選項|(?<![A-Za-z])(?:{words}))(?:\s+|(?<![A-Za-z])|(?=[(「]))[(「]?(?P<x>{any_case})(?P<sure>)(?![A-Za-z0-9?'])"
            ),
            re.compile(
                rf"\b(?:{phrases.ANSWER_WORDS})\s+(?P<x>[{letters}])(?P<sure>)(?![A-Za-z0-9?'])"
            ),
            re.compile(rf"(?i:\b(?:option|choice|letter)\s+)(?P<x>{not_i})(?P<sure>\b)"),
            re.compile(rf"(?i:\b(?:option|choice|letter|answer|either|both|between)\s+){token}"),
        ),
        bold=re.compile(
            rf"(?:\*\*|__)\s*[(\[\"']*(?P<x>{any_case})"
            r"(?:[)\].:\"']*\s*(?:\*\*|__)|[).:\]]\s[^*_\n]*(?:\*\*|__))"
        ),
        more=re.compile(
            r"[)\]\"'.]*(?:\s*,\s*(?:(?:or|and)\s+)?|\s+(?:or|and|&|vs\.?)\s+|\s*/\s*)"
            rf"(?:(?i:either|option|choice|answer)\s+)*[(\[\"']*(?P<x>{any_case})(?![A-Za-z0-9'])"
        ),
    )


_OTHER_LETTERS = {
    letter: string.ascii_uppercase[place]
    for alphabet in phrases.OPTION_LETTERS.values()
    for place, letter in enumerate(alphabet)
    if letter != " "
} | {phrases.ALEF: "A"}
# Negative and squared letters ("🅐", "🅰"), which have no compatibility form.
_OTHER_LETTERS |= {
    chr(first + place): letter
    for first in (0x1F150, 0x1F170)
    for place, letter in enumerate(string.ascii_uppercase)
}
_OTHER_LETTER = re.compile("|".join(_OTHER_LETTERS))


def _latin(text: str) -> str:
    """Return a text whose single letters of other scripts, as options have them, are ours."""
    if text.isascii():
        return text

    def letter(found: re.Match[str]) -> str:
        around = (
            text[max(0, found.start() - 1) : found.start()],
            text[found.end() : found.end() + 1],
        )
        is_single = not any(
            one.isalnum() or unicodedata.category(one)[0] == "M" for one in around if one
        )
        return _OTHER_LETTERS[found[0]] if is_single else found[0]

    return _OTHER_LETTER.sub(letter, text)


def _without_latex(text: str) -> str:
    text = re.sub(r"\\(?:text\w*|math\w*|rm|bf)\s*\{([^{}]*)\}", r"\1", text)
    return re.sub(r"\\[()\[\]]|\$", "", text)


def _without_emphasis(text: str) -> str:
    text = re.sub(r"[*`]", "", text)
    return re.sub(r"(?<![A-Za-z0-9])_+|_+(?![A-Za-z0-9])", "", text).strip()


_Lists = dict[int, tuple[frozenset[str], int]]
"""What follows places of a text, so that no list is gone through from each of its letters."""


def _mentioned(match: re.Match[str], rules: _Rules, lists: _Lists) -> tuple[set[str], int]:
    """Return the letter of a match, with those that follow it as in "A or B", and where they end.

    No letter is returned where what looks like one is a word.
    """
    text, end = match.string, match.end("x")
    is_sure = match.groupdict().get("sure") is not None
    if not is_sure and not _is_clear(text, match.start("x"), end):
        return set(), end
    path: list[tuple[int, str]] = []
    while end not in lists:
        following = _following(text, end, rules)
        if following is None:
            lists[end] = frozenset(), end
        else:
            path.append((end, following[0]))
            end = following[1]
    listed, last = lists[end]
    for place, letter in reversed(path):
        listed |= {letter}
        lists[place] = listed, last
    return {match["x"].upper(), *listed}, last


def _following(text: str, end: int, rules: _Rules) -> tuple[str, int] | None:
    """Return the letter that a list goes on with behind a place, and where that letter ends."""
    more = rules.more.match(text, end)
    if more is None:
        return None
    start, after = more.span("x")
    letter = more["x"]
    is_letter = letter.isupper() and letter not in "AI"
    is_letter = is_letter or _is_clear(text, start, after)
    if not is_letter and not _AFTER_IN_LIST.match(text, after):
        return None
    if more[0][: start - more.start()].strip() == "," and _NEW_CLAUSE.match(text, after):
        return None  # "it is C, D is wrong"
    return letter.upper(), after


def _is_clear(text: str, start: int, end: int) -> bool:
    """Return whether a letter stands as one: what follows it is not the rest of a phrase."""
    if text[max(0, start - 1) : start] + text[end : end + 1] in (
        "()",
        "[]",
        "<>",
        "{}",
        '""',
        "''",
    ):
        return True
    letter = text[start]
    after = _AFTER_LETTER.match(text, end)
    if letter in "Ii":
        return after is not None and not after[0].strip().isalpha() and not after[0].startswith(",")
    if after is not None:
        return letter not in "Aa" or after[0].strip().lower() not in _AFTER_ARTICLE
    if letter.isupper() and letter not in "AEOY" and _AFTER_OTHERS.match(text, end) is not None:
        return True
    # "The answer is C Paris": an option's own words begin with a capital; "B cells" do not.
    # So do those in scripts that have no small letters.
    if re.match(r"\s+[\u0590-\u1cff\u2e80-\ud7ff]", text[end : end + 3]) is not None:
        return letter.isupper()
    return letter.isupper() and letter != "A" and _CAPITAL.match(text, end) is not None


def _is_denied(match: re.Match[str], denials: list[int]) -> bool:
    """Return whether the clause up to the letter denies or merely supposes it.

    Args:
        match: names the letter.
        denials: where the text's denials begin, in order.
    """
    start = max(0, match.start("x") - 200)
    # One that begins just before may hide another, which is then looked for.
    if bisect(denials, match.start("x")) == bisect(denials, start - _LONGEST_DENIAL):
        return False
    clause = match.string[start : match.start("x")]
    own = match.start() - start
    cuts = [
        cut.end()
        for cut in _CLAUSE_END.finditer(clause)
        if cut.start() < own or cut[0] != ":"  # the colon of "answer: C" ends no clause
    ]
    return _DENIAL.search(clause, cuts[-1] if cuts else 0) is not None


def _is_rejected(text: str, end: int) -> bool:
    """Return whether the clause after the letter rejects it ("B is wrong")."""
    return _REJECTION.match(text, end) is not None
