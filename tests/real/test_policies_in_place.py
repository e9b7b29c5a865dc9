"""Policies of all weights on real vLLM: one engine takes up one after the other, and each answer is of just one."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM

from rlt_core.artifacts import weights_sha256
from rlt_core.errors import EngineUnavailableError, InvalidWeightsError
from rlt_service.engine.models import resolve_model
from rlt_service.engine.protocol import FullRef, GenerateRequest, SequenceScoreRequest, Weights
from rlt_service.engine.vllm_engine import VllmEngine
from rlt_service.settings import Settings

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="session")]

BASE = "builtin:smollm2-135m"
JOB = "job_0123456789abcdef0123"
TEXT = "Carla has 13 coins and sells 9. How many are left? 13 - 9 = 4. So Carla has 4 coins now. The answer is 4."


def write_policy(folder: Path, *, base: Path, step: int) -> FullRef:
    """Write the base's model with something changed in a norm, in products and in the tied output layer."""
    folder.mkdir()
    shutil.copyfile(base / "config.json", folder / "config.json")
    weights = load_file(base / "model.safetensors")
    dice = np.random.default_rng(step)
    for name in ("model.norm.weight", "model.layers.3.self_attn.q_proj.weight", "model.layers.7.mlp.down_proj.weight"):
        weights[name] = weights[name] * (1.0 + 0.2 * dice.standard_normal(weights[name].shape)).astype(np.float32)
    weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"] * np.float32(1.0 + 0.05 * step)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return FullRef(version=f"{JOB}.1@{step}", path=folder, sha256=weights_sha256(folder))


def forward(folder: Path, ids: Sequence[int], *, start: int, temperature: float) -> list[float]:
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        logits_TV = model(torch.tensor([list(ids)])).logits[0, start - 1 : -1]
    logprobs_TV = torch.log_softmax(logits_TV.double() / temperature, dim=-1)
    return logprobs_TV.gather(1, torch.tensor(ids[start:])[:, None])[:, 0].tolist()


def apart(left: Sequence[float], right: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(left, right, strict=True))


async def scored(engine: VllmEngine, ids: Sequence[int]) -> list[float]:
    request = SequenceScoreRequest(token_ids=ids, start=len(ids) - 8, temperature=0.7, adapter=None)
    [result] = await engine.score([request])
    return list(result.logprobs)


async def sampled(engine: VllmEngine, prompt: Sequence[int]) -> tuple[list[int], list[float]]:
    request = GenerateRequest(
        prompt_token_ids=prompt,
        adapter=None,
        n=1,
        temperature=1.0,
        top_p=1.0,
        max_tokens=8,
        seed=3,
        stop_text=engine.codec.format.explanation_close,
    )
    [made] = (await engine.generate(request)).completions
    return list(made.token_ids), list(made.logprobs)


async def test_each_policy_is_taken_up_whole_and_nothing_of_the_one_before_is_left(
    rlt_home_models: Path, warm_caches: None, tmp_path: Path
) -> None:
    base = resolve_model(BASE, state_folder=rlt_home_models)
    other = FullRef(version=f"{JOB}.1@2", path=base, sha256=weights_sha256(base))
    first = write_policy(tmp_path / "1", base=base, step=1)
    settings = Settings(home=rlt_home_models, dtype="float32", kv_cache_gib=0.25)
    engine = VllmEngine(settings, Weights(base_model=BASE, full=first))
    await engine.start()
    try:
        ids = engine.codec.encode_text(TEXT * 4)  # long enough that whole blocks of it are cached
        scores: list[list[float]] = []
        samples: list[tuple[list[int], list[float]]] = []
        for policy in (first, other, first):
            if scores:
                await engine.take_up(policy)
            expected = forward(policy.path, ids, start=len(ids) - 8, temperature=0.7)
            cold, warm = await scored(engine, ids), await scored(engine, ids)
            assert apart(cold, expected) < 1e-4, policy.version
            assert apart(warm, expected) < 1e-4, policy.version  # read from the cache, of these weights
            scores.append(warm)
            samples.append(await sampled(engine, ids))
            tokens, logprobs = samples[-1]
            expected = forward(policy.path, [*ids, *tokens], start=len(ids), temperature=1.0)
            assert apart(logprobs, expected) < 0.01, policy.version
        assert apart(scores[0], scores[1]) > 0.1
        # Taken up again it is the engine that was started with these weights, generation's packed products too.
        assert apart(scores[0], scores[2]) < 1e-5
        assert samples[0][0] == samples[2][0]
        assert apart(samples[0][1], samples[2][1]) < 1e-4
        (first.path / "model.safetensors").write_bytes(b"torn")
        with pytest.raises(InvalidWeightsError):
            await engine.take_up(first)
        with pytest.raises(EngineUnavailableError):
            await scored(engine, ids)
    finally:
        await engine.stop()
