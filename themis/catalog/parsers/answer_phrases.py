"""How languages declare an answer: words for it, what links it to what follows, what denies it.

Data only; ``answers_in_text`` makes one grammar of it. A language's entry is for all parsers alike.

Sources of the words: ``MULTILINGUAL_ANSWER_REGEXES`` of OpenAI's simple-evals (``common.py``), the
targets of MGSM's worked examples (google-research/url-nlp, ``mgsm/exemplars.py``),
``TRANSLATION_LITERALS`` of Hugging Face's lighteval, ``first_option_postprocess`` of OpenCompass
(``opencompass/utils/text_postprocessors.py``), the letters of options of simple-evals'
``normalize_extracted_answer`` and of lighteval.
"""

from __future__ import annotations

from typing import NamedTuple


class Language(NamedTuple):
    """What a language says of answers, as regular expressions."""

    nouns: str
    """Words for an answer."""
    links: str
    """What may stand between the word and the answer, beside colons, equals signs and dashes."""
    denials: str
    """Words that deny or only suppose an answer, before it or at its beginning."""
    denied_after: str = ""
    """Words that do so behind it, in the same sentence."""
    is_spaced: bool = True
    """Whether its words stand apart; if not, a word for an answer may follow any letter."""
    is_bare: bool = False
    """Whether an answer may follow the word for it with nothing in between ("उत्तर 18 है")."""


LANGUAGES: dict[str, Language] = {
    "en": Language(
        r"answers?|ans|results?|responses?|solutions?|verdict|final\s+(?:choice|decision)|final(?=\s*:)",
        r"(?:(?:(?:is|are|ca)n['’]t(?:\s+be)?|is|are|'s|be|equals|comes\s+(?:out\s+)?to)|(?:would|should|must|has\s+to|will)\s+be)",
        r"not|never|cannot|nobody|no\s+one|hardly|den(?:y|ies|ied)|incorrect|wrong|false|if|suppos\w+|assum\w+|unless|whether"
        r"|although|while|might|may|could|thought|initially|at\s+first|unlikely|i\s+doubt"
        r"|some\s+(?:\w+\s+)?think|except|rather\s+than|instead\s+of|neither|nor",
    ),
    "de": Language(
        r"Antwort|Lösung|Ergebnis|Resultat|(?:richtig|korrekt)(?=\s+ist)|(?:richtige|korrekte)\s+Option",
        r"ist|lautet|wäre|beträgt",
        r"nicht|kein\w*|falsch\w*|wenn|falls|ob|vielleicht|könnte",
    ),
    "fr": Language(
        r"Réponse|Résultat|Solution|(?:option|proposition)\s+correcte|bonne\s+option",
        r"est|serait|vaut|c'est",
        r"pas|n'est|fausse|incorrecte|si\s+la|peut-être|pourrait",
    ),
    "es": Language(
        r"Respuesta|Resultado|Solución|(?:opción|alternativa)\s+correcta",
        r"es|sería|son",
        r"no|incorrect[ao]|fals[ao]|si\s+la|quizás?|podría",
    ),
    "pt": Language(
        r"Resposta|Resultado|Solução|(?:opção|alternativa)\s+correta|gabarito",
        r"é|seria|são",
        r"não|incorret[ao]|errad[ao]|se\s+a|talvez|poderia",
    ),
    "it": Language(
        r"Risposta|Risultato|Soluzione|(?:opzione|alternativa)\s+corretta",
        r"è|e'|sarebbe|sono",
        r"non|errat[ao]|sbagliat[ao]|se\s+la|forse|potrebbe",
    ),
    "nl": Language(
        r"Antwoord|Oplossing|Resultaat", r"is|luidt|bedraagt", r"niet|geen|fout\w*|als|misschien"
    ),
    "sv": Language(r"Svar(?:et)?|Lösningen", r"är|er|blir", r"inte|ikke|fel|om\s+svaret|kanske"),
    "fi": Language(r"Vastaus", r"on", r"ei|jos|väärä|ehkä"),
    "pl": Language(
        r"Odpowiedź|Odpowiedzią|Odp|Wynik", r"to|jest|brzmi|wynosi", r"nie|jeśli|może|błędna"
    ),
    "cs": Language(r"Odpověď|Výsledek", r"je|zní", r"není|ne|pokud|možná|špatná"),
    "ro": Language(r"Răspuns(?:ul)?|Rezultatul", r"este|e", r"nu|dacă|poate|greșit"),
    "hu": Language(r"Válasz", r"(?:az|a)(?=[ \t]+\S)", r"nem|ha|talán|rossz", is_bare=True),
    "tr": Language(
        r"Cevap|Cevabı|Yanıt|Sonuç", r"olarak", r"değil|eğer|yanlış|belki", r"değil", is_bare=True
    ),
    "id": Language(
        r"Jawaban(?:nya)?|Jawapan(?:nya)?",
        r"adalah|ialah|yaitu|iaitu",
        r"bukan|tidak|jika|salah|mungkin",
    ),
    "vi": Language(
        r"Đáp\s+án|Câu\s+trả\s+lời|Đáp\s+số|Kết\s+quả", r"là", r"không|nếu|sai|có\s+thể"
    ),
    "sw": Language(r"Jibu", r"ni", r"si|siyo|sio|kama|labda"),
    "yo": Language(
        r"Ìdáhùn|Idáhùn|Idahun|Àdáhùn|Àmọ̀nà|Ànúgọ|Àṣàyàn", r"ni|náà\s+ni", r"kì\s*í\s*ṣe|kii\s+ṣe"
    ),
    "ru": Language(
        r"Ответ(?:ом)?|Відповідь|Результат",
        r"равен|это|будет|является|дорівнює",
        r"не|нет|если|неверн\w+|может|якщо|ні",
    ),
    "el": Language(r"Απάντηση|Απάντησή", r"είναι", r"δεν|όχι|αν|λάθος|ίσως"),
    "ar": Language(
        r"الإجابة|الاجابة|إجابة|اجابة|الجواب|جواب|الحل|الناتج|النتيجة",
        r"هي|هو|تساوي|يساوي",
        r"ليس|ليست|ليس\s+هو|غير|لا|إذا|لو|خاطئة|خطأ|ربما",
    ),
    "fa": Language(
        r"پاسخ|جواب",
        r"برابر|گزینه[\u200c\s]*(?:ی)?|است",
        r"نیست|غلط|اگر|شاید",
        r"نیست",
        is_bare=True,
    ),
    "he": Language(r"התשובה|תשובה|התוצאה|הפתרון", r"היא|הוא|זה", r"לא|אינה|אינו|אם|שגויה|אולי"),
    "hi": Language(
        r"उत्तर|जवाब",
        r"है|होगा|हैं",
        r"नहीं|गलत|यदि|अगर|शायद",
        r"नहीं|गलत",
        is_bare=True,
    ),
    "bn": Language(
        r"উত্তর(?:টি|টা)?",
        r"হল|হলো|হচ্ছে|হবে|হয়",
        r"নয়|না|ভুল|যদি|হয়তো",
        r"নয়|না(?!\S)|ভুল",
        is_bare=True,
    ),
    "te": Language(r"సమాధానం|జవాబు", r"అనేది", r"కాదు|తప్పు|ఒకవేళ", r"కాదు", is_bare=True),
    "th": Language(
        r"คำตอบ(?:ที่ถูกต้อง)?(?:สุดท้าย)?|เฉลย|ตอบ(?=\s*:)",
        r"คือ|เป็น|ได้แก่",
        r"ไม่|หาก|ถ้า|ผิด|อาจ",
        r"ไม่ถูก|ผิด",
        is_spaced=False,
    ),
    "zh": Language(
        r"答案|正确的?选项|正確的?選項|答复|答曰|答(?=\s*[:：])|故选|因此选|所以选|应选|應選|本题选|所以答",
        r"(?:应该|應該|应当|应|就)?(?:是|为|為|选择?|選擇?)",
        r"不(?:是|选|選|对|应|可能|正确)|并非|错误|錯誤|如果|假如|假设|若|可能|也许|是否",
        r"不对|不正确|不正確|是?错|是?錯|不是",
        is_spaced=False,
        is_bare=True,
    ),
    "ja": Language(
        r"答え|答(?=\s*[:：は])|回答|解答|正解|正答",
        r"は|が|こそ",
        r"もし|不正解|誤り|かもしれ",
        r"では?(?:ない|なく|ありません)|じゃな[いく]|誤り|間違い|不正解|かもしれ",
        is_spaced=False,
    ),
    "ko": Language(
        r"정답|답변|해답|(?<![가-힣])답",
        r"은|는|이",
        r"만약|틀린|아마",
        r"아니|아닙|틀렸|틀린|수도",
        is_spaced=False,
        is_bare=True,
    ),
}

THUS = r"donc|daher|somit|folglich|pues|portanto|quindi|dus"
"""Words for "therefore" between a declaration and its answer, beside English."""
ASIDE = r"(?:,\s+(?:which|that|but\s+(?:that|this|it))\s+)?"
"""What may lead from an answer to what rejects it ("5, which is wrong")."""

FINAL = (
    r"final|últim[ao]|finale?s?|endgültige|definitiv[ao]|окончательный|финальный|итоговый"
    r"|最终|最終(?:的な)?|최종|النهائية|النهائي|סופית|הסופית|চূড়ান্ত|अंतिम|สุดท้าย"
)
"""Words that make an answer the final one, before or behind the word for an answer."""

FOLLOWERS = (
    r"选?项|選項|是|为|，|因为|因為|和|或|与|正确|正確|对"  # zh
    r"|です|だ|である|で|が|を|は|と|の"  # ja
    r"|입니다|이다|이며|이고|예요|이에요|번|가|이|를|을|와|과|로|라고"  # ko
    r"|ครับ|ค่ะ|คะ|เพราะ|ถูก"  # th
    r"|'[dt][iıuü]r"  # tr
)
"""What follows a letter without a space in scripts that put none, where it is an option's."""

CONCLUSIONS = (
    r"因此|而是|所以|故|即|显然|顯然|综上|綜上|したがって|よって|ゆえに|따라서|그러므로|ดังนั้น"
)
"""Words behind which a letter that ends its sentence is the choice ("因此，C")."""

REJECTIONS = (
    r"falsch|nicht|fausse?|faux|incorrecte?|n'est\s+pas|no\s+es|incorrect[ao]|falsa|errónea|não|incorret[ao]"
    r"|errad[ao]|non|errat[ao]|sbagliat[ao]|fout|onjuist|niet|fel|inte|väärä|błędn\w+|nie|špatn\w+|není"
    r"|greșit|yanlış|değil|salah|bukan|sai|không|неверн\w*|неправильн\w*|не|λάθος|δεν|خاطئة?|خطأ|ليست?"
    r"|غلط|नहीं|गलत|ভুল|নয়|שגויה|אינה"
)
"""Words behind an option's letter, beside English, that reject it ("B ist falsch")."""

OPTION_LETTERS: dict[str, str] = {
    "ar": "أبجده",
    "bn": "কখগঘঙচ",
    "bn (by sound, as simple-evals has them)": "অবডঢ",
    "hi": "कखगघङच",
    "th": "กขคงจ",
    "he": "אבגדה",
    "ja": "アイウエオカ",
    "el": "ΑΒΓΔ",
    "ru": "АБ Г",
    "ru (look-alikes)": "А С",
}
"""Letters of options of other scripts, for A, B, C, ... in order; a space is none. What may
stand for two letters has none: "В" is the third of Cyrillic's and looks like B."""
ALEF = "ا"
"""Arabic's first letter as it is often typed, for "أ"."""
OPTION_WORDS = (
    r"选项|選項|第|ข้อ|ตัวเลือก|विकल्प|বিকল্প|الخيار|خيار|الحرف|گزینه|опция|вариант|буква|opción|opção"
    r"|opzione|option|lettre|letra|lettera|buchstabe|pilihan|seçenek|phương\s+án|האפשרות|אפשרות"
    r"|επιλογή|선택지|보기|chaguo"
)
"""Words for an option that may stand between a declaration and the letter."""

ANSWER_WORDS = r"[Aa]ntwort|[Rr]éponse|[Rr]espuesta|[Rr]esposta|[Rr]isposta"
"""Words for an answer that name an option before a capital letter ("Antwort B")."""
BECAUSE = (
    r"car|parce|puisque|weil|denn|porque|pois|perché|poiché|omdat|want|eftersom|fordi|потому|так"
    r"|ponieważ|bo|çünkü"
)
"""Words for a reason, which a letter that is chosen goes before."""
COPULAS = r"ist|est|es|é|è|is|är|er|on|jest|to|je|este|هي|هو"
"""What may stand between a letter and the word that rejects it."""

ARTICLES = r"la|el|le|l'|die|der|o|il|lo|(?-i:a)(?=\s+(?-i:[A-HJ-Z])\b)"
"""Articles before an option's letter ("la B"), beside English."""

MARKERS = r"a|letter|label|output|prediction|assistant|(?:question|q)\s*\d{1,4}"
"""What stands before a colon at a line's beginning where an answer alone follows."""
