"""RLT's reward for verl: `reward.custom_reward_function.path` names a file with this, `.name` the function.

The interface is that of verl 0.10.0.dev (commit 1dda039 of 2026-08-22, `naive.py` of its reward managers): four
arguments by name, one completion a call, in a thread; `.reward_kwargs` come with them. Releases before 0.7.1 have no
`reward.` before the names of the settings.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from rlt_client._client import Client
from rlt_client._errors import APIError
from rlt_client.integrations.rewards import Explained, Judge


@cache
def _judge(student: str) -> Judge:
    return Judge(client=Client(), student=student)


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: Mapping[str, Any] | None = None, **options: Any
) -> float:
    """Score one completion (`solution_str`) as an explanation of `extra_info["question"]` with `ground_truth`.

    `student` among `reward_kwargs` says who judges. verl has no reward for "not scored", so a failed score raises its
    APIError: a 0 would be the best of all rewards. RLT_BASE_URL and RLT_API_KEY say which server.
    """
    question = (extra_info or {}).get("question")
    if not isinstance(question, str):
        raise APIError(
            f"extra_info of a row of {data_source!r} has no text 'question': put the question there when you make "
            "the Parquet file",
            param="extra_info",
        )
    judge = _judge(str(options.get("student", "default")))
    (figure,) = judge.judge([Explained(question=question, solution=ground_truth, text=solution_str)])
    if figure is None:
        raise APIError("the server gave no score for this completion")
    return figure
