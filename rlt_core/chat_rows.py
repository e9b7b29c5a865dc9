"""Own the forms in which other trainers read a row: the question as a user's turn, thought and solution as the answer.

The answer is what the student would write, tags included; the instruction is the student's.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from rlt_core.formats import ExplanationPiece, Format
from rlt_core.schemas.datasets import DatasetRow

ChatForm = Literal["messages", "prompt_completion", "sharegpt"]
FOLDED = "+folded"
"""Ends the id of a format whose chat template has no system role: the instruction stands in the user's turn."""

Turn = dict[str, str]


def chat_row(row: DatasetRow, *, form: ChatForm, format: Format, folded: bool) -> dict[str, Any] | None:
    """Write a row in a form; None for one without an explanation, of which a student would learn no thought."""
    if not row.reasoning_trace:
        return None
    piece = ExplanationPiece(text=row.reasoning_trace)
    sequence = format.student(question=row.question, solution=row.solution, explanation=piece)
    prompt: list[Turn] = [
        {"role": "system", "content": sequence.instruction},
        {"role": "user", "content": sequence.question},
    ]
    if folded:
        prompt = [{"role": "user", "content": f"{sequence.instruction}\n\n{sequence.question}"}]
    answer = {"role": "assistant", "content": "".join(segment.text for segment in sequence.assistant)}
    return {"id": row.id, **_FORMS[form](prompt, answer)}


def _messages(prompt: list[Turn], answer: Turn) -> Mapping[str, Any]:
    """As TRL's language modelling, and axolotl's `chat_template`, read it."""
    return {"messages": [*prompt, answer]}


def _prompt_completion(prompt: list[Turn], answer: Turn) -> Mapping[str, Any]:
    """As TRL reads it, whose loss is then on the completion alone."""
    return {"prompt": prompt, "completion": [answer]}


def _sharegpt(prompt: list[Turn], answer: Turn) -> Mapping[str, Any]:
    """As LLaMA-Factory's `sharegpt` reads it by default."""
    system = "".join(turn["content"] for turn in prompt if turn["role"] == "system")
    asked = "".join(turn["content"] for turn in prompt if turn["role"] == "user")
    said = [{"from": "human", "value": asked}, {"from": "gpt", "value": answer["content"]}]
    return {"conversations": said, "system": system}


_FORMS: dict[ChatForm, Callable[[list[Turn], Turn], Mapping[str, Any]]] = {
    "messages": _messages,
    "prompt_completion": _prompt_completion,
    "sharegpt": _sharegpt,
}
