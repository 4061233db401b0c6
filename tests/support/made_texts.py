r"""Texts made of grammar's pieces, each with a record of what it declares.

A piece is written together with what it says: a number with its value, a letter of an option, an
object of JSON, a block of code. What a text is made of says all that may be read in it, so that
nothing here asks the code that is tried.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple


class Made(NamedTuple):
    """A text, and what may be read in it."""

    text: str
    said: str
    """The text without its thoughts."""
    form: str
    """How its answer is told, without the answer; empty where it tells none."""
    numbers: frozenset[float]
    """The values that a number may be read as."""
    letters: frozenset[str]
    formulas: frozenset[str]
    """The ways in which a mathematical answer may be written."""
    values: tuple[Any, ...]
    """JSON."""
    code: frozenset[str]
    written: str = ""
    """The number or the letter as it stands in the text."""
    declares: str = ""
    """"number" or "letter", where it declares one clearly."""


class _Piece(NamedTuple):
    text: str
    numbers: tuple[float, ...] = ()
    letters: str = ""
    values: tuple[Any, ...] = ()
    code: tuple[str, ...] = ()


# ── what is declared ──────────────────────────────────────────────────────────────────────────────

_FORMS = [
    "The answer is {}.", "Answer: {}", "**Answer:** {}", "So the final answer is {}.", "#### {}",
    r"Thus \boxed{{{}}}.", r"$\boxed{{{}}}$", r"\fbox{{{}}}", "<answer>{}</answer>",
    "Final Answer: {}", "### Final Answer\n{}", "The correct answer is: {}", "Answer\n{}",
    "Therefore, the answer is **{}**.", "The answer is therefore {}.", "ANSWER: {}", "Ans: {}",
    "Answer - {}", "| Answer | {} |", "Answer => {}", '{{"answer": "{}"}}', "[Answer] {}",
    "The result would be {}.", "Result = {}", "I am sure: the answer must be {}.",
    "Die Antwort ist {}.", "Antwort: {}", "Die richtige Antwort lautet {}.", "Lösung: {}",
    "La réponse est {}.", "Réponse : {}", "La bonne réponse est donc : {}", "Résultat : {}",
    "La respuesta es {}.", "Respuesta: {}", "La respuesta final es: {}", "A resposta é {}.",
    "Resposta: {}", "Gabarito: {}", "La risposta è {}.", "Risposta: {}", "Het antwoord is {}.",
    "Antwoord: {}", "Svaret är {}.", "Svar: {}", "Vastaus on {}.", "Odpowiedź: {}",
    "Odpowiedź to {}.", "Odpověď: {}", "Răspuns: {}", "Răspunsul este {}.", "Válasz: {}",
    "Cevap: {}", "Jawaban: {}", "Jawabannya adalah {}.", "Đáp án: {}", "Câu trả lời là {}.",
    "Jibu ni {}.", "Jibu: {}", "Ìdáhùn: {}", "Ответ: {}", "Ответ: {}.", "Правильный ответ — {}",
    "Відповідь: {}", "Απάντηση: {}", "الإجابة: {}", "الجواب هو {}", "پاسخ: {}", "התשובה היא {}",
    "תשובה: {}", "उत्तर: {}", "उत्तर {} है", "উত্তর: {}", "సమాధానం: {}", "คำตอบคือ {}",
    "คำตอบ: {}", "答案是{}。", "答案：{}", "【答案】{}", "因此，正确答案为 {}。",
    "答えは{}です。", "答え：{}", "正解は {} です", "정답은 {}입니다.", "정답: {}",
    "따라서 답은 {}입니다.",
]  # fmt: skip
_NO_FORMS = [
    "The answer is not {}.", "The answer isn't {}.", "Is the answer {}?", "The answer is {}? No.",
    "If the answer were {}, we would see it.", "The answer might be {}.",
    "The answer can't be {}.", "It could be that the answer is {}.",
    "I doubt that the answer is {}.", "Some think the answer is {}.", "The answer is never {}.",
    "The answer: not {}.", "Suppose the answer is {}.", "The answer is unlikely to be {}.",
    "It is false that the answer is {}.", "Neither is the answer {}.",
    "At first I thought the answer was {}.", "The answer is {}, which is wrong.",
    "Nobody says that the answer is {}.", "The answer cannot possibly be {}.",
    "Why is the answer {}?", "Die Antwort ist nicht {}.", "Die Antwort ist keinesfalls {}.",
    "La réponse n'est pas {}.", "La respuesta no es {}.", "¿Es la respuesta {}?",
    "A resposta não é {}.", "La risposta non è {}.", "Het antwoord is niet {}.",
    "Svaret är inte {}.", "Vastaus ei ole {}.", "Odpowiedź to nie {}.", "Odpověď není {}.",
    "Răspunsul nu este {}.", "A válasz nem {}.", "Cevap {} değil.", "Jawabannya bukan {}.",
    "Câu trả lời không phải là {}.", "Jibu si {}.", "Ответ не {}.", "Η απάντηση δεν είναι {}.",
    "الإجابة ليست {}.", "پاسخ {} نیست.", "התשובה אינה {}.", "उत्तर {} नहीं है।", "উত্তর {} নয়।",
    "సమాధానం {} కాదు.", "คำตอบไม่ใช่ {}", "答案不是{}。", "答案是{}吗？",
    "如果答案是{}，就不对。", "答えは{}ではありません。", "答えは{}ですか？",
    "정답은 {}이 아닙니다.",
]  # fmt: skip
_DIGITS = (
    "٠١٢٣٤٥٦٧٨٩", "۰۱۲۳۴۵۶۷۸۹", "०१२३४५६७८९", "০১২৩৪৫৬৭৮৯", "๐๑๒๓๔๕๖๗๘๙", "０１２３４５６７８９",
)  # fmt: skip
_BIDI = (
    "\u200e{}\u200e", "\u200f{}\u200f", "\u202a{}\u202c", "\u2066{}\u2069", "\ufeff{}",
    "\u200b{}",
)  # fmt: skip
_DRESS = (
    "{}", "{}", "{}", "**{}**", "${}$", r"\({}\)", "`{}`", "__{}__", "*{}*", "({})",
    r"\text{{{}}}",
)  # fmt: skip


def _number(random: Random) -> tuple[str, float, tuple[str, ...]]:
    """Return a number as it may be written, its value and the ways to write it alone."""
    n, m = random.randint(2, 999), random.randint(2, 99)
    big = n * 1000 + m * 7 % 1000
    point, cents = f"{n}.{m:02}", float(f"{n}.{m:02}")
    foreign = str(n).translate(str.maketrans("0123456789", random.choice(_DIGITS)))
    top, bottom = m, m + 1
    ways: list[tuple[str, float, tuple[str, ...]]] = [
        *[(str(n), n, ())] * 3,
        (f"-{n}", -n, ()), (f"−{n}", -n, (f"-{n}",)), (f"–{n}", -n, (f"-{n}",)), (point, cents, ()),
        (f"-{point}", -cents, ()), (f"+{n}", n, (str(n),)), (f"{big:,}", big, ()),
        (f"{big:,}".replace(",", "{,}"), big, (f"{big:,}",)),
        (f"{big:,}".replace(",", "\u202f"), big, ()),
        (f"{big:,}".replace(",", "'"), big, ()), (f"{n},000,000.50", n * 10**6 + 0.5, ()),
        (f"${n}", n, (str(n),)), (rf"\${n}", n, (f"${n}", str(n))), (f"€{n}", n, (str(n),)),
        (f"£{point}", cents, (point,)), (f"¥{n}", n, (str(n),)), (f"₹{n}", n, (str(n),)),
        (f"{n} €", n, (str(n),)), (f"{n}元", n, (str(n),)), (f"{n}円", n, (str(n),)),
        (f"{n}원", n, (str(n),)), (f"{n} kg", n, (str(n),)), (f"{n}km", n, (str(n),)),
        (f"{n} apples", n, (str(n),)), (rf"{n}\text{{ cm}}", n, (str(n),)), (f"{n}°", n, (str(n),)),
        (f"{m}%", m / 100, (str(m),)), (rf"{m}\%", m / 100, (f"{m}%", str(m))),
        (f"{top}/{bottom}", top / bottom, ()), (rf"\frac{{{top}}}{{{bottom}}}", top / bottom, ()),
        (rf"-\dfrac{{{top}}}{{{bottom}}}", -top / bottom, ()), ("½", 0.5, ("1/2",)),
        (f"{n}½", n + 0.5, (f"{n} 1/2",)),
        (f"{n} 1/2", n + 0.5, ()), (rf"{n}\frac{{1}}{{4}}", n + 0.25, ()),
        (f"2^{m % 20 + 2}", 2 ** (m % 20 + 2), ()), (f"2^{{{m % 20 + 2}}}", 2 ** (m % 20 + 2), ()),
        ("10²", 100, ("10^2",)), (f"{m}e3", m * 1000, ()),
        (f"1.5 × 10^{m % 9}", 1.5 * 10 ** (m % 9), ()),
        (rf"{m} \times 10^{{4}}", m * 10**4, ()), (f"{m} million", m * 10**6, (str(m),)),
        (f"{m}万", m * 10**4, (str(m),)), (foreign, n, (str(n),)),
        (f"{n} + {m} = {n + m}", n + m, (str(n + m),)), (f"x = {n}", n, (str(n), f"x={n}")),
        (f"{n + m} − {m} = {n}", n, (str(n),)), (f"{n * m} ÷ {m} = {n}", n, (str(n),)),
    ]  # fmt: skip
    return random.choice(ways)


def _no_number(random: Random) -> str:
    """Return what may be read in more than one way, or is a part of an expression."""
    n, m = random.randint(2, 99), random.randint(2, 99)
    m += m == n
    return random.choice([
        f"{n} or {m}", f"{n} to {m}", f"{n}-{m}", f"{n}–{m}", f"{n}:{m:02}", f"{n},{m:02}",
        "2024-05-01",
        f"{n} hours {m} minutes", f"{n} * {m}", f"{n} + {m}", rf"{n}\sqrt{{{m}}}", f"x > {n}",
        rf"x \leq {n}", f"±{n}", f"{n} ± {m}", f"{n}, {m}", f"({n}, {m})", f"[{n}, {m}]", f"{n}π",
        rf"{n}\pi", f"√{n}", f"{n}i + {m}", f"2{n}.1{m}.0.1", f"{n}/0", f"between {n} and {m}",
        f"{n} ft {m} in", rf"\sqrt[3]{{{n}}}", rf"\log_2 {n}", f"|-{n}|", f"{n} and {m}",
        f"{n}x + {m}",
    ])  # fmt: skip


_LETTER_DRESS = (
    "{}", "{}", "({})", "**{}**", "{})", "${}$", r"\text{{{}}}", "[{}]", "`{}`", "{}.", '"{}"',
    "({}) Paris", "{}) Rome", "{}. Oslo", "**{})** Bern",
)  # fmt: skip

# ── what declares nothing ─────────────────────────────────────────────────────────────────────────

_PROSE = [
    "A tough one.", "I think so.", "I see.", "A. Smith wrote this.", "E. coli grows in it.",
    "As J. R. Doe says.", "Vitamin C is good for you.", "Plan B is what remains.", "Let us see.",
    "Hepatitis B is a virus.", "A cat sat there.", "The letter from her came late.",
    "Es ist nicht schwer.", "Voilà la question.", "No sé qué decir.", "我们来看看。",
    "これは難しい。", "생각해 봅시다.", "Подумаем.", "دعونا نفكر.", "आइए सोचें।",
    "D. H. Lawrence was born there.", "C. elegans is a worm.", "I. Newton wrote it first.",
    "Type A blood is rare.", "Class B rules hold.", "She lives in Apt. B of the house.",
    "The group A streptococcus.", "A big B flat is heard.",
]  # fmt: skip
_FORMULAS = [
    "F = ma", "A = P(1 + r)^t", "E = hf", "[A] = k", "rate = k[A][B]",
    "P(A|B) = P(B|A) P(A)", "2H2 (g) + O2 (g) → 2H2O (l)", "the force (F) acts",
    "NaCl (s) dissolves", r"$\vec{B} = \mu H$", "D = b^2", "K_c", "C_1 and C_2 are in series",
    r"\[ A = \pi r^2 \]", "the concentration [B] is halved", "A + B → C", "A ∪ B ⊂ C", "f(A) = B",
    "K = [C]/[A]",
]  # fmt: skip
_OPTIONS = [
    "A) Paris\nB) Rome\nC) Oslo", "(A) one (B) two (C) three", "A. Bern\nB. Rome\nC. Oslo",
    "Options: A, B, C, D",
]  # fmt: skip
_CODE = [
    "def f(x):\n    return x\n", "answer = 7\nprint(answer)\n", "result = f(3)\n",
    "# gives the answer\nx = 1\n",
]  # fmt: skip
_ODD = [
    "\x00",
    "\x07\x1b[0m",
    "\u202e",
    "\u2067\u2069",
    "\ufffd\uffff",
    "𝔸𝕏",
    "👩‍👩‍👧",
    "Z͑ͫ̓ͪ̂",
    "\r\n\r\n",
    "\ud83d",
    "{[(<",
    "\\",
    "$",
    "```",
    "\\frac{",
    "<|im_end|>",
    "#" * 9,
]
_CODE_NUMBERS = {0: (), 1: (7.0,), 2: (3.0,), 3: (1.0,)}


def _noise(random: Random) -> _Piece:
    kind = random.randrange(9)
    n, m = random.randint(2, 99), random.randint(100, 999)
    if kind < 3:
        return _Piece(random.choice(_PROSE))
    if kind == 3:
        formula = random.choice(_FORMULAS)
        return _Piece(
            formula + ".",
            (1.0,) if "(1" in formula else (),
        )
    if kind == 4:
        return _Piece(f"First {n} + {m} = {n + m}, then more.", (n, m, n + m))
    if kind == 5:
        return _Piece(f"There are {n} trees.", (n,))
    if kind == 6:
        value = {"note": random.choice(["x", "ß", '"', "{"]), "n": [n, {"m": None}]}
        fence = random.choice(["```json\n{}\n```", "It is {} as told.", "```\n{}\n```"])
        return _Piece(fence.replace("{}", json.dumps(value)), (n,), "", (value,))
    if kind == 7:
        place = random.randrange(len(_CODE))
        code = _CODE[place]
        return _Piece(f"```python\n{code}```", _CODE_NUMBERS[place], "", (), (code,))
    return _Piece(random.choice(_OPTIONS))


_THOUGHTS = [
    "<think>{}</think>\n", "<thinking>\n{}\n</thinking>\n\n", "[THINK]{}[/THINK]", "{}</think>\n",
]  # fmt: skip


def made_texts(count: int, seed: int) -> list[Made]:
    """Return texts of every kind by turns."""
    random = Random(seed)
    kinds: list[Callable[[Random], Made]] = [
        _of_number,
        _of_letter,
        _of_none,
        _of_denied,
        _of_number,
        _of_odd,
    ]
    return [kinds[place % len(kinds)](random) for place in range(count)]


def _of_number(random: Random) -> Made:
    form = random.choice(_FORMS)
    written, value, alone = _number(random)
    dress = random.choice(_DRESS)
    is_math = "\\" in written or "^" in written
    if is_math:
        dress = random.choice(["${}$", r"\({}\)", "{}"])
    if "$" in written and "$" in dress:
        dress = "{}"
    if dress.startswith(r"\text") or "box" in form or form.startswith(("$", "{")):
        dress = "{}"
    if random.random() < 0.05:
        written = random.choice(_BIDI).format(written)
    answer = dress.format(written)
    ways = {written, answer, *alone}
    return _whole(random, form, form.format(answer), {value}, set(), ways, written, "number")


def _of_letter(random: Random) -> Made:
    form = random.choice([one for one in _FORMS if not one.startswith("{")])
    letter = random.choice("ABCD")
    dress = "{}" if "box" in form else random.choice(_LETTER_DRESS)
    answer = dress.format(letter)
    return _whole(
        random, form, form.format(answer), None, {letter}, {answer, letter}, letter, "letter"
    )


def _of_denied(random: Random) -> Made:
    form = random.choice(_NO_FORMS)
    if random.random() < 0.5:
        written, value, _ = _number(random)
        del value
        return _whole(random, form, form.format(written), None, set(), set(), written, "")
    letter = random.choice("ABCD")
    return _whole(random, form, form.format(letter), None, set(), set(), letter, "")


def _of_none(random: Random) -> Made:
    if random.random() < 0.4:
        form, what = random.choice(_FORMS), _no_number(random)
        return _whole(random, form, form.format(what), set(), set(), None, what, "")
    return _whole(random, "", "", None, set(), set(), "", "")


def _of_odd(random: Random) -> Made:
    """Return a text of which it is only asked that it does no harm."""
    parts = [random.choice(_ODD) for _ in range(random.randint(1, 4))]
    parts += [
        random.choice(_FORMS).format(random.choice(_ODD)),
        _noise(random).text,
        _no_number(random),
    ]
    random.shuffle(parts)
    text = random.choice(["", " ", "\n"]).join(parts)
    return Made(
        text, "", "odd", frozenset(), frozenset(), frozenset(), (), frozenset(), declares="anything"
    )


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _whole(
    random: Random,
    form: str,
    told: str,
    numbers: set[float] | None,
    letters: set[str],
    formulas: set[str] | None,
    written: str,
    declares: str,
) -> Made:
    """Return what is told among noise and thoughts; of no numbers, the noise's only one counts."""
    before = [_noise(random) for _ in range(random.randrange(3))]
    after = [_noise(random) for _ in range(random.randrange(2))]
    if not told and not before:
        before = [_noise(random)]
    noise = [*before, *after]
    said = "\n".join(
        one for one in [*(one.text for one in before), told, *(one.text for one in after)] if one
    )
    others = {number for one in noise for number in one.numbers}
    if numbers is None:
        numbers = others if len(others) == 1 else set()
    text, thought = said, random.random()
    if thought < 0.2:
        other = random.choice(_FORMS).format(random.choice(["B", "12345", r"\frac{7}{9}"]))
        text = random.choice(_THOUGHTS).replace("{}", other) + said
    elif thought < 0.25:
        other = random.choice(_FORMS).format(random.choice(["B", "12345"]))
        text = f"{said}\n<think>Wait. {other}"
    elif thought < 0.3:
        text, said = f"<think>{said}", ""
        numbers, letters, formulas, noise, declares = set(), set(), set(), [], ""
    values = tuple(value for one in noise for value in one.values)
    values += tuple(one for one in (_json(told), _json(written)) if isinstance(one, (dict, list)))
    code = frozenset(block for one in noise for block in one.code)
    fenced = [
        one.text.split("\n", 1)[1].removesuffix("```")
        for one in noise
        if one.text.startswith("```")
    ]
    return Made(
        text, said, form, frozenset(numbers), frozenset(letters),
        frozenset({written} if formulas is None else formulas),
        values, code | frozenset(fenced), written, declares,
    )  # fmt: skip
