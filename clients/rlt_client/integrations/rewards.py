"""Score explanations for a trainer that is not ours: grouped by question, a failed score told from a low one."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from rlt_client._client import Client
from rlt_client._errors import APIError, APIStatusError
from rlt_core.schemas.score import RewardConfig, ScoreResponse

LOGGER = logging.getLogger("rlt_client.integrations")

GROUP: Final = 64
"""Explanations of one question in one request at most."""

Measure = Literal["reward", "r_ss", "uplift"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One explanation of one question; `text` is None where the model wrote none that is well formed."""

    question: str
    solution: str
    text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """How explanations are judged; `measure` says which figure of a score is the reward."""

    client: Client
    student: str = "default"
    teacher: str | None = None
    reward: RewardConfig | Mapping[str, Any] | None = None
    measure: Measure = "reward"

    def judge(self, explained: Sequence[Explained]) -> list[float | None]:
        """Give a figure for each, in order; None where the server refused to score that question.

        A question's explanations fail together, so that the rest of a group is not compared with a part of it.
        Raises the APIError where no score came at all, or none could come: no server, no key, no such student.
        """
        groups: dict[tuple[str, str], list[int]] = {}
        for place, one in enumerate(explained):
            groups.setdefault((one.question, one.solution), []).append(place)
        parts = [places[at : at + GROUP] for places in groups.values() for at in range(0, len(places), GROUP)]
        answers = self.client.score.settled([self._request([explained[place] for place in part]) for part in parts])
        failed = [answer for answer in answers if isinstance(answer, APIError)]
        for error in failed:
            if len(failed) == len(answers) or not _is_of_one_question(error):
                raise error
            LOGGER.warning("a question was not scored, its explanations have no reward: %s", error)
        figures: list[float | None] = [None] * len(explained)
        lost: set[tuple[str, str]] = set()
        for part, answer in zip(parts, answers, strict=True):
            if isinstance(answer, ScoreResponse):
                for place, figure in zip(part, self._figures(answer), strict=True):
                    figures[place] = figure
            else:
                lost.add((explained[part[0]].question, explained[part[0]].solution))
        for key in lost:
            for place in groups[key]:
                figures[place] = None
        return figures

    def _request(self, explained: Sequence[Explained]) -> dict[str, Any]:
        entries = [{"text": one.text or "", "well_formed": one.text is not None} for one in explained]
        optional = {"teacher": self.teacher, "reward": self.reward}
        return {
            "question": explained[0].question,
            "solution": explained[0].solution,
            "explanations": entries,
            "student": self.student,
            "baseline": self.measure == "uplift",
            **{name: value for name, value in optional.items() if value is not None},
        }

    def _figures(self, answer: ScoreResponse) -> list[float | None]:
        return [getattr(score, self.measure) for score in answer.scores]


def _is_of_one_question(error: APIError) -> bool:
    # Refused as it stands (too long, empty): others may well be scored. All else would befall every question.
    return isinstance(error, APIStatusError) and error.status_code in (400, 413, 422)


def between(text: str, *, start: str, end: str) -> str | None:
    """Give what stands between two tags, the first of each; None where one of them is missing."""
    _, opened, rest = text.partition(start)
    inside, closed, _ = rest.partition(end)
    return inside.strip() if opened and closed else None


def text_of(completion: str | Sequence[Mapping[str, Any]]) -> str:
    """Give a completion's text: a string as it stands, or the content of a chat's last message."""
    if isinstance(completion, str):
        return completion
    content: Any = completion[-1].get("content") if completion else ""
    if isinstance(content, str) or content is None:
        return content or ""
    return "".join(str(piece.get("text", "")) for piece in content)
