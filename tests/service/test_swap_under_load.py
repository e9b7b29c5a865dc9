"""Sixty-four clients while the alias moves: nothing fails, no answer is of two versions (more: `make bench-swap`)."""

from pathlib import Path

import pytest

from rlt_service.engine.fake_engine import FakeEngine, FakeOptions, rule_logprobs
from rlt_service.engine.protocol import AdapterRef
from tests.support.control import write_adapter
from tests.support.service import make_app, serving
from tests.support.swapping import Load, Seen, Swap, check_stamps, swapped

CLIENTS, SWAPS = 64, 12
TEMPERATURE = 0.7
BODY = {
    "question": "What is 17 + 25?",
    "solution": "42",
    "temperature": TEMPERATURE,
    "max_tokens": 64,
    "include": ["tokens"],
}


async def test_64_clients_through_swaps_get_whole_answers_of_one_version_each(tmp_path: Path) -> None:
    engine = FakeEngine(FakeOptions(delay_s=0.05))
    async with serving(make_app(tmp_path, engine=engine)) as http:
        versions: list[str] = []
        for seed in (1, 2):
            write_adapter(tmp_path / "artifacts" / "imports" / f"marker-{seed}", seed=seed)
            made = await http.post("/v1/teachers/marker/versions", json={"folder": f"marker-{seed}"})
            versions.append(made.json()["version"])
        swaps = [Swap(asked_s=0.0, done_s=0.0, version="fake@0")]
        async with Load(http, clients=CLIENTS, body=BODY) as load:
            for number in range(SWAPS):
                await load.answers(CLIENTS // 2)  # requests are in flight at each swap
                served = swaps[-1].version
                other = versions[number % 2]
                swaps.append(await swapped(http, served=served, other=other, back=number % 4 == 3))
    check_stamps(load.seen, swaps)
    assert {seen.stamped for seen in load.seen} >= set(versions)
    assert [seen for seen in load.seen if is_mixed(seen)] == []


def is_mixed(seen: Seen) -> bool:
    """Tell whether a token's log-prob is not what the stamped version gives it; each version gives others."""
    adapter = AdapterRef(version=seen.stamped, path=Path(), sha256="")
    for tokens in seen.tokens:
        prompt = tokens["prompt_token_ids"]
        ids = [*prompt, *tokens["completion_token_ids"]]
        own = rule_logprobs(ids, start=len(prompt), temperature=TEMPERATURE, adapter=adapter)
        if tokens["completion_logprobs"] != pytest.approx(own):
            return True
    return False


def test_an_answer_of_two_versions_would_be_seen() -> None:
    prompt, half = [1, 2, 3], 4
    ids = [*prompt, *range(10, 18)]
    first, second = (
        rule_logprobs(
            ids,
            start=len(prompt),
            temperature=TEMPERATURE,
            adapter=AdapterRef(version=f"marker@{number}", path=Path(), sha256=""),
        )
        for number in (1, 2)
    )
    for logprobs, mixed in ((first, False), (second, True), ((*first[:half], *second[half:]), True)):
        tokens = {"prompt_token_ids": prompt, "completion_token_ids": ids[3:], "completion_logprobs": list(logprobs)}
        body = {"explanations": [{"tokens": tokens}]}
        seen = Seen(asked_s=0.0, answered_s=1.0, status=200, stamped="marker@1", body=body)
        assert is_mixed(seen) == mixed
