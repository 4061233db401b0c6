"""What parts of the catalog have in common: their parameters, and the fingerprints made of these.

Covers: themis.catalog.component, themis.catalog.registry
"""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from themis.catalog import registry
from themis.catalog.metrics.match import ExactMatch, Numeric
from themis.catalog.metrics.overlap import F1
from themis.catalog.metrics.rouge import Rouge
from themis.core.config import use
from themis.core.errors import DefinitionError

FINGERPRINTS: list[tuple[str, dict[str, Any], str, str]] = [
    ("builtin/choice_letter", {}, "1", "t1:03d99c5f2bff301ea6be4aa878c7f0b5"),
    ("builtin/number", {}, "1", "t1:df17c982cf047d993c78a10c9028815f"),
    ("builtin/exact_match", {}, "1", "t1:547968f6a7f6c426f19e6a02c3496b77"),
    ("builtin/choice_accuracy", {}, "1", "t1:9522b55fddedb5cb914c2c26aee7e3d1"),
    ("builtin/numeric", {}, "1", "t1:12019839d652bb0996f132233ee37842"),
    ("builtin/json_match", {}, "1", "t1:1ea4a8edf9eaa5ebd2c1093915e0ed1e"),
    ("builtin/f1", {}, "1", "t1:e925f901beead282ea60ba053609b960"),
    ("builtin/contains", {}, "1", "t1:8884a3c6a3a8cb6696dfbd1dccc49417"),
    ("builtin/regex_match", {}, "1", "t1:61000e10aee335046a93951078083016"),
    ("builtin/levenshtein", {}, "1", "t1:ff3c041600f32d3289979f9e0ef026e4"),
    ("builtin/rouge", {}, "1", "t1:e0bd1619ab01eb5b1bb53bcb6e7c9ab9"),
    ("builtin/bleu", {}, "1", "t1:8a5034af4bbfbc3904b34d0e0ed720d9"),
    ("builtin/chrf", {}, "1", "t1:da955137e6e680b9716494759c461e4b"),
    ("builtin/ter", {}, "1", "t1:745fa50f19b31d2c06f2ae78af5636ce"),
    ("builtin/math_equivalence", {}, "1", "t1:5fff1aab893a0a08eb7089455c08e8ae"),
    ("builtin/humaneval_pass_rate", {}, "1", "t1:cc68e50aebae2b81d0238f6b5800d6f8"),
    ("builtin/trace/tool_called", {}, "1", "t1:588dfea7f649359f8d46863337601714"),
    ("builtin/trace/sequence", {}, "1", "t1:db9d17a6a75e7d47abff8db0d4f1c083"),
    ("builtin/trace/step_count", {}, "1", "t1:b32560fb3b1c5ed4f967178c57cbed8e"),
    ("builtin/medoid", {}, "1", "t1:48e92c1c4803cb21ed834ae6027eb563"),
    ("builtin/demo_generator", {}, "1", "t1:d83ddf72491346d3a37efc82b2c7adfc"),
    ("builtin/choice_letter", {"choices": "ABCDE"}, "1", "t1:fdb1bf336447a646c899c32b1934ae9f"),
    (
        "builtin/code_text",
        {"language": ["py", "Go"], "pick": "only", "unfenced": True},
        "1",
        "t1:4dab349b823fe415102506111fbac4ed",
    ),
    ("builtin/gsm8k_strict", {}, "1", "t1:2ecf21e8da00a9d64bcd398a1e0560bf"),
    ("builtin/json", {"schema": {"type": "object"}}, "1", "t1:0d296359d0889da621bae5e31e4a95ba"),
    ("builtin/json_identity", {}, "1", "t1:e400c97aade3542930636ca392728504"),
    (
        "builtin/math_answer",
        {"fallback": "last_number"},
        "1",
        "t1:337199750d22b504c7dd3a247783a569",
    ),
    ("builtin/text", {}, "1", "t1:e400c97aade3542930636ca392728504"),
    (
        "builtin/regex",
        {"pattern": "(?P<x>\\d+)(a)?", "group": "x", "pick": "last"},
        "1",
        "t1:3d2a4f32a5e74ec0ef0c75fa57037b94",
    ),
    (
        "builtin/exact_match",
        {"regexes_to_ignore": ["a", "b+"]},
        "1",
        "t1:9e8c0fd39aeff9f21aa72845849cbb53",
    ),
    ("builtin/exact_match", {"any_of": True}, "1", "t1:b2a34177d6046471394d63ff3c7bfd3a"),
    ("builtin/exact_match", {"normalize": "squad"}, "1", "t1:35497d758f3aac0daf2ae3ec833fda7e"),
    ("builtin/numeric", {"tol": 1}, "1", "t1:75185c3b6cb71c0ba9b6f9d139b24deb"),
    ("builtin/f1", {"version": "1.1"}, "1", "t1:0ee25bc7e5972fdb9a6336356a4d11a3"),
    ("builtin/pass_at_k", {"of": "m", "k": 8}, "1", "t1:ff1aca472d4ba0c8a3fc841df5080431"),
    ("builtin/consistency", {"of": "m"}, "1", "t1:7b6469f53cf4a0f25917addd958d31e1"),
    ("builtin/llm_rubric", {"rubric": "Is it right?"}, "1", "t1:7c19496b5de2c65a419ff1be6a428c4e"),
    (
        "builtin/panel_of_judges",
        {"rubric": "Is it right?"},
        "1",
        "t1:2792c021e79ad44aa723f15a719a292f",
    ),
    (
        "builtin/majority_vote_judge",
        {"rubric": "Is it right?"},
        "1",
        "t1:2792c021e79ad44aa723f15a719a292f",
    ),
    (
        "builtin/trace_rubric",
        {"rubric": "Is it right?"},
        "1",
        "t1:7c19496b5de2c65a419ff1be6a428c4e",
    ),
    (
        "builtin/pairwise_judge",
        {"rubric": "Is it right?"},
        "1",
        "t1:b2f51d2afbfc44ffe358691518e36077",
    ),
    ("builtin/best_of_n", {"rubric": "Is it right?"}, "1", "t1:2b3cfed0f99c089ddfe067a7bcb6986b"),
    ("builtin/humaneval_pass_rate", {"at_once": 2}, "1", "t1:cc68e50aebae2b81d0238f6b5800d6f8"),
    ("builtin/stdio_pass_rate", {"partial": True}, "1", "t1:4b93bfcd50eb151a2c3e2502a739c679"),
    ("builtin/first", {}, "1", "t1:c16e49945739ce5db610ac729d541f45"),
    ("builtin/majority_vote", {}, "1", "t1:c16e49945739ce5db610ac729d541f45"),
    ("builtin/demo_judge", {}, "1", "t1:a45a74383216ce29bc620075203d0a48"),
]


@pytest.mark.parametrize(("component_id", "params", "version", "fingerprint"), FINGERPRINTS)
def test_a_fingerprint_is_what_it_was(
    component_id: str, params: dict[str, Any], version: str, fingerprint: str
) -> None:
    kind = registry.kind_of(component_id)
    assert kind is not None
    made, _ = registry.make(use(component_id, **params), kind)
    assert (made.version, made.fingerprint()) == (version, fingerprint)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Numeric(tol="1"), "builtin/numeric: tol = '1': must be a number of at least 0"),
        (lambda: Numeric(tol=True), "builtin/numeric: tol = True: must be a number of at least 0"),
        (lambda: Numeric(rel_tol=2), "builtin/numeric: rel_tol = 2: must be a number from 0 to 1"),
        (
            lambda: ExactMatch(normalize="sqad"),
            'builtin/exact_match: normalize = \'sqad\': must be "none" or "squad"; '
            "did you mean 'squad'?",
        ),
        (
            lambda: ExactMatch(regexes_to_ignore=["a", "("]),
            "builtin/exact_match: regexes_to_ignore = '(': must be a regular expression "
            "(missing ), unterminated subpattern at position 0)",
        ),
        (lambda: Numeric(toll=1), "builtin/numeric has no param 'toll'; did you mean 'tol'?"),
        (
            lambda: F1(version="3.0"),
            "builtin/f1: version = '3.0': must be \"2.0\" or \"1.1\"; did you mean '2.0'?",
        ),
    ],
)
def test_a_parameter_is_refused_by_name_and_value_and_never_coerced(make: Any, said: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        make()
    assert str(refused.value) == said
    assert refused.value.field in said


def test_a_part_is_pickled_with_its_parameters() -> None:
    made = Rouge(variant="rouge2", measure="recall")
    sent = pickle.loads(pickle.dumps(made))
    assert (sent, sent.fingerprint()) == (made, made.fingerprint())
