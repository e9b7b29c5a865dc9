"""What the scoring benchmark scores: groups of explanations, the same ids for every contender. Pure."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from rlt_core.formats import ExplanationPiece
from rlt_core.tokens import SequenceCodec

PEOPLE = ("Ada", "Ben", "Carla", "Dan", "Eva", "Finn", "Gina", "Hugo", "Ines", "Jon", "Kira", "Leo", "Mia", "Nils")
THINGS = ("coins", "books", "apples", "cards", "shells", "stamps", "pens", "marbles", "buttons", "stones")

GIVEN_LOGPROB = -1.0
"""What is sent over HTTP as each explanation token's log-prob by its teacher."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """How many questions, how many explanations of each, and how long their parts are, in tokens (about)."""

    name: str
    questions: int
    explanations: int
    question_tokens: int
    explanation_tokens: int
    solution_tokens: int
    sampled: int | None = None
    """Score only so many sequences with contenders that share nothing between sequences: their rate is the same."""


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            name="g8", questions=1, explanations=8, question_tokens=200, explanation_tokens=200, solution_tokens=80
        ),
        Workload(
            name="g64",
            questions=1,
            explanations=64,
            question_tokens=100,
            explanation_tokens=100,
            solution_tokens=40,
            sampled=8,
        ),
        Workload(
            name="long",
            questions=1,
            explanations=4,
            question_tokens=380,
            explanation_tokens=1400,
            solution_tokens=200,
            sampled=2,
        ),
        Workload(
            name="unshared",
            questions=8,
            explanations=1,
            question_tokens=200,
            explanation_tokens=200,
            solution_tokens=80,
        ),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One sequence that the student reads, with where the explanation and the solution begin in it."""

    token_ids: tuple[int, ...]
    explanation_start: int
    explanation_end: int
    solution_start: int
    solution_end: int

    @property
    def explanation_tokens(self) -> int:
        """How many tokens the explanation has."""
        return self.explanation_end - self.explanation_start

    @property
    def solution_tokens(self) -> int:
        """How many tokens the solution has; with the last of them the sequence ends."""
        return self.solution_end - self.solution_start


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One question as /v1/score takes it, and the sequences that it stands for."""

    question: str
    solution: str
    explanations: tuple[tuple[int, ...], ...]
    """Token ids of each."""
    items: tuple[Item, ...]


def make_groups(workload: Workload, *, codec: SequenceCodec, seed: int) -> list[Group]:
    """Make a workload's groups: sums told in words, new ones for each seed."""
    dice = random.Random(f"{workload.name} {seed}")
    return [_group(workload, codec=codec, dice=dice) for _ in range(workload.questions)]


def _group(workload: Workload, *, codec: SequenceCodec, dice: random.Random) -> Group:
    piece = ExplanationPiece()
    frame = codec.student_sequence(question="?", solution="!", explanation=piece).explanation.start
    question = codec.decode(_story_ids(codec, dice, length=max(workload.question_tokens - frame, 8)))
    solution = codec.decode(_story_ids(codec, dice, length=workload.solution_tokens))
    explanations = tuple(
        tuple(_story_ids(codec, dice, length=workload.explanation_tokens)) for _ in range(workload.explanations)
    )
    items: list[Item] = []
    for token_ids in explanations:
        sequence = codec.student_sequence(
            question=question, solution=solution, explanation=ExplanationPiece(token_ids=token_ids)
        )
        items.append(
            Item(
                token_ids=sequence.token_ids[: sequence.solution.end],
                explanation_start=sequence.explanation.start,
                explanation_end=sequence.explanation.end,
                solution_start=sequence.solution.start,
                solution_end=sequence.solution.end,
            )
        )
    return Group(question=question, solution=solution, explanations=explanations, items=tuple(items))


def _story_ids(codec: SequenceCodec, dice: random.Random, *, length: int) -> list[int]:
    sentences = _sentences(dice)
    text = ""
    while len(ids := codec.encode_text(text)) < length:
        text += next(sentences)
    return ids[:length]


def _sentences(dice: random.Random) -> Iterator[str]:
    while True:
        left, right = dice.randrange(2, 990), dice.randrange(2, 990)
        who, what = dice.choice(PEOPLE), dice.choice(THINGS)
        yield f"{who} has {left} {what} and gets {right} more. {left} + {right} = {left + right}. "
