"""A distillation: a student learns a teacher's explanations as its own thoughts, in the student's format."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from rlt_core.artifacts import adapter_sha256, kind_of
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.trainer import ProgressEvent, TrainerJob
from rlt_tokens import TokenizerCodec
from rlt_train.data import IGNORED, Example, warmup_examples
from rlt_train.errors import InvalidTrainingDataError
from rlt_train.kinds import KINDS
from rlt_train.models import load_whole, policy_tensors
from rlt_train.warmup import run_warmup
from tests.train.on_tiny_model.test_resume import KilledError, kill_when, next_attempt

pytestmark = pytest.mark.training

ROW = DatasetRow(id="r", question="1 + 1?", solution="Two.", reasoning_trace="of the dataset", metadata={})
STEPS = {"batch_size": 4, "max_steps": 6, "epochs": 100.0, "learning_rate": 0.02, "save_every": 2}


@pytest.fixture
def collected(world: Any) -> Any:
    """Give the world a dataset of explanations; its rows have the dataset's own traces too."""
    lines = [json.loads(line) for line in world.dataset.read_text(encoding="utf-8").splitlines()]
    rows = [row | {"metadata": {"explanation": f"Well, {row['reasoning_trace']}"}} for row in lines]
    world.dataset.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return world


def examples_of(world: Any) -> tuple[Example, ...]:
    rows = [DatasetRow.model_validate_json(line) for line in world.dataset.read_text(encoding="utf-8").splitlines()]
    return tuple(warmup_examples(rows, role="student", codec=world.codec, max_tokens=4096, kind="distill"))


def distillation(world: Any, **more: Any) -> TrainerJob:
    return world.job({"kind": "distill", **STEPS, **more})


@pytest.mark.parametrize(
    ("metadata", "thought"),
    [
        ({"explanation": "of a teacher", "thought": "of another"}, "of a teacher"),
        ({"thought": "of another"}, "of another"),
        ({"explanation": " ", "thought": 5}, "of the dataset"),
        ({}, "of the dataset"),
        ({"explanation": "that came with the question", "collect": {"teacher": "algebra@1"}}, "of the dataset"),
    ],
)
def test_every_token_of_thought_and_solution_bears_loss_and_no_other(
    metadata: dict[str, Any], thought: str, codec: TokenizerCodec
) -> None:
    row = ROW.model_copy(update={"metadata": metadata})
    example = next(iter(warmup_examples([row], role="student", codec=codec, max_tokens=4096, kind="distill")))
    written = f"{thought}<|end_of_thought|>\n\n<|begin_of_solution|>Two.<|end_of_solution|>"
    # The mask, token by token: the prompt is what a student is asked with, all that follows is what it shall write.
    prompt = len(codec.student_prompt(question=row.question).token_ids)
    bears = [label != IGNORED for label in example.labels]
    assert bears == [False] * prompt + [True] * (len(example.token_ids) - prompt)
    assert example.token_ids[:prompt] == codec.student_prompt(question=row.question).token_ids
    assert codec.decode(example.token_ids[prompt:]) == written
    assert list(example.labels[prompt:]) == list(example.token_ids[prompt:])


def test_a_row_with_nothing_to_learn_from_is_refused_by_its_id(codec: TokenizerCodec) -> None:
    bare = ROW.model_copy(update={"id": "r7", "reasoning_trace": None, "metadata": {"explanation": ["no text"]}})
    with pytest.raises(InvalidTrainingDataError, match=r"no explanation or thought or reasoning_trace.*'r7'"):
        warmup_examples([ROW, bare], role="student", codec=codec, max_tokens=4096, kind="distill")


def test_a_warm_up_learns_the_trace_of_the_dataset_beside_an_explanation(codec: TokenizerCodec) -> None:
    row = ROW.model_copy(update={"metadata": {"explanation": "of a teacher"}})
    example = next(iter(warmup_examples([row], role="student", codec=codec, max_tokens=4096)))
    assert "of the dataset<|end_of_thought|>" in codec.decode(example.token_ids)


def test_an_adapter_comes_out_that_has_learnt_and_a_killed_run_ends_with_its_bytes(collected: Any) -> None:
    whole = distillation(collected)
    expected = KINDS["distill"](collected.context(whole))
    losses = [event.metrics["loss"] for event in collected.events(whole) if isinstance(event, ProgressEvent)]
    assert losses[-1] < losses[0] - 0.1
    lengths = [len(each.token_ids) for each in examples_of(collected)]
    # Six steps of 4 of the 8 rows: each row three times.
    assert expected.cost["trained_tokens"] == 3 * sum(lengths)
    assert expected.sha256 == adapter_sha256(Path(expected.adapter_dir))
    killed = distillation(collected)
    context = collected.context(killed)
    kill_when(context, lambda event: isinstance(event, ProgressEvent) and event.step == 3)
    with pytest.raises(KilledError):
        run_warmup(context)
    again = next_attempt(collected, [killed], distillation(collected))
    assert run_warmup(collected.context(again)).sha256 == expected.sha256
    assert [event.step for event in collected.events(again) if isinstance(event, ProgressEvent)] == [3, 4, 5, 6]


def test_of_all_weights_a_whole_model_comes_out(collected: Any) -> None:
    result = run_warmup(collected.context(distillation(collected, lora=None, max_steps=2)))
    assert (result.lora_rank, kind_of(Path(result.adapter_dir))) == (None, "full")
    before, after = (
        policy_tensors(load_whole(collected.base_dir)),
        load_file(Path(result.adapter_dir) / "model.safetensors"),
    )
    assert any((after[name] - before[name]).abs().max() > 0 for name in before)
