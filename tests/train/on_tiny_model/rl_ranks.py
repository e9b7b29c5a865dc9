"""One rank of an `rl` trainer, with fake services of its own that write down which rank called them.

Also run in the tests' own process, as the one rank that there is.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from rlt_core.errors import ScoringError
from rlt_core.schemas.explain import ExplainRequest, ExplainResponse
from rlt_core.schemas.score import ScoreRequest, ScoreResponse
from rlt_core.schemas.trainer import ResultEvent
from rlt_tokens import TokenizerCodec
from rlt_train import policy_training, rl
from rlt_train.__main__ import main
from rlt_train.context import JobContext
from rlt_train.grpo import RltGrpoTrainer
from rlt_train.kinds import KINDS
from rlt_train.lifeline import StopFlag
from rlt_train.ranks import own_rank
from tests.train.on_tiny_model.conftest import FakeServices

CALLS, GRADIENTS, HANGS, EVENTS = "calls.jsonl", "gradients", "hangs", "events.jsonl"
MICRO_ROWS = 3
LOSSES = ("dapo", "dr_grpo", "bnpo")
"""Kinds that are trained for a step each, after the job's own."""
HANGING = "hanging"
"""Name of a job whose engine does not answer for the policy of step 2, in its first attempt."""


@dataclass
class WatchedServices(FakeServices):
    """Fake services that fail to score some explanations for good, and hang where the job's name says so."""

    stop: StopFlag | None = None

    def explain(self, requests: Sequence[ExplainRequest]) -> list[ExplainResponse]:
        self._note("explain", requests[0].teacher)
        hangs = self.job.spec.name == HANGING and self.job.attempt == 1 and requests[0].teacher.endswith("@2")
        if hangs and requests[0].n > 1 and self.stop is not None:
            with self.stop.waiting():
                (Path(self.job.attempt_dir) / HANGS).touch()
                time.sleep(300.0)
        return super().explain(requests)

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResponse]:
        self._note("score", requests[0].student)
        for request in requests:
            for entry in request.explanations:
                assert not isinstance(entry, str)
                assert entry.tokens is not None
                if len(entry.tokens.completion_token_ids) > 1 and sum(entry.tokens.completion_token_ids) % 9 == 0:
                    raise ScoringError("no log-prob came back")
        return super().score(requests)

    def publish(self, *, step: int, sha256: str) -> str:
        self._note("publish", str(step))
        return super().publish(step=step, sha256=sha256)

    def _note(self, what: str, of: str) -> None:
        with (Path(self.job.attempt_dir) / CALLS).open("a", encoding="utf-8") as file:
            file.write(json.dumps([own_rank().index, what, of]) + "\n")


class WatchedTrainer(RltGrpoTrainer):
    """Writes down each step's gradient, as the optimizer sees it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        watched = self

        class Gradients(TrainerCallback):
            def on_pre_optimizer_step(self, _args: Any, state: Any, *_: Any, **__: Any) -> None:
                named = watched.policy.named_parameters()
                folder = Path(str(watched.args.output_dir)).parent / GRADIENTS
                folder.mkdir(exist_ok=True)
                found = {name: p.grad.clone() for name, p in named if p.grad is not None}
                torch.save(found, folder / f"{state.global_step + 1}-{own_rank().index}.pt")

        self.add_callback(Gradients())


def few_rows(_rows: int, *, tokens_per_row: int) -> int:
    """Cut a step into several micro-batches, however small it is."""
    return MICRO_ROWS


def run(context: JobContext) -> ResultEvent:
    """Run an `rl` job, and one of a single step for each other kind of loss, in folders and events of their own."""
    result = _run(context)
    for loss_type in LOSSES:
        _run(_with_loss(context, loss_type))
    return result


def _with_loss(context: JobContext, loss_type: str) -> JobContext:
    job, spec = context.job, context.job.training
    folder = Path(job.attempt_dir) / loss_type
    folder.mkdir(exist_ok=True)
    update = {"loss_type": loss_type, "steps": 1, "importance_correction": "token_truncate", "reference_every": 0}
    one_step = spec.model_copy(update=update | {"eval_every": 0, "name": loss_type, "splits": type(spec.splits)()})
    fields = {"spec": one_step, "attempt_dir": str(folder), "resume_points": [], "journal_dirs": []}
    events = type(context.events)(folder / EVENTS)
    return replace(context, job=job.model_copy(update=fields), events=events)


def _run(context: JobContext) -> ResultEvent:
    assert isinstance(context.codec, TokenizerCodec)
    services = WatchedServices(job=context.job, codec=context.codec, stop=context.stop)
    return rl.run_rl(replace(context, connect=lambda: services), trainer_class=WatchedTrainer)


if __name__ == "__main__":
    setattr(policy_training, "micro_batch_rows", few_rows)  # noqa: B010
    KINDS["rl"] = run
    sys.exit(main())
