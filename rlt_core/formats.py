"""Own what teacher and student read: tags, instructions, and the two sequences as segments. No tokenizer here.

A sequence is a list of segments; each is encoded on its own and the ids are concatenated, so every span is known by
construction and nothing is ever searched for. Method: Cetin et al. 2025, section 3.1 (the wording is ours).
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from rlt_core.errors import NotFoundError


class SegmentKind(StrEnum):
    """What a stretch of a sequence is."""

    TEMPLATE = "template"
    """Text of the model's chat template: trusted, may hold control tokens."""
    INSTRUCTION = "instruction"
    QUESTION = "question"
    TAG = "tag"
    EXPLANATION = "explanation"
    EXPLANATION_REST = "explanation_rest"
    """Text of a token that straddled the closing tag: the student reads it, it carries no KL."""
    SOLUTION = "solution"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One stretch: text to encode or, where `token_ids` is given, exactly those ids (an explanation as generated)."""

    kind: SegmentKind
    text: str = ""
    token_ids: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationPiece:
    """An explanation inside a sequence: ids as generated where they are known, else text.

    `rest` is the text part of a token that straddles the closing tag (method: rule 4), empty otherwise.
    """

    text: str = ""
    token_ids: tuple[int, ...] | None = None
    rest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSequence:
    """A sequence before tokenisation: what the template renders, then the assistant's segments."""

    instruction: str
    question: str
    assistant: tuple[Segment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """Tags and instructions of one versioned format.

    Tags are written and read as plain text, also where a vocabulary has a token of the same name. All but
    `explanation_close`, which ends what a teacher writes, may be empty: the texts then stand without them.
    """

    id: str
    thought_open: str
    thought_close: str
    solution_open: str
    solution_close: str
    explanation_open: str
    explanation_close: str
    teacher_instruction: str
    student_instruction: str

    def teacher(self, *, question: str, solution: str, explanation: ExplanationPiece | None = None) -> ChatSequence:
        """Build what the teacher reads; without an explanation it ends where the teacher starts to write."""
        lead = f"{self.solution_close}\n\n{self.explanation_open}"
        segments = [
            Segment(kind=SegmentKind.TAG, text=self.solution_open),
            Segment(kind=SegmentKind.SOLUTION, text=solution),
            Segment(kind=SegmentKind.TAG, text=lead),
        ]
        if explanation is not None:
            segments += [*_explanation(explanation), Segment(kind=SegmentKind.TAG, text=self.explanation_close)]
        return ChatSequence(instruction=self.teacher_instruction, question=question, assistant=tuple(segments))

    def student_prompt(self, *, question: str) -> ChatSequence:
        """Build what the student reads before it thinks: it goes on where its thought begins."""
        assistant = (Segment(kind=SegmentKind.TAG, text=self.thought_open),)
        return ChatSequence(instruction=self.student_instruction, question=question, assistant=assistant)

    def student(self, *, question: str, solution: str, explanation: ExplanationPiece) -> ChatSequence:
        """Build what the student reads: the explanation as its own thought, then the solution."""
        middle = f"{self.thought_close}\n\n{self.solution_open}"
        segments = (
            Segment(kind=SegmentKind.TAG, text=self.thought_open),
            *_explanation(explanation),
            Segment(kind=SegmentKind.TAG, text=middle),
            Segment(kind=SegmentKind.SOLUTION, text=solution),
            Segment(kind=SegmentKind.TAG, text=self.solution_close),
        )
        return ChatSequence(instruction=self.student_instruction, question=question, assistant=segments)


def _explanation(piece: ExplanationPiece) -> list[Segment]:
    segments = [Segment(kind=SegmentKind.EXPLANATION, text=piece.text, token_ids=piece.token_ids)]
    if piece.rest:
        segments.append(Segment(kind=SegmentKind.EXPLANATION_REST, text=piece.rest))
    return segments


STRATOS_1 = Format(
    id="stratos@1",
    thought_open="<|begin_of_thought|>",
    thought_close="<|end_of_thought|>",
    solution_open="<|begin_of_solution|>",
    solution_close="<|end_of_solution|>",
    explanation_open="<|begin_of_explanation|>",
    explanation_close="<|end_of_explanation|>",
    teacher_instruction=(
        "You are a teacher. The solution comes first; then explain, step by step, how one gets there from the question."
    ),
    student_instruction="You are a student. First think the question through, step by step, then give the solution.",
)

# The way of models that reason before they answer: what follows the thought is the solution, without tags of its own.
R1_1 = replace(
    STRATOS_1,
    id="r1@1",
    thought_open="<think>",
    thought_close="</think>",
    solution_open="",
    solution_close="",
    explanation_open="<think>",
    explanation_close="</think>",
)

FORMATS: dict[str, Format] = {found.id: found for found in (STRATOS_1, R1_1)}


def get_format(format_id: str) -> Format:
    """Look a format up by its `name@version`; raises NotFoundError naming those that exist."""
    if format_id not in FORMATS:
        raise NotFoundError(f"no format {format_id!r}; this server has {', '.join(sorted(FORMATS))}")
    return FORMATS[format_id]
