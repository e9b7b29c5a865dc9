"""RLT's reward for OpenRLHF: `--reward.remote_url` names a file with this `reward_func` (this one, or a copy).

The interface is that of OpenRLHF 0.11.0 (commit 3c3be62 of 2026-08-13, `openrlhf/utils/agent.py`): three lists by
position, one completion a call, in a thread; a query is prompt and completion as decoded, special tokens included.
"""

import importlib
import json
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from rlt_client._client import Client
from rlt_client._errors import APIError
from rlt_client.integrations.rewards import Explained, Judge

SPECIAL_AT_END: Final = re.compile(r"(?:\s*(?:<([|\uff5c])[^<>]*\1>|</s>|<eos>|<end_of_turn>|<pad>))+\s*$")
"""What a decoded completion ends with that no one wrote: the end of a turn, of the text, padding."""


@cache
def _judge() -> Judge:
    return Judge(client=Client())


def reward_func(queries: Sequence[str], prompts: Sequence[str], labels: Sequence[str], **options: Any) -> Any:
    """Score completions; each label is JSON with `question` and `solution`, each query its prompt and what follows.

    Gives `rewards`, `scores` and `extra_logs` as tensors. A failed score raises its APIError: OpenRLHF logs it and ends
    the run, since a completion without a reward has no place in it. Scores are no share from 0 to 1, which
    `--algo.dynamic_filtering_enable` needs. RLT_BASE_URL and RLT_API_KEY say which server.
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
            f"the label {str(label)[:80]!r} is not JSON with question and solution: "
            "write it so into the column that --data.label_key names",
            param="label",
        ) from error
    if not query.startswith(prompt):
        raise APIError(
            f"the query {query[:80]!r} does not begin with its prompt, so what the model wrote cannot be told apart: "
            "a prompt is cut from the left when it is too long (--data.max_len)",
            param="query",
        )
    return Explained(question=question, solution=solution, text=SPECIAL_AT_END.sub("", query[len(prompt) :]))
