"""Metrics by themselves: what counts as equal, what is refused, and what their details say.

Covers: themis.catalog.component, themis.catalog.math_in_text, themis.catalog.metrics,
themis.catalog.metrics.gold, themis.catalog.metrics.json_difference, themis.catalog.metrics.match,
themis.catalog.metrics.math, themis.catalog.metrics.math_process, themis.catalog.metrics.overlap,
themis.catalog.registry
"""

from __future__ import annotations

import math
import pickle
import sys
import threading
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.runs import experiment
from themis import InMemoryRunStore
from themis.catalog.metrics import math_process
from themis.catalog.metrics.json_difference import difference
from themis.catalog.metrics.math import MathEquivalence, MathProcess, delimited, judged
from themis.catalog.metrics.math_process import MathVerdict
from themis.catalog.registry import make
from themis.core.config import use
from themis.core.contexts import ScoreContext
from themis.core.errors import DefinitionError, MissingExtraError
from themis.core.hashing import canonical
from themis.core.models import Case, Dataset, ParsedOutput, Score, ScoreError
from themis.testing.scripted import ScriptedGenerator

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=8,
)
OPTIONS = {"float_rounding": 6, "numeric_precision": 15, "strict": True}


@pytest.fixture
def score(score_context: Callable[[Case], ScoreContext]) -> Callable[..., Any]:
    def one(metric: str, answer: Any, right: Any, **params: Any) -> Any:
        made, _ = make(use(f"builtin/{metric}", **params), "metric")
        case = Case(case_id="case-1", input="q", expected_output=right)
        found = made.score(ParsedOutput(value=answer), case, score_context(case))
        return found if isinstance(found, ScoreError) else found.value

    return one


# ── exact_match ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("answer", "right", "params", "value"),
    [
        ("The Cat!", "cat", {"normalize": "squad"}, 1),
        ("The Cat!", "cat", {}, 0),
        ("b", ["a", "b"], {"any_of": True}, 1),
        ("b", ["a", "b"], {}, 0),
        (["a", "b"], ["a", "b"], {}, 1),
        ("B", ["a", "b"], {"ignore_case": True}, 1),
        ("1,000", "#### 1000", {"regexes_to_ignore": [",", r"(?s).*#### "]}, 1),
        (4, "4", {"normalize": "squad"}, 1),
        ({"answer": "The cat"}, {"answer": "cat"}, {"normalize": "squad"}, 1),
        ("", "", {}, 1),
    ],
)
def test_exact_match_compares_as_it_is_told(
    score: Any, answer: Any, right: Any, params: dict[str, Any], value: float
) -> None:
    assert score("exact_match", answer, right, **params) == value


def test_exact_match_with_its_defaults_spelled_out_is_the_same_component() -> None:
    plain, _ = make("builtin/exact_match", "metric")
    spelt, _ = make(use("builtin/exact_match", normalize="none", ignore_case=False), "metric")
    other, _ = make(use("builtin/exact_match", ignore_case=True), "metric")
    assert plain.fingerprint() == spelt.fingerprint()
    assert other.fingerprint() != plain.fingerprint()


# ── numeric ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("answer", "right", "params", "value"),
    [
        (0.1 + 0.2, 0.3, {}, 1),
        (0.1 + 0.2, 0.3, {"rel_tol": 0}, 0),
        (1, 1.0, {"rel_tol": 0}, 1),
        (2**53 + 1, 2**53, {"rel_tol": 0}, 0),
        (10**400, 10**400, {}, 1),
        (10**400, 1.5, {}, 0),
        (101, 100, {"tol": 1}, 1),
        (101.5, 100, {"tol": 1}, 0),
        (105, 100, {"rel_tol": 0.05}, 1),
        ("1,234", "1234", {}, 1),
        ("3/4", 0.75, {}, 1),
        ("about 5", 5, {}, 0),
        (True, 1, {}, 0),
        (None, 1, {}, 0),
        ([], 1, {}, 0),
        ({"answer": 4}, {"answer": "4.0"}, {}, 1),
    ],
)
def test_numbers_are_equal_within_their_tolerance(
    score: Any, answer: Any, right: Any, params: dict[str, Any], value: float
) -> None:
    assert score("numeric", answer, right, **params) == value


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(0, 1),
    st.floats(0, 1e6),
)
def test_near_enough_is_what_python_says(a: float, b: float, rel: float, tol: float) -> None:
    metric, _ = make(use("builtin/numeric", rel_tol=rel, tol=tol), "metric")
    case = Case(case_id="c", input="q", expected_output=b)
    found: Any = metric.score(ParsedOutput(value=a), case, None)
    assert found.value == math.isclose(a, b, rel_tol=rel, abs_tol=tol)


# ── json_match ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given_value", "right", "params", "where"),
    [
        ({"a": [1, 2]}, {"a": [1, 2.0]}, {}, None),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {}, None),
        ({"a": [1, {"x": 3}]}, {"a": [1, {"x": 4}]}, {}, "$.a[1].x"),
        ({"a": 1}, {"a": 1, "b": 2}, {}, "$.b"),
        ({"a": 1, "b": 2}, {"a": 1}, {}, "$.b"),
        ({"a": 1, "b": 2}, {"a": 1}, {"ignore_extra": True}, None),
        ({"a b": 1}, {"a b": 2}, {}, "$['a b']"),
        ({"a b": 1}, {}, {}, "$['a b']"),
        ([1, 2], [2, 1], {}, "$[0]"),
        ([1, 2], [2, 1], {"ignore_order": True}, None),
        ([1, 1, 2], [1, 2, 2], {"ignore_order": True}, "$"),
        ([1], [1, 2], {}, "$[1]"),
        ([0.9, 1.1], [1.0, 1.9], {"ignore_order": True, "tol": 1}, None),
        ([1.0, 0.0], [0.5, 1.4], {"ignore_order": True, "tol": 0.5}, None),
        (True, 1, {}, "$"),
        ("1", 1, {}, "$"),
        (1.05, 1, {"tol": 0.1}, None),
        ("", "", {}, None),
    ],
)
def test_where_two_values_differ_is_said(
    given_value: Any, right: Any, params: dict[str, Any], where: str | None
) -> None:
    assert difference(given_value, right, **params) == where


@given(JSON, JSON)
def test_without_options_json_is_equal_where_exact_match_says_so(one: Any, other: Any) -> None:
    assert (difference(one, other) is None) == (canonical(one) == canonical(other))


@given(st.lists(JSON, max_size=5), st.randoms())
def test_any_order_of_a_list_is_equal_where_order_is_ignored(items: list[Any], random: Any) -> None:
    shuffled = random.sample(items, len(items))
    assert difference(shuffled, items, ignore_order=True) is None


def _same_in_any_order(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            _same_in_any_order(one[key], other[key]) for key in one
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and any(
            all(map(_same_in_any_order, one, order)) for order in permutations(other)
        )
    return canonical(one) == canonical(other)


@given(JSON, JSON, st.randoms())
def test_order_is_ignored_at_every_depth_and_nothing_else_is(
    one: Any, other: Any, random: Any
) -> None:
    for answer, right in ((one, other), ([one, other], [other, one])):
        found = difference(answer, right, ignore_order=True) is None
        assert found == _same_in_any_order(answer, right)


def test_long_lists_in_any_order_are_not_compared_pair_by_pair() -> None:
    items = [{"id": index, "tags": [index, index + 1]} for index in range(20_000)]
    assert difference(items[::-1], items, ignore_order=True) is None
    assert difference([*items[1:], {"id": -1}], items, ignore_order=True) == "$"


@pytest.mark.parametrize(
    ("params", "away"),
    [
        ({}, False),
        ({"ignore_order": True}, False),
        ({"ignore_extra": True, "tol": 0.1}, False),
        ({"ignore_order": True, "tol": 0.1}, True),
        ({"ignore_order": True, "ignore_extra": True}, True),
    ],
)
def test_what_has_to_try_pairs_runs_off_the_loop(params: dict[str, Any], away: bool) -> None:
    made, _ = make(use("builtin/json_match", **params), "metric")
    assert made.cpu_bound is away
    assert pickle.loads(pickle.dumps(made)).fingerprint() == made.fingerprint()


# ── contains, regex_match, levenshtein ────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("metric", "answer", "right", "params", "value"),
    [
        ("contains", "It is Paris.", "Paris", {}, 1),
        ("contains", "It is paris.", "Paris", {}, 0),
        ("contains", "It is STRASSE", "straße", {"ignore_case": True}, 1),
        ("contains", "a b", ["b", "z"], {}, 1),
        ("contains", "a b", ["b", "z"], {"every": True}, 0),
        ("contains", "concatenate", "cat", {}, 1),
        ("contains", "concatenate", "cat", {"words": True}, 0),
        ("contains", "C++ it is", "C++", {"words": True}, 1),
        ("contains", "", "x", {}, 0),
        ("contains", 42, 4, {}, 1),
        ("regex_match", "abc", "b", {}, 1),
        ("regex_match", "abc", "b", {"full": True}, 0),
        ("regex_match", "abc", ["x", "a.c"], {"full": True}, 1),
        ("regex_match", "abc", None, {"pattern": "(?i)B"}, 1),
        ("regex_match", "", "^$", {}, 1),
        ("levenshtein", "kitten", "sitting", {}, 1 - 3 / 7),
        ("levenshtein", "", "", {}, 1),
        ("levenshtein", "", "abc", {}, 0),
        ("levenshtein", "ABC", "abc", {"ignore_case": True}, 1),
        ("levenshtein", "e\u0301", "\u00e9", {}, 0),
        ("f1", None, "x", {}, 0),
    ],
)
def test_texts_are_compared_as_they_are_told(
    score: Any, metric: str, answer: Any, right: Any, params: dict[str, Any], value: float
) -> None:
    assert score(metric, answer, right, **params) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    ("metric", "answer", "right", "said"),
    [
        ("contains", "x", "", "an expected text is empty; everything contains it"),
        ("contains", "x", [], "lists no answer"),
        ("regex_match", "x", "(", "no regular expression"),
        ("numeric", 1, "many", "'many' is no number"),
        ("f1", {"a": 1}, "x", "is no text; give the metric a parser"),
        ("f1", "x", {"a": 1}, "neither a text, a list of texts, nor an object"),
        ("bleu", "x", [["y"]], "neither a text, a list of texts"),
        ("bleu", "x", [], "lists no answer"),
        ("rouge", ["x"], "y", "is no text"),
        ("json_match", 1, None, "has no expected_output"),
        ("exact_match(any_of)", "x", [], "lists no answer"),
        ("exact_match(ignore_case)", "x", {"answers": []}, "lists no answer"),
        ("math_equivalence", "1", None, "has no expected_output"),
    ],
)
def test_what_cannot_be_scored_is_an_error_that_says_why(
    score: Any, metric: str, answer: Any, right: Any, said: str
) -> None:
    name, _, flag = metric.removesuffix(")").partition("(")
    found = score(name, answer, right, **({flag: True} if flag else {}))
    assert isinstance(found, ScoreError)
    assert said in found.reason
    assert "case-1" in found.reason


@pytest.mark.parametrize(
    ("metric", "params", "said"),
    [
        ("exact_match", {"normalize": "squadd"}, "did you mean 'squad'"),
        ("exact_match", {"regexes_to_ignore": ["("]}, "must be a regular expression"),
        ("exact_match", {"regexes_to_ignore": ","}, "must be a list of regular expressions"),
        ("exact_match", {"ignore_case": 1}, "must be true or false"),
        ("exact_match", {"normalise": "squad"}, "did you mean 'normalize'"),
        ("f1", {"version": "2"}, "did you mean '2.0'"),
        ("numeric", {"tol": -1}, "must be a number of at least 0"),
        ("numeric", {"abs_tol": 1}, "did you mean"),
        ("bleu", {"tokenize": "spm"}, 'must be "13a" or'),
        ("bleu", {"smooth_method": "add"}, "did you mean 'add-k'"),
        ("chrf", {"word_order": -1}, "must be an integer of at least 0"),
        ("rouge", {"variant": "rouge-l"}, 'must be "rouge1" to'),
        ("rouge", {"variant": "rouge0"}, 'must be "rouge1" to'),
        ("math_equivalence", {"timeout": 0.5}, "must be an integer of at least 1"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(
    metric: str, params: dict[str, Any], said: str
) -> None:
    with pytest.raises(DefinitionError, match=said):
        make(use(f"builtin/{metric}", **params), "metric")


@pytest.mark.parametrize(
    ("component", "kind", "params", "module", "extra"),
    [
        ("bleu", "metric", {}, "sacrebleu", "text"),
        ("levenshtein", "metric", {}, "rapidfuzz", "text"),
        ("rouge", "metric", {"stemmer": True}, "nltk", "text"),
        ("math_equivalence", "metric", {}, "math_verify", "math"),
        ("json", "parser", {"schema": {}}, "jsonschema", "schema"),
    ],
)
def test_a_missing_package_is_told_with_its_extra_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch,
    component: str,
    kind: Any,
    params: dict[str, Any],
    module: str,
    extra: str,
) -> None:
    monkeypatch.setattr(
        "themis.catalog.component.find_spec", lambda name: None if name == module else name
    )
    with pytest.raises(MissingExtraError, match=rf"pip install 'themis-eval\[{extra}\]'"):
        make(use(f"builtin/{component}", **params), kind)


@pytest.mark.parametrize("metric", ["ter", "rouge", "math_equivalence"])
def test_what_runs_off_the_loop_can_be_sent_to_another_process(metric: str) -> None:
    made, _ = make(f"builtin/{metric}", "metric")
    assert made.cpu_bound
    case = Case(case_id="c", input="q", expected_output="1/2")
    again = pickle.loads(pickle.dumps(made))
    one, other = (metric.score(ParsedOutput(value="0.5"), case, None) for metric in (made, again))
    assert isinstance(one, Score)
    assert one == other


# ── math_equivalence ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("answer", "right", "value"),
    [
        ("1/2", "0.5", 1),
        (r"\frac{1}{2}", "0.5", 1),
        (r"2\sqrt{3}", r"\sqrt{12}", 1),
        (r"2\sqrt{3}", "2", 0),
        ("x^2+1", "1+x^2", 1),
        ("(1,2)", "(1, 2)", 1),
        (r"So it is $\boxed{\frac{3}{6}}$.", "1/2", 1),
        ("1,000", "1000", 1),
        ("7", ["6", "7"], 1),
        (7, 7, 1),
        ("", "1", 0),
        ("no idea", "1", 0),
        # Lists, tuples, matrices, sets and intervals are compared whole.
        ("7, 8, 3", "1, 2, 3", 0),
        ("7, 8, 3", "3", 0),
        ("3", "1, 2, 3", 0),
        ("3,5,7", "3, 5, 7", 1),
        ("2 and 1", "1, 2", 1),
        ("(2, 1)", "(1, 2)", 0),
        ("(3, 2)", "(1, 2)", 0),
        ("$(1, 3)$, $(1, 2)$", "(1, 2), (1, 3)", 1),
        ("$1$, $2$, $3$, $4$, $5$, $6$, $7$, $8$", "7, 8", 0),
        ("So: $1$, $2$, $3$, $4$, $5$, $6$, $7$, $8$", "7, 8", 0),
        (r"\begin{pmatrix} 9 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", 0),
        (r"\begin{pmatrix} 0 & 0 \\ 0 & 4 \end{pmatrix}", "4", 0),
        ("$\\begin{pmatrix}\n1\\\\\n2\\end{pmatrix}$", r"\begin{pmatrix}1\\2\end{pmatrix}", 1),
        ("$\\begin{pmatrix}\n1\\\\\n2\\end{pmatrix}$", "2", 0),
        (r"\{9, 2\}", r"\{1, 2\}", 0),
        ("[9, 2)", "[1, 2)", 0),
        ("(1, 2]", "[1, 2]", 0),
        ("$1, 2, 3, \\ldots$", "3", 0),
        # Equations and mixed numbers.
        ("y = 4", "x = 4", 0),
        ("x = 5", "5", 1),
        ("x=3 and y=4", "4", 0),
        ("x=4, y=3", "y = 3, x = 4", 1),
        ("1 1/2", r"\frac{3}{2}", 1),
        (r"1\frac{1}{2}", "1.5", 1),
        ("1 1/2", "1/2", 0),
        (r"2\frac{1}{2}", "1.5", 0),
        # Amounts, and what they are amounts of.
        (r"\$10", "10", 1),
        (r"\$18.90", r"\$18.9", 1),
        ("$1,000", "1000", 1),
        ("$5, $6", "6", 0),
        ("18 eggs", "18", 1),
        ("She has 18 eggs.", "18 eggs", 1),
        ("18 cows", "18 eggs", 0),
        ("3 cm^2", "3", 1),
        ("90°", "90", 1),
        ("2 hours 30 minutes", "30", 0),
        ("1 hour 30 minutes", "2 hours 30 minutes", 0),
        ("3 + 4 = 7 apples", "7", 1),
        # Bare answers, and words that are the same.
        ("xy", "xy", 1),
        ("2yx", "2xy", 1),
        ("+2", "+2", 1),
        ("No solution", "No solution", 1),
        (r"\text{no solution}", "No solution.", 1),
        ("silent", "listen", 0),
        ("нет решений", "нет решений", 1),
    ],
)
def test_mathematical_equality_is_seen(score: Any, answer: Any, right: Any, value: float) -> None:
    assert score("math_equivalence", answer, right) == value


def test_what_math_verify_cannot_read_is_said() -> None:
    metric = MathEquivalence()
    case = Case(case_id="c", input="q", expected_output="no idea")
    found: Any = metric.score(ParsedOutput(value="1"), case, None)  # type: ignore[arg-type]
    assert (found.value, found.details) == (0.0, {"note": math_process.UNREAD_GOLD})
    strict = MathEquivalence(unread_gold="error")
    refused: Any = strict.score(ParsedOutput(value="1"), case, None)  # type: ignore[arg-type]
    assert isinstance(refused, ScoreError)


@pytest.mark.parametrize(
    ("text", "given_text"),
    [
        (r"2\sqrt{3}", r"$2\sqrt{3}$"),
        ("x+1", "$x+1$"),
        (r"\text{B}", r"$\text{B}$"),
        ("$x$", "$x$"),
        (r"\boxed{1}", r"\boxed{1}"),
        ("1,000", "$1,000$"),
        ("-3/4", "$-3/4$"),
        ("7, 8, 3", "$7, 8, 3$"),
        (r"\(1\) or $2$", "$1 or 2$"),
        (r"\$5", r"$\$5$"),
        ("$5 and $6", "$5 and 6$"),
        ("The answer is 4", "The answer is 4"),
        ("Я не знаю", "Я не знаю"),
        ("$x$ $y$", "$x$ $y$"),
        ("", ""),
    ],
)
def test_only_bare_expressions_are_put_between_dollar_signs(text: str, given_text: str) -> None:
    assert delimited(text) == given_text


ENDLESS = "$9^{9^{9^{9^9}}}$", ["$9^{9^{9^{9^8}}}$"]


def test_time_is_bounded_in_the_main_thread_and_in_others() -> None:
    asked: Any = (ENDLESS[0], ["$5$"], 1, OPTIONS)
    found: list[MathVerdict] = [judged(*asked)]
    thread = threading.Thread(target=lambda: found.append(judged(*asked)))
    thread.start()
    thread.join()
    assert found == [MathVerdict(equal=False, note=math_process.UNDECIDED)] * 2


@pytest.mark.parametrize(
    "answer",
    [
        ENDLESS[0],
        "100000000!",
        "$" + "(" * 5000 + "1" + ")" * 5000 + "$",
    ],
)
def test_an_answer_that_nobody_can_work_out_is_incorrect_and_said_to_be_undecided(
    answer: str,
) -> None:
    metric = MathEquivalence(timeout=2)
    case = Case(case_id="c", input="q", expected_output="5")
    found: Any = metric.score(ParsedOutput(value=answer), case, None)  # type: ignore[arg-type]
    assert (found.value, found.details) == (0.0, {"note": math_process.UNDECIDED})


@pytest.mark.parametrize(
    "answer",
    [
        r"$0.\overline{" + "1" * 5000 + "}$",
        "1万" + "2" * 5000,
        # A quick machine works this one out, and a slow one does not.
        r"$\begin{pmatrix}" + r"1 & 2 \\ " * 2000 + r"\end{pmatrix}$",
    ],
)
def test_an_answer_beyond_all_measure_is_incorrect_and_raises_nothing(
    score: Any, answer: str
) -> None:
    assert score("math_equivalence", answer, "5", timeout=1) == 0.0


def test_an_expected_output_that_nobody_can_work_out_is_told_as_its_own_fault(score: Any) -> None:
    for answer in ("5", ENDLESS[0]):
        found = score("math_equivalence", answer, ENDLESS[1], timeout=1)
        assert isinstance(found, ScoreError)
        assert not found.retryable
        assert "beside the expected output even 1 is undecided" in found.reason
    assert score("math_equivalence", "2", [*ENDLESS[1], "2"], timeout=3) == 1


def test_where_nothing_is_decided_it_is_the_machine_and_may_be_tried_again(
    score: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MathProcess, "ask", lambda self, question, *, within: None)
    found = score("math_equivalence", "5", "6")
    assert isinstance(found, ScoreError)
    assert found.retryable
    assert "even 1 beside 1 is undecided" in found.reason


def test_an_expression_without_end_counts_against_the_model_and_is_asked_once() -> None:
    store = InMemoryRunStore()
    run = experiment(
        ScriptedGenerator({"c0": ENDLESS[0], "c1": "$0.5$"}),
        cases=Dataset(
            dataset_id="sums",
            cases=[
                Case(case_id="c0", input="q", expected_output="5"),
                Case(case_id="c1", input="q", expected_output="1/2"),
            ],
        ),
        metrics=[use("builtin/math_equivalence", timeout=3)],
    )
    for _ in range(2):  # nothing of the first stands in the way of the second
        result = run.run(store=store)
        assert result.status == "completed"
        summary = result.metrics["builtin/math_equivalence"]
        assert (summary.value, summary.n_errors) == (0.5, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_that_a_verdict_may_take_is_bounded_by_the_system() -> None:
    process = MathProcess()
    try:
        assert process.ask(["1/2", ["0.5"], 5, OPTIONS], within=30) == [True, None]
        assert process._process is not None
        limits = Path(f"/proc/{process._process.pid}/limits").read_text()
    finally:
        process.close()
    (line,) = (line for line in limits.splitlines() if line.startswith("Max address space"))
    assert line.split()[3] == str(2 << 30)


def test_what_takes_too_much_memory_is_undecided_and_not_unequal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    math_verify = pytest.importorskip("math_verify")

    def too_much(*_: Any, **__: Any) -> Any:
        raise MemoryError

    for name in ("parse", "verify"):
        with monkeypatch.context() as patch:
            patch.setattr(math_verify, name, too_much)
            found = math_process.compare("1", ["2"], 5, OPTIONS)
        assert found == MathVerdict(equal=False, note=math_process.UNDECIDED)


def test_any_thread_gets_the_verdict_that_the_main_thread_gets() -> None:
    asked = [("1/2", ["0.5"]), ("1/2", ["0.6"]), ("é", ["1"]), ("$x+1$", ["$1+x$"])]
    expected = [judged(*one, 5, OPTIONS) for one in asked]
    found: dict[int, MathVerdict] = {}

    def ask(index: int) -> None:
        found[index] = judged(*asked[index], 5, OPTIONS)

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[index] for index in range(len(asked))] == expected


def test_a_process_that_dies_is_an_answer_that_did_not_come_and_is_started_again() -> None:
    process = MathProcess()
    try:
        assert process.ask(["1/2", ["0.5"], 5, OPTIONS], within=30) == [True, None]
        first = process._process
        assert first is not None
        first.kill()
        first.wait()
        assert process.ask(["1/2", ["0.5"], 5, OPTIONS], within=30) is None
        assert process.ask(["1/2", ["0.5"], 5, OPTIONS], within=30) == [True, None]
    finally:
        process.close()
    assert process._process is None
