"""The one table of names: which id or short name stands for which part.

Ids resolve to strings, so that asking for one part loads that part only. Nothing is checked here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Kind = Literal["generator", "selector", "reducer", "parser", "metric", "judge"]

CATALOG: Mapping[Kind, Mapping[str, str]] = {
    "generator": {
        "builtin/demo_generator": "themis.catalog.generators.demo:DemoGenerator",
        "builtin/outputs": "themis.catalog.generators.outputs:Outputs",
    },
    "selector": {"builtin/best_of_n": "themis.catalog.judged.best_of_n:BestOfN"},
    "reducer": {
        "builtin/first": "themis.catalog.reducers:First",
        "builtin/longest": "themis.catalog.reducers:Longest",
        "builtin/majority_vote": "themis.catalog.reducers:MajorityVote",
        "builtin/medoid": "themis.catalog.reducers:Medoid",
    },
    "parser": {
        "builtin/choice_letter": "themis.catalog.parsers.text:ChoiceLetter",
        "builtin/code_text": "themis.catalog.parsers.text:CodeText",
        "builtin/gsm8k_cot_strict": "themis.catalog.parsers.presets:Gsm8kCotStrict",
        "builtin/gsm8k_flexible": "themis.catalog.parsers.presets:Gsm8kFlexible",
        "builtin/gsm8k_strict": "themis.catalog.parsers.presets:Gsm8kStrict",
        "builtin/json": "themis.catalog.parsers.text:Json",
        "builtin/json_identity": "themis.catalog.parsers.text:JsonIdentity",
        "builtin/math_answer": "themis.catalog.parsers.numbers:MathAnswer",
        "builtin/mmlu_flan_cot": "themis.catalog.parsers.presets:MmluFlanCot",
        "builtin/mmlu_flan_cot_strict": "themis.catalog.parsers.presets:MmluFlanCotStrict",
        "builtin/mmlu_generative": "themis.catalog.parsers.presets:MmluGenerative",
        "builtin/mmlu_pro": "themis.catalog.parsers.presets:MmluPro",
        "builtin/number": "themis.catalog.parsers.numbers:NumberIn",
        "builtin/regex": "themis.catalog.parsers.text:Regex",
        "builtin/text": "themis.catalog.parsers.text:Text",
    },
    "metric": {
        "builtin/assert_pass_rate": "themis.catalog.metrics.code:AssertPassRate",
        "builtin/best_at_k": "themis.catalog.metrics.samples:BestAtK",
        "builtin/bleu": "themis.catalog.metrics.translation:Bleu",
        "builtin/choice_accuracy": "themis.catalog.metrics.match:ChoiceAccuracy",
        "builtin/chrf": "themis.catalog.metrics.translation:Chrf",
        "builtin/consistency": "themis.catalog.metrics.samples:Consistency",
        "builtin/contains": "themis.catalog.metrics.overlap:Contains",
        "builtin/conversation_rubric": (
            "themis.catalog.judged.trajectory_rubrics:ConversationRubric"
        ),
        "builtin/exact_match": "themis.catalog.metrics.match:ExactMatch",
        "builtin/f1": "themis.catalog.metrics.overlap:F1",
        "builtin/humaneval_pass_rate": "themis.catalog.metrics.code:HumanEvalPassRate",
        "builtin/json_match": "themis.catalog.metrics.match:JsonMatch",
        "builtin/levenshtein": "themis.catalog.metrics.overlap:Levenshtein",
        "builtin/llm_rubric": "themis.catalog.judged.rubrics:LLMRubric",
        "builtin/maj_at_k": "themis.catalog.metrics.samples:MajorityAtK",
        "builtin/majority_vote_judge": "themis.catalog.judged.rubrics:MajorityVoteJudge",
        "builtin/math_equivalence": "themis.catalog.metrics.math:MathEquivalence",
        "builtin/mean_at_k": "themis.catalog.metrics.samples:MeanAtK",
        "builtin/numeric": "themis.catalog.metrics.match:Numeric",
        "builtin/pairwise_judge": "themis.catalog.judged.pairwise:PairwiseJudge",
        "builtin/panel_of_judges": "themis.catalog.judged.rubrics:PanelOfJudges",
        "builtin/pass_at_k": "themis.catalog.metrics.samples:PassAtK",
        "builtin/regex_match": "themis.catalog.metrics.overlap:RegexMatch",
        "builtin/rouge": "themis.catalog.metrics.rouge:Rouge",
        "builtin/stdio_pass_rate": "themis.catalog.metrics.code:StdioPassRate",
        "builtin/ter": "themis.catalog.metrics.translation:Ter",
        "builtin/trace/sequence": "themis.catalog.metrics.trajectories:CallSequence",
        "builtin/trace/step_count": "themis.catalog.metrics.trajectories:StepCount",
        "builtin/trace/tool_called": "themis.catalog.metrics.trajectories:ToolCalled",
        "builtin/trace_rubric": "themis.catalog.judged.trajectory_rubrics:TraceRubric",
    },
    "judge": {"builtin/demo_judge": "themis.catalog.judged.demo_judge:DemoJudge"},
}

# Adapters go by short names. They fingerprint their own arguments, some of which (an address that
# stands behind a model_id, a key) are no part of identity, so that no params are recorded for them.
ADAPTERS: Mapping[Kind, Mapping[str, str]] = {
    "generator": {
        "anthropic": "themis.adapters:anthropic",
        "function": "themis.adapters:function",
        "gemini": "themis.adapters:gemini",
        "http": "themis.adapters:http",
        "langgraph": "themis.adapters:langgraph",
        "openai": "themis.adapters:openai",
        "vllm": "themis.adapters:vllm",
    },
    "judge": {
        "anthropic_judge": "themis.adapters:anthropic_judge",
        "gemini_judge": "themis.adapters:gemini_judge",
        "openai_judge": "themis.adapters:openai_judge",
        "vllm_judge": "themis.adapters:vllm_judge",
    },
}
