"""Own the words in which every kind of job says what it took: tokens by what was done with them, seconds by where."""

from collections.abc import Mapping

TOKENS = ("prompt_tokens", "cached_tokens", "generated_tokens", "scored_tokens", "trained_tokens")
ENGINE_S = ("explain_s", "rollout_s", "generate_s", "score_s")
"""Waiting for the engine's answers, under the names that kinds have for it."""
TRAINER_S = ("train_s", "publish_s", "select_s", "evaluate_s")
"""In the trainer, likewise."""


def in_common_words(spent: Mapping[str, float]) -> dict[str, float]:
    """Add the words that all kinds share to what a trainer told; what it named itself stays as it is.

    What a kind does none of is 0. A job of which nothing was told costs nobody knows what: its cost stays empty.
    """
    if not spent:
        return {}
    common: dict[str, float] = dict.fromkeys(TOKENS, 0.0)
    common["trained_tokens"] = spent.get("completion_tokens", 0.0)
    common["engine_s"] = sum(spent.get(name, 0.0) for name in ENGINE_S)
    common["trainer_s"] = sum(spent.get(name, 0.0) for name in TRAINER_S)
    return common | dict(spent)
