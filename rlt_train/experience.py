"""Own what TRL sees of the services: a rollout function, a reward that was already given, and the step's metrics."""

import time
from collections.abc import Sequence
from typing import Any

from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.trainer import SampleEvent
from rlt_core.statistics import mean
from rlt_train.context import JobContext
from rlt_train.errors import RolloutMismatchError
from rlt_train.grpo import RltGrpoTrainer
from rlt_train.journal import Journal
from rlt_train.publishing import PublishedPolicy, Publisher
from rlt_train.rollouts import Collected, Collector, Rollout

WIDE_GAP = 0.1
"""A mean |trainer's - engine's log-prob| above this (natural log) is worth a warning."""


class Experience:
    """TRL's `rollout_func`: prompts are row ids, answers come from the published policy."""

    def __init__(
        self,
        collector: Collector,
        *,
        publisher: Publisher,
        rows: Sequence[DatasetRow],
        journal: Journal,
        context: JobContext,
    ) -> None:
        self._collector = collector
        self._publisher = publisher
        self.rows = tuple(rows)
        self._by_id = {str(row.id): row for row in rows}
        self._journal = journal
        self._context = context
        self._last: Collected | None = None
        self._step_began_s = 0.0
        self._published_before_s = 0.0
        self.cost: dict[str, float] = dict.fromkeys(
            (
                "rollout_s",
                "score_s",
                "train_s",
                "publish_s",
                "completion_tokens",
                "replayed_steps",
                "regenerated_steps",
            ),
            0.0,
        )

    def __call__(self, prompts: list[str], trainer: Any) -> dict[str, Any]:
        """Collect the step's rollouts: TRL repeats each prompt once a sample, next to one another."""
        self._step_began_s = time.monotonic()
        self._published_before_s = self._publisher.spent_s
        policy = self._publisher.current
        if policy.step != trainer.state.global_step:
            raise RolloutMismatchError(
                f"the trainer is at step {trainer.state.global_step}, the published policy at {policy.step}"
            )
        ids = _groups(prompts, samples=trainer.num_generations)
        self._last = self._replayed(ids, policy, samples=trainer.num_generations) or self._collected(ids, policy)
        rollouts = self._last.rollouts
        self._show(rollouts[0], step=policy.step)
        return {
            "prompt_ids": [list(rollout.tokens.prompt_token_ids) for rollout in rollouts],
            "completion_ids": [list(rollout.tokens.completion_token_ids) for rollout in rollouts],
            "logprobs": [list(rollout.tokens.completion_logprobs) for rollout in rollouts],
            "given": [rollout.score.reward for rollout in rollouts],
        }

    def _replayed(self, ids: Sequence[str], policy: PublishedPolicy, *, samples: int) -> Collected | None:
        """Take what this very policy wrote at this step before an earlier attempt ended."""
        recalled = self._journal.recall(self._by_id, step=policy.step, policy_sha256=policy.sha256)
        for fault in recalled.faults:
            said = "its rollouts are generated again" if recalled.rollouts is None else "an older one is replayed"
            self._context.events.log(f"the journal of step {policy.step}: {fault}; {said}", level="warning")
        if recalled.rollouts is None:
            self.cost["regenerated_steps"] += bool(recalled.faults)
            return None
        if [str(rollout.row.id) for rollout in recalled.rollouts] != [row_id for row_id in ids for _ in range(samples)]:
            raise RolloutMismatchError(f"the journal of step {policy.step} holds other questions than are due")
        self.cost["replayed_steps"] += 1
        return Collected(rollouts=recalled.rollouts, explain_s=0.0, score_s=0.0)

    def _collected(self, ids: Sequence[str], policy: PublishedPolicy) -> Collected:
        self._journal.begin(step=policy.step)
        collected = self._collector.collect(
            [self._by_id[row_id] for row_id in ids], version=policy.version, round_number=policy.step
        )
        self._journal.write(collected.rollouts, step=policy.step, policy_sha256=policy.sha256)
        return collected

    def take_metrics(self, trainer: RltGrpoTrainer) -> dict[str, float]:
        """Sum up the step that has just ended."""
        if self._last is None:
            return {}
        rollouts, publish_s = self._last.rollouts, self._publisher.spent_s - self._published_before_s
        whole_s = time.monotonic() - self._step_began_s
        times = {"rollout_s": self._last.explain_s, "score_s": self._last.score_s, "publish_s": publish_s}
        times["train_s"] = whole_s - sum(times.values())
        tokens = sum(len(rollout.tokens.completion_token_ids) for rollout in rollouts)
        for name, value in (times | {"completion_tokens": float(tokens)}).items():
            self.cost[name] += value
        gap_mean, gap_max = trainer.take_logprob_gap()
        if gap_mean > WIDE_GAP:
            self._context.events.log(
                f"trainer and engine differ by {gap_mean:.3f} nats a token on average: not the same policy?",
                level="warning",
            )
        return times | reward_metrics(rollouts) | {"logprob_gap_mean": gap_mean, "logprob_gap_max": gap_max}

    def _show(self, rollout: Rollout, *, step: int) -> None:
        self._context.events.emit(
            SampleEvent(
                step=step,
                question_id=str(rollout.row.id),
                question=rollout.row.question,
                solution=rollout.row.solution,
                text=rollout.text,
                reward=rollout.score.reward,
                r_ss=rollout.score.r_ss,
                r_kl=rollout.score.r_kl,
                well_formed=rollout.well_formed,
            )
        )


def given_reward(given: list[float], **_: object) -> list[float]:
    """Hand TRL the reward that /score gave; a missing one would have been an error before."""
    return given


def reward_metrics(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Average a step's rewards and their parts."""
    scores = [rollout.score for rollout in rollouts]
    return {
        "reward": mean([score.reward for score in scores]),
        "r_ss": mean([score.r_ss for score in scores]),
        "r_kl": mean([score.r_kl for score in scores]),
        "uplift": mean([score.uplift for score in scores if score.uplift is not None]),
        "closed": mean([float(rollout.well_formed) for rollout in rollouts]),
        "length": mean([float(len(rollout.tokens.completion_token_ids)) for rollout in rollouts]),
    }


def _groups(prompts: Sequence[str], *, samples: int) -> list[str]:
    firsts = list(prompts[::samples])
    if list(prompts) != [row_id for row_id in firsts for _ in range(samples)]:
        raise RolloutMismatchError("TRL's prompts do not come in groups of equal ones: the version of TRL has changed")
    return firsts
