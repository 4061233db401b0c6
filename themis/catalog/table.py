"""The one table of names: which id or short name stands for which part.

Ids resolve to strings, so that asking for one part loads that part only. Nothing is checked here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Kind = Literal["generator", "selector", "reducer", "parser", "metric", "judge"]

CATALOG: Mapping[Kind, Mapping[str, str]] = {
    "generator": {
        "builtin/demo_generator": "themis.catalog.generators:DemoGenerator",
        "builtin/outputs": "themis.catalog.outputs:Outputs",
    },
    "selector": {"builtin/best_of_n": "themis.catalog.selectors:BestOfN"},
    "reducer": {
        "builtin/first": "themis.catalog.reducers:First",
        "builtin/longest": "themis.catalog.reducers:Longest",
        "builtin/majority_vote": "themis.catalog.reducers:MajorityVote",
        "builtin/medoid": "themis.catalog.reducers:Medoid",
    },
    "parser": {
        "builtin/choice_letter": "themis.catalog.parsers:ChoiceLetter",
        "builtin/code_text": "themis.catalog.parsers:CodeText",
        "builtin/gsm8k_cot_strict": "themis.catalog.presets:Gsm8kCotStrict",
        "builtin/gsm8k_flexible": "themis.catalog.presets:Gsm8kFlexible",
        "builtin/gsm8k_strict": "themis.catalog.presets:Gsm8kStrict",
        "builtin/json": "themis.catalog.parsers:Json",
        "builtin/json_identity": "themis.catalog.parsers:JsonIdentity",
        "builtin/math_answer": "themis.catalog.number_parsers:MathAnswer",
        "builtin/mmlu_flan_cot": "themis.catalog.presets:MmluFlanCot",
        "builtin/mmlu_flan_cot_strict": "themis.catalog.presets:MmluFlanCotStrict",
        "builtin/mmlu_generative": "themis.catalog.presets:MmluGenerative",
        "builtin/mmlu_pro": "themis.catalog.presets:MmluPro",
        "builtin/number": "themis.catalog.number_parsers:NumberIn",
        "builtin/regex": "themis.catalog.parsers:Regex",
        "builtin/text": "themis.catalog.parsers:Text",
    },
    "metric": {
        "builtin/assert_pass_rate": "themis.catalog.code_metrics:AssertPassRate",
        "builtin/best_at_k": "themis.catalog.set_metrics:BestAtK",
        "builtin/bleu": "themis.catalog.translation:Bleu",
        "builtin/choice_accuracy": "themis.catalog.metrics:ChoiceAccuracy",
        "builtin/chrf": "themis.catalog.translation:Chrf",
        "builtin/consistency": "themis.catalog.set_metrics:Consistency",
        "builtin/contains": "themis.catalog.text_metrics:Contains",
        "builtin/conversation_rubric": "themis.catalog.trace_rubrics:ConversationRubric",
        "builtin/exact_match": "themis.catalog.metrics:ExactMatch",
        "builtin/f1": "themis.catalog.text_metrics:F1",
        "builtin/humaneval_pass_rate": "themis.catalog.code_metrics:HumanEvalPassRate",
        "builtin/json_match": "themis.catalog.metrics:JsonMatch",
        "builtin/levenshtein": "themis.catalog.text_metrics:Levenshtein",
        "builtin/llm_rubric": "themis.catalog.judged:LLMRubric",
        "builtin/maj_at_k": "themis.catalog.set_metrics:MajorityAtK",
        "builtin/majority_vote_judge": "themis.catalog.judged:MajorityVoteJudge",
        "builtin/math_equivalence": "themis.catalog.math_metric:MathEquivalence",
        "builtin/mean_at_k": "themis.catalog.set_metrics:MeanAtK",
        "builtin/numeric": "themis.catalog.metrics:Numeric",
        "builtin/pairwise_judge": "themis.catalog.pairwise:PairwiseJudge",
        "builtin/panel_of_judges": "themis.catalog.judged:PanelOfJudges",
        "builtin/pass_at_k": "themis.catalog.set_metrics:PassAtK",
        "builtin/regex_match": "themis.catalog.text_metrics:RegexMatch",
        "builtin/rouge": "themis.catalog.rouge:Rouge",
        "builtin/stdio_pass_rate": "themis.catalog.code_metrics:StdioPassRate",
        "builtin/ter": "themis.catalog.translation:Ter",
        "builtin/trace/sequence": "themis.catalog.trace_metrics:CallSequence",
        "builtin/trace/step_count": "themis.catalog.trace_metrics:StepCount",
        "builtin/trace/tool_called": "themis.catalog.trace_metrics:ToolCalled",
        "builtin/trace_rubric": "themis.catalog.trace_rubrics:TraceRubric",
    },
    "judge": {"builtin/demo_judge": "themis.catalog.judges:DemoJudge"},
}

# Adapters go by short names. They fingerprint their own arguments, some of which (an address that
# stands behind a model_id, a key) are no part of identity, so that no params are recorded for them.
ADAPTERS: Mapping[Kind, Mapping[str, str]] = {
    "generator": {
        "function": "themis.adapters:function",
        "http": "themis.adapters:http",
        "langgraph": "themis.adapters:langgraph",
        "openai": "themis.adapters:openai",
        "vllm": "themis.adapters:vllm",
    },
    "judge": {
        "openai_judge": "themis.adapters:openai_judge",
        "vllm_judge": "themis.adapters:vllm_judge",
    },
}
