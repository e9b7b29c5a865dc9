"""RLT's reward for OpenRLHF: `--remote_rm_url` names a file with this `reward_func`."""

import importlib
import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from rlt_client._client import Client
from rlt_client._errors import APIError
from rlt_client.integrations.rewards import Explained, Judge


@cache
def _judge() -> Judge:
    return Judge(client=Client())


def reward_func(queries: Sequence[str], prompts: Sequence[str], labels: Sequence[str], **options: Any) -> Any:
    """Score completions; each label is JSON with `question` and `solution`, each query its prompt and what follows.

    Gives `rewards`, `scores` and `extra_logs` as tensors. OpenRLHF has no reward for "not scored", so a failed score
    raises its APIError. RLT_BASE_URL and RLT_API_KEY say which server.
    """
    explained = [_explained(*row) for row in zip(queries, prompts, labels, strict=True)]
    figures = _judge().judge(explained)
    if None in figures:
        raise APIError(f"the server gave no score for {figures.count(None)} of {len(figures)} completions")
    torch = importlib.import_module("torch")
    rewards = torch.tensor(figures, dtype=torch.float32)
    return {"rewards": rewards, "scores": rewards, "extra_logs": {"student_reward": rewards}}


def _explained(query: str, prompt: str, label: str) -> Explained:
    try:
        row = json.loads(label)
        question, solution = str(row["question"]), str(row["solution"])
    except (ValueError, KeyError, TypeError) as error:
        raise APIError(
            f"the label {label[:80]!r} is not JSON with question and solution: write it so into --label_key's column",
            param="label",
        ) from error
    return Explained(question=question, solution=solution, text=query.removeprefix(prompt))
