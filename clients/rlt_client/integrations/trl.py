"""RLT's reward in anyone's GRPO script: `GRPOTrainer(reward_funcs=[StudentReward()], …)` of TRL 1.16."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rlt_client._client import Client
from rlt_client._errors import APIError
from rlt_client.integrations.rewards import Explained, Judge, Measure, text_of
from rlt_core.schemas.score import RewardConfig


class StudentReward:
    """A reward function: how likely a completion, read as an explanation, makes the solution to a student.

    The dataset needs the columns `question` and `solution` beside TRL's `prompt` (or others, named here). Completions
    may be plain or chats. `extract` takes the explanation out of a completion's text, and gives None where there is
    none (`functools.partial(between, start="<explanation>", end="</explanation>")`); without it the whole text is one.

    A question that the server refuses gives None for all of its completions, which TRL leaves out of their group: a 0
    would be a reward, and mostly a better one than any score, since log-probs are negative. Where no question can be
    scored (no server after retries, no key, no such student), the APIError is raised, so that no run trains on nothing.
    """

    def __init__(
        self,
        client: Client | None = None,
        *,
        student: str = "default",
        teacher: str | None = None,
        reward: RewardConfig | Mapping[str, Any] | None = None,
        measure: Measure = "reward",
        question: str = "question",
        solution: str = "solution",
        extract: Callable[[str], str | None] | None = None,
    ) -> None:
        """Without a `client`, RLT_BASE_URL and RLT_API_KEY say which server; `question`, `solution` name columns."""
        self.__name__ = f"student_{measure}"
        judging = Client() if client is None else client
        self._judge = Judge(client=judging, student=student, teacher=teacher, reward=reward, measure=measure)
        self._columns = (question, solution)
        self._extract = extract

    def __call__(
        self,
        *,
        completions: Sequence[str | Sequence[Mapping[str, Any]]],
        prompts: Sequence[Any] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Give a reward a completion; `columns` are the dataset's, one value a completion, as TRL passes them."""
        missing = [name for name in self._columns if name not in columns]
        if missing:
            raise APIError(
                f"the dataset has no column {missing[0]!r} (it passes {', '.join(sorted(columns)) or 'none'}): "
                f"name yours, as StudentReward(question=…, solution=…)",
                param=missing[0],
            )
        questions, solutions = (columns[name] for name in self._columns)
        texts = [text_of(completion) for completion in completions]
        return self._judge.judge(
            [
                Explained(question=question, solution=solution, text=self._extract(text) if self._extract else text)
                for question, solution, text in zip(questions, solutions, texts, strict=True)
            ]
        )
