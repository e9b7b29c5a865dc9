"""Guards of exact scores: what vLLM does when it is left alone. Data only; all but one on vLLM and a tiny model."""

from benchmarks.reliability.guard import Guard

ON_VLLM = "tests/engine/test_score_independence.py"
TARGETS_TEST = "tests/service/test_bad_adapters.py::test_a_bad_adapter_is_not_registered[lm_head]"
NAME_TEST = f"{ON_VLLM}::test_a_version_that_comes_back_is_itself_and_its_name_is_no_other_adapters[whole]"
ORDER_TEST = f"{ON_VLLM}::test_scores_are_the_same_in_every_order_and_batch_cold_and_warm[whole]"
SPAN_TEST = f"{ON_VLLM}::test_a_sequence_scored_before_is_read_from_the_cache_up_to_its_first_wanted_state[whole]"

SCORING_GUARDS = (
    Guard(
        name="cached-span",
        section="scores",
        promise="a cached prefix is read up to the state that the first wanted log-prob needs, and no further",
        file="services/rlt_service/engine/scoring_scheduler.py",
        old="        readable = min(request.num_tokens, parameters.start) - 1\n",
        new="        readable = request.num_tokens - 1\n",
        tests={SPAN_TEST: "did not pass the check at start"},
    ),
    Guard(
        name="lm-head",
        section="scores",
        promise="adapters of lm_head, which vLLM drops without a word (#51594), are refused",
        file="services/rlt_service/engine/adapters.py",
        old='not in (*LORA_TARGETS, "all-linear"):',
        new='not in (*LORA_TARGETS, "all-linear", "lm_head"):',
        tests={TARGETS_TEST: "spoilt@1"},
    ),
    Guard(
        name="adapter-ids",
        section="scores",
        promise="an adapter's number in the engine is never another's (#42125)",
        file="services/rlt_service/engine/vllm_adapters.py",
        old="        self._ids = count(1)\n",
        new="        self._ids = iter(lambda: 1, 0)\n",
        tests={ORDER_TEST: "order 0"},
    ),
    Guard(
        name="adapter-names",
        section="scores",
        promise="a name whose files have changed is refused: states of the first stay in the cache (#30931)",
        file="services/rlt_service/engine/vllm_adapters.py",
        old="        if known != adapter.sha256:\n",
        new="        if False:\n",
        tests={NAME_TEST: "DID NOT RAISE"},
    ),
)
