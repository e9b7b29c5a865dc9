"""Own what TRL sees of the services: a rollout function, a reward that was already given, and the step's metrics."""

import hashlib
import heapq
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic

from rlt_core.row_files import RowsById
from rlt_core.schemas.datasets import DatasetRow
from rlt_train.ahead import Ahead, begin
from rlt_train.collected import Collected, Collects, RewardedRollout, RolloutT
from rlt_train.context import JobContext
from rlt_train.data_order import DataCourse
from rlt_train.errors import RolloutMismatchError
from rlt_train.grpo import RltGrpoTrainer
from rlt_train.journal import Journal
from rlt_train.publishing import PublishedPolicy, Publisher
from rlt_train.rollout_kinds import RolloutKind
from rlt_train.together import from_first, of_all, own_share

FLAT = 1e-8
"""Rewards of a group that are closer to one another than this count as equal, as in TRL."""
WIDE_GAP = 0.1
"""A mean |trainer's - engine's log-prob| above this (natural log) is worth a warning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sampled(Generic[RolloutT]):
    """A step's rollouts, with the policy that wrote them."""

    ids: tuple[str, ...]
    """Rows that were due."""
    policy: PublishedPolicy
    collected: Collected[RolloutT]


class Experience(Generic[RolloutT]):
    """TRL's `rollout_func`: prompts are row ids, answers come from the published policy."""

    def __init__(
        self,
        collector: Collects[RolloutT],
        *,
        kind: RolloutKind[RolloutT],
        publisher: Publisher,
        rows: Sequence[DatasetRow],
        journal: Journal[RolloutT],
        context: JobContext,
        replacement_rounds: int = 0,
    ) -> None:
        """`replacement_rounds` bounds how often groups without spread are replaced (DAPO's dynamic sampling)."""
        self._replacement_rounds = replacement_rounds
        self._collector = collector
        self._kind = kind
        self._publisher = publisher
        self.rows = rows
        self._by_id = RowsById(rows)
        self._journal = journal
        self._context = context
        self._last: Collected[RolloutT] | None = None
        self._course: DataCourse | None = None
        self._ahead: Ahead[_Sampled[RolloutT]] | None = None
        self._waited_s = 0.0
        self._staleness = 0
        self._step_began_s = 0.0
        self._published_before_s = 0.0
        self.cost: dict[str, float] = dict.fromkeys(
            (
                "rollout_s",
                "score_s",
                "train_s",
                "publish_s",
                "wait_s",
                "completion_tokens",
                "replayed_steps",
                "regenerated_steps",
                "replaced_groups",
                "dropped",
            ),
            0.0,
        )

    def __call__(self, prompts: list[str], trainer: Any) -> dict[str, Any]:
        """Collect the step's rollouts: TRL repeats each prompt once a sample, next to one another.

        Each rank has a share of the prompts. The first collects for all; a question's rollouts may go to two ranks.
        """
        prompts_of_all, mine = of_all(prompts), own_share(len(prompts))
        whole = from_first(lambda: self._step(prompts_of_all, trainer))
        return {name: column[mine] for name, column in whole.items()}

    def _step(self, prompts: Sequence[str], trainer: Any) -> dict[str, list[Any]]:
        self._step_began_s = time.monotonic()
        self._published_before_s = self._publisher.spent_s
        policy = self._publisher.current
        if policy.step != trainer.state.global_step:
            raise RolloutMismatchError(
                f"the trainer is at step {trainer.state.global_step}, the published policy at {policy.step}"
            )
        ids = _groups(prompts, samples=trainer.num_generations)
        sampled = self._begun(ids, step=policy.step) or self._sampled(ids, policy, samples=trainer.num_generations)
        self._last, self._staleness = sampled.collected, policy.step - sampled.policy.step
        self._begin_next(policy, steps=trainer.state.max_steps)
        self._context.events.emit(self._kind.sample(self._last.rollouts[0], policy.step))
        return columns(self._last.groups(), samples=trainer.num_generations)

    def work_ahead(self, course: DataCourse) -> None:
        """Collect each step's rollouts while the step before trains, by the policy that it began with: one step old.

        What was sampled by a policy that is gone cannot be sampled again: nothing is replayed then.
        """
        self._course = course

    def _begin_next(self, policy: PublishedPolicy, *, steps: int) -> None:
        step = policy.step + 1
        if self._course is None or step >= steps:
            return
        due = [str(self.rows[number].id) for number in self._course.rows_due(step)]
        self._ahead = begin(partial(self._collected, due, policy, step=step), step=step)

    def _begun(self, ids: Sequence[str], *, step: int) -> _Sampled[RolloutT] | None:
        """Wait for what was begun for this step."""
        if self._ahead is None:
            return None
        began_s = time.monotonic()
        ahead, self._ahead = self._ahead, None
        found = ahead.result(stop=self._context.stop)
        if (ahead.step, list(found.ids)) != (step, list(ids)):
            raise RolloutMismatchError(
                f"rollouts were begun for step {ahead.step}, and step {step} has other questions"
            )
        self._waited_s = time.monotonic() - began_s
        return found

    def _sampled(self, ids: Sequence[str], policy: PublishedPolicy, *, samples: int) -> _Sampled[RolloutT]:
        replayed = None if self._course is not None else self._replayed(ids, policy, samples=samples)
        if replayed is not None:
            return _Sampled(ids=tuple(ids), policy=policy, collected=replayed)
        return self._collected(ids, policy, step=policy.step)

    def _replayed(self, ids: Sequence[str], policy: PublishedPolicy, *, samples: int) -> Collected[RolloutT] | None:
        """Take what this very policy wrote at this step before an earlier attempt ended."""
        recalled = self._journal.recall(self._by_id, step=policy.step, policy_sha256=policy.sha256)
        for fault in recalled.faults:
            said = "its rollouts are generated again" if recalled.rollouts is None else "an older one is replayed"
            self._context.events.log(f"the journal of step {policy.step}: {fault}; {said}", level="warning")
        if recalled.rollouts is None:
            self.cost["regenerated_steps"] += bool(recalled.faults)
            return None
        held = recalled.asked or _groups([str(rollout.row.id) for rollout in recalled.rollouts], samples=samples)
        # Groups that were replaced are of other questions, in the places of those that were due.
        if len(held) != len(ids) or (list(held) != list(ids) and not self._replacement_rounds):
            raise RolloutMismatchError(f"the journal of step {policy.step} holds other questions than are due")
        self.cost["replayed_steps"] += 1
        dropped = len(held) * samples - len(recalled.rollouts)
        return Collected(rollouts=recalled.rollouts, asked=tuple(held), dropped=dropped, explain_s=0.0, score_s=0.0)

    def _collected(self, ids: Sequence[str], policy: PublishedPolicy, *, step: int) -> _Sampled[RolloutT]:
        self._journal.begin(step=step)
        collected = self._collect(ids, policy, step=step)
        spare = self._spare(ids, step=step)
        for _ in range(self._replacement_rounds):
            flat = flat_groups(collected.groups())[: len(spare)]
            if not flat:
                break
            others, spare = spare[: len(flat)], spare[len(flat) :]
            collected = replaced(collected, flat, self._collect(others, policy, step=step))
            self.cost["replaced_groups"] += len(flat)
        self._journal.write(
            collected.rollouts,
            step=step,
            policy_sha256=policy.sha256,
            version=policy.version,
            asked=collected.asked,
        )
        return _Sampled(ids=tuple(ids), policy=policy, collected=collected)

    def _spare(self, ids: Sequence[str], *, step: int) -> list[str]:
        if not self._replacement_rounds:
            return []
        others = (row_id for row_id in self._by_id if row_id not in ids)
        return spare_rows(others, step=step, most=self._replacement_rounds * len(ids))

    def _collect(self, ids: Sequence[str], policy: PublishedPolicy, *, step: int) -> Collected[RolloutT]:
        rows = [self._by_id[row_id] for row_id in ids]
        return self._collector.collect(rows, version=policy.version, round_number=step)

    def take_metrics(self, trainer: RltGrpoTrainer) -> dict[str, float]:
        """Sum up the step that has just ended; nothing but in the first rank, though all call it."""
        mismatch = trainer.take_mismatch()
        if self._last is None:
            return {}
        rollouts, publish_s = self._last.rollouts, self._publisher.spent_s - self._published_before_s
        whole_s = time.monotonic() - self._step_began_s
        times = {"rollout_s": self._last.explain_s, "score_s": self._last.score_s, "publish_s": publish_s}
        if self._staleness:  # rollouts and scores came beside the step before
            times["wait_s"] = self._waited_s
            times["train_s"] = whole_s - publish_s - self._waited_s
        else:
            times["train_s"] = whole_s - sum(times.values())
        tokens = sum(len(rollout.tokens.completion_token_ids) for rollout in rollouts)
        left_out = {"dropped": float(self._last.dropped)}
        for name, value in (times | left_out | {"completion_tokens": float(tokens)}).items():
            self.cost[name] += value
        if mismatch["logprob_gap_mean"] > WIDE_GAP and not self._staleness:
            self._context.events.log(
                f"trainer and engine differ by {mismatch['logprob_gap_mean']:.3f} nats a token on average: not the "
                "same policy?",
                level="warning",
            )
        speed = {"tokens_per_s": tokens / whole_s if whole_s > 0.0 else 0.0}
        stale = {"staleness": float(self._staleness)}
        return times | speed | left_out | stale | self._kind.metrics(rollouts) | mismatch


def given_reward(given: list[float | None], **_: object) -> list[float | None]:
    """Hand TRL the reward that was given; None is a rollout that was left out, which TRL leaves out of its group."""
    return given


def columns(groups: Sequence[Sequence[RewardedRollout]], *, samples: int) -> dict[str, list[Any]]:
    """Give the groups as TRL wants them, `samples` rows each; those that are missing are filled up.

    A row that fills up has no reward, so that TRL counts it in no mean, no spread and no advantage, and a mask of 0,
    by which it counts in no loss. Some tokens are needed: the first of a neighbour, which cost no pass of their own.
    """
    any_one = next(rollout for rollouts in groups for rollout in rollouts)
    rows: list[tuple[list[int], list[int], list[float], float | None]] = []
    for rollouts in groups:
        for rollout in rollouts:
            tokens = rollout.tokens
            mine = list(tokens.prompt_token_ids), list(tokens.completion_token_ids), list(tokens.completion_logprobs)
            rows.append((*mine, rollout.reward))
        known = (rollouts[0] if rollouts else any_one).tokens
        filling = list(known.prompt_token_ids), [known.completion_token_ids[0]], [known.completion_logprobs[0]]
        rows += [(*filling, None)] * (samples - len(rollouts))
    found: dict[str, list[Any]] = {
        "prompt_ids": [row[0] for row in rows],
        "completion_ids": [row[1] for row in rows],
        "logprobs": [row[2] for row in rows],
        "given": [row[3] for row in rows],
    }
    if any(row[3] is None for row in rows):
        found["env_mask"] = [[int(row[3] is not None)] * len(row[1]) for row in rows]
    return found


def flat_groups(groups: Sequence[Sequence[RewardedRollout]]) -> list[int]:
    """Find the groups, by number, whose rewards are all equal, or of which nothing is left: they teach nothing."""
    rewards = [[rollout.reward for rollout in rollouts] for rollouts in groups]
    return [index for index, part in enumerate(rewards) if not part or max(part) - min(part) < FLAT]


def replaced(collected: Collected[RolloutT], flat: Sequence[int], others: Collected[RolloutT]) -> Collected[RolloutT]:
    """Put other groups, in their order, in the places of the flat ones; times add up."""
    groups, asked = collected.groups(), list(collected.asked)
    for index, group, row_id in zip(flat, others.groups(), others.asked, strict=True):
        groups[index], asked[index] = group, row_id
    return Collected(
        rollouts=tuple(rollout for group in groups for rollout in group),
        asked=tuple(asked),
        dropped=collected.dropped + others.dropped,
        explain_s=collected.explain_s + others.explain_s,
        score_s=collected.score_s + others.score_s,
    )


def spare_rows(ids: Iterable[str], *, step: int, most: int) -> list[str]:
    """Order the questions that may step in at a step: by a hash, so that every attempt takes the same; the first."""
    return heapq.nsmallest(most, ids, key=lambda row_id: hashlib.sha256(f"{step}\0{row_id}".encode()).digest())


def _groups(prompts: Sequence[str], *, samples: int) -> list[str]:
    firsts = list(prompts[::samples])
    if list(prompts) != [row_id for row_id in firsts for _ in range(samples)]:
        raise RolloutMismatchError("TRL's prompts do not come in groups of equal ones: the version of TRL has changed")
    return firsts
