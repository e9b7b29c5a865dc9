"""TRL's own GRPOTrainer with the RLT reward as a reward function: what one writes without services.

It generates with transformers, in this process. The reward function reads the same texts as ours and forwards teacher
and student over them, one completion at a time as the reference code does, or as padded batches.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl.trainer.grpo_config import GRPOConfig

from benchmarks.train.gate import StepGate
from benchmarks.train.task import LORA_ALPHA, LORA_RANK, Task
from rlt_core.formats import ExplanationPiece
from rlt_core.rewards import RewardWeights, kl_per_token, score_explanation
from rlt_core.schemas.training import LINEAR_TARGETS
from rlt_core.tokens import EncodedSequence, ParsedCompletion
from rlt_tokens import TokenizerCodec, load_codec
from rlt_train.models import use_all_cores
from rlt_train.trl_grpo import GRPOTrainer

WEIGHTS = RewardWeights()
Forward = Callable[[Any, Sequence[tuple[list[int], int]], float], list[list[float]]]
"""Model, (ids, first wanted) of each sequence, temperature -> log-probs of each sequence from there on."""


def main() -> None:
    """Train step by step, as the gate lets it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.train.rival", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--model", type=Path, required=True, help="folder of the model, teacher and student alike")
    parser.add_argument("--gate", type=Path, required=True, help="folder of its gate")
    parser.add_argument("--out", type=Path, required=True, help="folder that TRL may write to")
    parser.add_argument("--scoring", choices=("one_at_a_time", "batched"), required=True)
    parser.add_argument("--task", required=True, help="the task, as JSON")
    options = parser.parse_args()
    use_all_cores()
    task = Task.from_json(options.task)
    codec = load_codec(options.model)
    forward: Forward = one_by_one if options.scoring == "one_at_a_time" else in_batches
    student = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
    reward = Reward(codec, student=student, forward=forward, temperature=task.temperature)
    trainer = _trainer(options.model, options.out, task=task, codec=codec, reward=reward)
    reward.teacher = trainer.model
    trainer.add_callback(StepGate(options.gate, parts=lambda: trainer.take_times() | reward.take_times()))
    trainer.train()


class TimedTrainer(GRPOTrainer):
    """TRL's trainer as it is, with the seconds that generating took."""

    _generated_s = 0.0

    def take_times(self) -> dict[str, float]:
        """Give the seconds since this was last asked."""
        found, self._generated_s = self._generated_s, 0.0
        return {"rollout_s": found}

    def _generate(self, prompts: Any) -> Any:
        began_s = time.monotonic()
        try:
            return super()._generate(prompts)
        finally:
            self._generated_s += time.monotonic() - began_s


class Reward:
    """The RLT reward as a function for TRL."""

    __name__ = "rlt_reward"

    def __init__(self, codec: TokenizerCodec, *, student: Any, forward: Forward, temperature: float) -> None:
        self._codec = codec
        self._student = student
        self._forward = forward
        self._temperature = temperature
        self._spent_s = 0.0
        self.teacher: Any = None

    def take_times(self) -> dict[str, float]:
        """Give the seconds that scoring took since this was last asked."""
        found, self._spent_s = self._spent_s, 0.0
        return {"score_s": found}

    def __call__(
        self, completion_ids: Sequence[list[int]], question: Sequence[str], solution: Sequence[str], **_: object
    ) -> list[float]:
        """Score the completions of a step."""
        began_s = time.monotonic()
        ends = self._codec.end_token_ids | self._codec.control_token_ids
        kept = [[token for token in ids if token not in ends] for ids in completion_ids]
        read = [self._codec.parse_completion(ids) for ids in kept]
        texts = list(zip(question, solution, read, strict=True))
        told = [
            self._codec.student_sequence(question=q, solution=s, explanation=_piece(ids, parsed))
            for ids, (q, s, parsed) in zip(kept, texts, strict=True)
        ]
        prompts = [list(self._codec.teacher_sequence(question=q, solution=s).token_ids) for q, s, _ in texts]
        spans = [list(sequence.token_ids[sequence.explanation.start : sequence.explanation.end]) for sequence in told]
        asked = [([*prompt, *span], len(prompt)) for prompt, span in zip(prompts, spans, strict=True)]
        was_training = self.teacher.training
        self.teacher.eval()
        taught = self._forward(self.teacher, asked, self._temperature)
        self.teacher.train(was_training)
        heard = self._forward(
            self._student,
            [(list(sequence.token_ids), sequence.explanation.start) for sequence in told],
            WEIGHTS.temperature,
        )
        self._spent_s += time.monotonic() - began_s
        return [
            _reward(teacher, student, sequence, closed=parsed.well_formed)
            for teacher, student, sequence, (_, _, parsed) in zip(taught, heard, told, texts, strict=True)
        ]


def one_by_one(model: Any, sequences: Sequence[tuple[list[int], int]], temperature: float) -> list[list[float]]:
    """Forward each sequence alone, with the logits of every position."""
    found: list[list[float]] = []
    with torch.inference_mode():
        for ids, first in sequences:
            logits = model(input_ids=torch.tensor([ids])).logits[0, first - 1 : -1] / temperature
            wanted = torch.tensor(ids[first:])[:, None]
            found.append(logits.log_softmax(-1).gather(1, wanted)[:, 0].tolist())
    return found


def in_batches(
    model: Any, sequences: Sequence[tuple[list[int], int]], temperature: float, *, size: int = 8
) -> list[list[float]]:
    """Forward sequences of like length together, padded on the right, with the logits from the first wanted on."""
    found: dict[int, list[float]] = {}
    order = sorted(range(len(sequences)), key=lambda place: len(sequences[place][0]))
    with torch.inference_mode():
        for start in range(0, len(order), size):
            places = order[start : start + size]
            width = max(len(sequences[place][0]) for place in places)
            ids = torch.zeros((len(places), width), dtype=torch.long)
            mask = torch.zeros_like(ids)
            for row, place in enumerate(places):
                ids[row, : len(sequences[place][0])] = torch.tensor(sequences[place][0])
                mask[row, : len(sequences[place][0])] = 1
            kept = width - min(sequences[place][1] for place in places) + 1
            logits = model(input_ids=ids, attention_mask=mask, logits_to_keep=kept).logits / temperature
            logprobs = logits.log_softmax(-1)
            for row, place in enumerate(places):
                tokens, first = sequences[place]
                offset = width - kept
                rows = logprobs[row, first - 1 - offset : len(tokens) - 1 - offset]
                found[place] = rows.gather(1, torch.tensor(tokens[first:])[:, None])[:, 0].tolist()
    return [found[place] for place in range(len(sequences))]


def _reward(teacher: list[float], student: list[float], sequence: EncodedSequence, *, closed: bool) -> float:
    begin, solution = sequence.explanation.start, sequence.solution
    kl = kl_per_token(teacher_logprobs_T=teacher, student_logprobs_T=student[: len(sequence.explanation)])
    understood = student[solution.start - begin : solution.end - begin]
    return score_explanation(solution_logprobs_S=understood, kl_T=kl, well_formed=closed, weights=WEIGHTS).reward


def _piece(ids: Sequence[int], parsed: ParsedCompletion) -> ExplanationPiece:
    span = parsed.explanation
    return ExplanationPiece(text=parsed.text, token_ids=tuple(ids[span.start : span.end]), rest=parsed.rest)


def _trainer(model: Path, out: Path, *, task: Task, codec: TokenizerCodec, reward: Reward) -> TimedTrainer:
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    rows = [
        {
            "prompt": codec.decode(codec.teacher_sequence(question=row.question, solution=row.solution).token_ids),
            "question": row.question,
            "solution": row.solution,
        }
        for row in task.rows()
    ]
    completions = task.questions_per_step * task.samples_per_question
    arguments = GRPOConfig(
        output_dir=str(out),
        max_steps=task.steps,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        per_device_train_batch_size=task.micro_batch,
        gradient_accumulation_steps=completions // task.micro_batch,
        num_generations=task.samples_per_question,
        max_completion_length=task.max_tokens,
        temperature=task.temperature,
        beta=task.beta,
        learning_rate=task.learning_rate,
        lr_scheduler_type="constant",
        save_strategy="no",
        report_to="none",
        logging_steps=1,
        seed=task.seed,
        disable_tqdm=True,
    )
    lora = LoraConfig(r=LORA_RANK, lora_alpha=LORA_ALPHA, target_modules=list(LINEAR_TARGETS), task_type="CAUSAL_LM")
    policy = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    return TimedTrainer(
        model=policy,
        reward_funcs=[reward],
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora,
    )


if __name__ == "__main__":
    main()
    sys.exit(0)
