"""Own the `rl` kind: GRPO of a teacher on a student's log-probs, every rollout through the services."""

import time
from collections.abc import Sequence
from functools import partial

from rlt_core.errors import ConfigurationError
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.jobs import RlSpec
from rlt_core.schemas.trainer import EvaluationEvent, ResultEvent
from rlt_core.splits import SplitRows
from rlt_core.tokens import EncodedSequence
from rlt_train.context import JobContext
from rlt_train.evaluation import compare, evaluate_version
from rlt_train.grpo import RltGrpoTrainer
from rlt_train.policy_training import Lesson, policy_parts, train_policy
from rlt_train.publishing import Publisher
from rlt_train.rollout_kinds import EXPLANATIONS
from rlt_train.rollouts import Collector, SamplingPlan
from rlt_train.selection import Selection
from rlt_train.services import Services
from rlt_train.together import from_first


def run_rl(context: JobContext, *, trainer_class: type[RltGrpoTrainer] = RltGrpoTrainer) -> ResultEvent:
    """Train the teacher, publish every step's policy, compare the last with what serves (paper, section 3).

    `trainer_class` lets a test look into the loss.
    """
    began_s = time.monotonic()
    spec = _checked(context)
    parts = policy_parts(context, spec)
    services = context.connect()
    publisher = Publisher(services, context=context)

    def prompt(row: DatasetRow) -> EncodedSequence:
        return context.codec.teacher_sequence(question=row.question, solution=row.solution)

    lesson = Lesson(
        collector=_collector(context, spec, services, samples=spec.samples_per_question, max_dropped=spec.max_dropped),
        kind=EXPLANATIONS,
        prompt=prompt,
        choose=partial(_selection, context=context, spec=spec, services=services, publisher=publisher, parts=parts),
    )
    trained = train_policy(context, spec, lesson, parts=parts, publisher=publisher, trainer_class=trainer_class)
    trained_s = time.monotonic()
    if parts.gate:
        gate = partial(_gate, context, spec, services, rows=parts.gate, candidate=publisher.current.version)
        context.events.emit(from_first(gate))
    ended_s = time.monotonic()
    return trained.result(context, cost={"evaluate_s": ended_s - trained_s, "total_s": ended_s - began_s})


def _checked(context: JobContext) -> RlSpec:
    spec, job = context.job.spec, context.job
    if not isinstance(spec, RlSpec):
        raise ConfigurationError(f"a {spec.kind} spec was handed to rl")
    if job.student_version is None or not job.base_url:
        raise ConfigurationError("an rl job needs student_version and base_url")
    return spec


def _collector(
    context: JobContext,
    spec: RlSpec,
    services: Services,
    *,
    samples: int,
    max_dropped: float = 0.0,
    first_student_only: bool = False,
) -> Collector:
    others = [] if first_student_only else context.job.other_student_versions
    plan = SamplingPlan(
        samples=samples,
        temperature=spec.temperature,
        max_tokens=spec.max_tokens,
        seed=spec.seed,
        student_versions=(str(context.job.student_version), *others),
        student_reduction=spec.student_reduction,
        max_dropped=max_dropped,
        reward=spec.reward,
        format_id=context.job.format_id,
    )
    return Collector(
        services,
        codec=context.codec,
        plan=plan,
        stop=context.stop,
        report=lambda said: context.events.log(said, level="warning"),
    )


def _selection(
    trainer: RltGrpoTrainer,
    *,
    context: JobContext,
    spec: RlSpec,
    services: Services,
    publisher: Publisher,
    parts: SplitRows,
) -> Selection | None:
    if not spec.eval_every:
        return None
    collector = _collector(context, spec, services, samples=1)
    return Selection(
        trainer.policy,
        rows=parts.select,
        measure=lambda rows: from_first(lambda: evaluate_version(collector, rows, version=publisher.current.version)),
        every=spec.eval_every,
        patience=spec.patience,
        context=context,
    )


def _gate(
    context: JobContext, spec: RlSpec, services: Services, *, rows: Sequence[DatasetRow], candidate: str
) -> EvaluationEvent:
    job = context.job
    collector = _collector(context, spec, services, samples=1, first_student_only=True)
    served = job.served_version
    context.events.log(f"comparing {candidate} with {served or 'nothing'} on {len(rows)} held-out questions")
    before = evaluate_version(collector, rows, version=served) if served else []
    after = evaluate_version(collector, rows, version=candidate)
    path = context.attempt_dir / "evaluation.jsonl"
    return compare(before=before, after=after, path=path, student=str(job.student_version), format_id=job.format_id)
