"""What a job took, in words that all kinds share."""

import pytest

from rlt_core.costs import TOKENS, in_common_words

SPENT = {
    "rl": {
        "completion_tokens": 7.0,
        "rollout_s": 2.0,
        "score_s": 1.0,
        "train_s": 4.0,
        "publish_s": 0.5,
        "total_s": 9.0,
    },
    "distill": {"trained_tokens": 9.0, "train_s": 3.0, "total_s": 4.0},
    "collect": {"prompt_tokens": 5.0, "generated_tokens": 6.0, "explain_s": 2.0, "score_s": 1.5},
    "evaluate": {"prompt_tokens": 5.0, "generate_s": 2.5},
}


@pytest.mark.parametrize(
    ("kind", "trained", "engine_s", "trainer_s"),
    [("rl", 7.0, 3.0, 4.5), ("distill", 9.0, 0.0, 3.0), ("collect", 0.0, 3.5, 0.0), ("evaluate", 0.0, 2.5, 0.0)],
)
def test_every_kind_says_what_it_took_in_the_same_words(
    kind: str, trained: float, engine_s: float, trainer_s: float
) -> None:
    found = in_common_words(SPENT[kind])
    assert {*TOKENS, "engine_s", "trainer_s"} <= found.keys()
    assert (found["trained_tokens"], found["engine_s"], found["trainer_s"]) == (trained, engine_s, trainer_s)
    assert found.items() >= SPENT[kind].items()  # outside programs read the words that were there before


def test_words_that_a_trainer_says_itself_are_left_alone_and_unknown_costs_stay_unknown() -> None:
    assert in_common_words({"engine_s": 1.0, "explain_s": 5.0})["engine_s"] == 1.0
    assert in_common_words({}) == {}
