"""Own the way of a policy into the engine: saved whole, announced, callable under one exact name."""

import time
from dataclasses import dataclass
from pathlib import Path

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rlt_train.context import JobContext
from rlt_train.errors import RolloutMismatchError
from rlt_train.models import Policy, save_policy
from rlt_train.services import Services
from rlt_train.together import from_first


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPolicy:
    """The policy after `step` optimizer steps, callable as `version`."""

    step: int
    version: str
    sha256: str


class Publisher:
    """Publishes policies in order and knows the newest; rollouts come from that one and no other."""

    def __init__(self, services: Services, *, context: JobContext) -> None:
        self._services = services
        self._job = context.job
        self._current: PublishedPolicy | None = None
        self.spent_s = 0.0

    @property
    def current(self) -> PublishedPolicy:
        """The newest policy; raises RolloutMismatchError before the first."""
        if self._current is None:
            raise RolloutMismatchError("no policy was published yet, so none can be asked for rollouts")
        return self._current

    def publish(self, policy: Policy, *, step: int) -> None:
        """Save and announce the policy of `step`; raises RolloutMismatchError for another name than was due.

        All ranks call it: the first announces, the others wait.
        """
        began_s = time.monotonic()
        folder = Path(self._job.attempt_dir) / "rollouts" / str(step)
        sha256 = save_policy(policy, folder, base_model=self._job.base_model)
        version = from_first(lambda: self._services.publish(step=step, sha256=sha256))
        due = f"{self._job.job_id}.{self._job.attempt}@{step}"
        if version != due:
            raise RolloutMismatchError(f"the policy of step {step} was published as {version!r} instead of {due!r}")
        self._current = PublishedPolicy(step=step, version=version, sha256=sha256)
        self.spent_s += time.monotonic() - began_s


class PublishAfterStep(TrainerCallback):
    """Publish as soon as an optimizer step has changed the policy, before anything samples again."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Policy | None = None,
        **_: object,
    ) -> None:
        """Publish the policy of the step that has just ended."""
        if model is None:
            raise RolloutMismatchError("TRL ended a step without naming its model")
        self._publisher.publish(model, step=state.global_step)
