from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from rlt_core.artifacts import adapter_sha256
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.trainer import LogEvent, ProgressEvent
from rlt_tokens import TokenizerCodec
from rlt_train.data import IGNORED, warmup_examples
from rlt_train.errors import InvalidTrainingDataError
from rlt_train.sft import collate_left
from rlt_train.warmup import run_warmup

pytestmark = pytest.mark.training

ROW = DatasetRow(id="r", question="1 + 1?", solution="Two.", reasoning_trace="One and one.")


def labelled_text(codec: TokenizerCodec, role: Any) -> str:
    example = next(iter(warmup_examples([ROW], role=role, codec=codec, max_tokens=4096)))
    labelled = [label for label in example.labels if label != IGNORED]
    # Loss stands on one stretch at the end, and each label is the token of its own place.
    assert list(example.token_ids[-len(labelled) :]) == labelled
    return codec.decode(labelled)


def test_teacher_learns_the_explanation_with_its_closing_tag_and_nothing_else(codec: TokenizerCodec) -> None:
    assert labelled_text(codec, "teacher") == "One and one.<|end_of_explanation|>"


def test_student_learns_everything_after_the_opening_of_its_thought(codec: TokenizerCodec) -> None:
    expected = "One and one.<|end_of_thought|>\n\n<|begin_of_solution|>Two.<|end_of_solution|>"
    assert labelled_text(codec, "student") == expected


def test_training_ids_are_the_prompt_ids_that_generation_continues(codec: TokenizerCodec) -> None:
    example = next(iter(warmup_examples([ROW], role="teacher", codec=codec, max_tokens=4096)))
    prompt = codec.teacher_sequence(question=ROW.question, solution=ROW.solution).token_ids
    assert example.token_ids[: len(prompt)] == prompt
    assert set(example.labels[: len(prompt)]) == {IGNORED}
    assert IGNORED not in example.labels[len(prompt) :]


def test_row_without_trace_is_refused_by_its_id(codec: TokenizerCodec) -> None:
    bare = ROW.model_copy(update={"id": "r7", "reasoning_trace": None})
    with pytest.raises(InvalidTrainingDataError, match="1 of 2 rows have no reasoning_trace, the first is 'r7'"):
        warmup_examples([ROW, bare], role="teacher", codec=codec, max_tokens=4096)


def test_rows_that_are_too_long_are_left_out_and_counted(codec: TokenizerCodec) -> None:
    long = ROW.model_copy(update={"reasoning_trace": "x" * 4000})
    examples = warmup_examples([ROW, long], role="teacher", codec=codec, max_tokens=2000)
    assert (len(list(examples)), examples.dropped) == (1, 1)
    with pytest.raises(InvalidTrainingDataError, match="longer than max_tokens"):
        list(warmup_examples([long], role="teacher", codec=codec, max_tokens=2000))


def test_padding_stands_on_the_left_and_is_masked_everywhere() -> None:
    batch = collate_left(
        [
            {"input_ids": [5, 6, 7], "labels": [IGNORED, 6, 7]},
            {"input_ids": [8, 9], "labels": [IGNORED, 9]},
        ],
        pad_token_id=0,
    )
    assert batch["input_ids"].tolist() == [[5, 6, 7], [0, 8, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [0, 1, 1]]
    assert batch["position_ids"].tolist() == [[0, 1, 2], [0, 0, 1]]
    assert batch["labels"].tolist() == [[IGNORED, 6, 7], [IGNORED, IGNORED, 9]]


def test_warmup_lowers_its_loss_and_writes_an_adapter_that_loads(world: Any) -> None:
    job = world.warmup(max_steps=12, epochs=100.0, learning_rate=0.02, save_every=5)
    result = run_warmup(world.context(job))
    steps = [event for event in world.events(job) if isinstance(event, ProgressEvent)]
    assert [event.step for event in steps] == list(range(1, 13))
    assert steps[-1].metrics["loss"] < steps[0].metrics["loss"] - 0.1
    assert result.sha256 == adapter_sha256(Path(result.adapter_dir))
    assert (result.lora_rank, result.steps) == (4, 12)
    saved = (Path(result.adapter_dir) / "adapter_config.json").read_text()
    assert str(world.base_dir) not in saved
    assert '"base_model_name_or_path": "tiny-base"' in saved
    base = AutoModelForCausalLM.from_pretrained(world.base_dir, dtype=torch.float32)
    PeftModel.from_pretrained(base, result.adapter_dir)


def test_loss_of_the_first_step_is_the_plain_mean_over_labelled_tokens(world: Any, codec: TokenizerCodec) -> None:
    # Eight rows in one step and a fresh adapter (B = 0): the loss is that of the bare base, computed here row by row.
    job = world.warmup(batch_size=8, max_steps=1)
    run_warmup(world.context(job))
    progress = next(event for event in world.events(job) if isinstance(event, ProgressEvent))
    base = AutoModelForCausalLM.from_pretrained(world.base_dir, dtype=torch.float32)
    rows = [DatasetRow.model_validate_json(line) for line in world.dataset.read_text().splitlines()]
    total, count = 0.0, 0
    for example in warmup_examples(rows, role="teacher", codec=codec, max_tokens=4096):
        ids = torch.tensor([example.token_ids])
        logprobs = torch.log_softmax(base(input_ids=ids).logits[0, :-1], -1)
        for position, label in enumerate(example.labels[1:]):
            if label != IGNORED:
                total -= logprobs[position, label].item()
                count += 1
    assert progress.metrics["loss"] == pytest.approx(total / count, abs=1e-4)


def test_warmup_continues_from_the_adapter_that_it_is_given(world: Any) -> None:
    first = run_warmup(world.context(world.warmup(learning_rate=0.02)))
    job = world.warmup(learning_rate=1e-12, max_steps=1)
    second = run_warmup(world.context(job.model_copy(update={"start_adapter_dir": first.adapter_dir})))
    before = load_file(Path(first.adapter_dir) / "adapter_model.safetensors")
    after = load_file(Path(second.adapter_dir) / "adapter_model.safetensors")
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    assert any(before[name].abs().max() > 0 for name in before if "lora_B" in name)


def test_dropped_rows_are_told(world: Any) -> None:
    with world.dataset.open("a") as file:
        file.write(ROW.model_copy(update={"reasoning_trace": "x" * 5000}).model_dump_json() + "\n")
    job = world.warmup(max_steps=1, max_tokens=3000)
    run_warmup(world.context(job))
    told = [event.message for event in world.events(job) if isinstance(event, LogEvent)]
    assert told == ["1 of 9 rows are longer than 3000 tokens: left out"]


def test_short_run_wastes_no_step_on_a_rate_of_zero(world: Any) -> None:
    job = world.warmup(max_steps=2)
    run_warmup(world.context(job))
    first = next(event for event in world.events(job) if isinstance(event, ProgressEvent))
    assert first.metrics["learning_rate"] > 0
