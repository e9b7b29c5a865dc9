"""What TRL makes of a dataset that was downloaded: the ids on which a student is trained and scored, no others."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from datasets import Dataset, load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from rlt_core.chat_rows import ChatForm, chat_row
from rlt_core.formats import ExplanationPiece
from rlt_core.schemas.datasets import DatasetRow
from rlt_tokens import TokenizerCodec
from rlt_train.data import IGNORED

pytestmark = pytest.mark.training

ROWS = [
    DatasetRow(id="plain", question="1 + 1?", solution="It is 2", reasoning_trace="One more than one"),
    DatasetRow(id="lines", question="2 < 3?", solution="Yes: 2 < 3!", reasoning_trace="Count:\n1, 2, 3\n"),
    DatasetRow(id="straddles", question="1 + 1?", solution="It is 2.", reasoning_trace="One more than one."),
]
"""The last one's full stops make one token with the tag's first sign where a text is encoded whole: here tags are
encoded by themselves, so that spans have borders. The text is the same."""


def loaded_by_trl(form: ChatForm, *, codec: TokenizerCodec, base: Path, folder: Path) -> Dataset:
    """Download, load with `datasets`, and let SFTTrainer prepare it as it does before training."""
    folded = codec.format_id.endswith("+folded")
    made = [chat_row(row, form=form, format=codec.format, folded=folded) for row in ROWS]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made), encoding="utf-8")
    rows = cast(Dataset, load_dataset("json", data_files=str(path), split="train", cache_dir=str(folder / "cache")))
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(base),
        processing_class=AutoTokenizer.from_pretrained(base),
        args=SFTConfig(output_dir=str(folder / "out"), report_to="none", use_cpu=True, max_length=None),
        train_dataset=rows,
    )
    return cast(Dataset, trainer.train_dataset)


@pytest.mark.parametrize("form", ["messages", "prompt_completion"])
def test_trl_reads_what_a_student_is_trained_on(
    form: ChatForm, base_dir: Path, codec: TokenizerCodec, tmp_path: Path
) -> None:
    found: Sequence[dict[str, Any]] = list(loaded_by_trl(form, codec=codec, base=base_dir, folder=tmp_path))  # pyright: ignore[reportAssignmentType] - rows of a dataset are dicts
    for row, prepared in zip(ROWS, found, strict=True):
        trace = ExplanationPiece(text=row.reasoning_trace or "")
        ours = codec.student_sequence(question=row.question, solution=row.solution, explanation=trace)
        ids = prepared["input_ids"]
        # Ours ends with the solution's closing tag; the chat template ends the turn after it.
        assert codec.decode(ids).startswith(codec.decode(ours.token_ids))
        if row.id != "straddles":
            assert ids[: len(ours.token_ids)] == list(ours.token_ids)
        if form == "prompt_completion":
            with_loss = [at for at, label in enumerate(prepared["labels"]) if label != IGNORED]
            assert with_loss == list(range(with_loss[0], len(ids)))
            assert codec.decode(ids[with_loss[0] :]).startswith(codec.format.thought_open + (row.reasoning_trace or ""))
