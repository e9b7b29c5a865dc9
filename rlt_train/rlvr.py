"""Own the `rlvr` kind: GRPO of a student on whether its own answers are right, every rollout through the services."""

import time
from functools import partial
from itertools import chain

from rlt_core.errors import ConfigurationError
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.jobs import RlvrSpec
from rlt_core.schemas.trainer import ResultEvent
from rlt_core.splits import SplitRows
from rlt_core.tokens import EncodedSequence
from rlt_core.verdicts import MathEquality, Question, fault_of
from rlt_train.context import JobContext
from rlt_train.errors import InvalidTrainingDataError
from rlt_train.evaluation import EVALUATION_ROUND
from rlt_train.grpo import RltGrpoTrainer
from rlt_train.math_equality import MathVerify
from rlt_train.policy_training import Lesson, policy_parts, train_policy
from rlt_train.publishing import Publisher
from rlt_train.rollout_kinds import SOLUTIONS, solution_metrics
from rlt_train.selection import AccuracySelection
from rlt_train.services import Services
from rlt_train.solutions import SolutionCollector, SolvingPlan
from rlt_train.together import from_first


def run_rlvr(
    context: JobContext,
    *,
    trainer_class: type[RltGrpoTrainer] = RltGrpoTrainer,
    equal: MathEquality | None = None,
) -> ResultEvent:
    """Train the student from where the spec says, and publish every step's policy.

    `equal` compares mathematics; null is math-verify, where the spec asks for it. Raises InvalidTrainingDataError for a
    question that the rule cannot judge, ConfigurationError where math-verify is not installed.
    """
    began_s = time.monotonic()
    spec = _checked(context)
    if equal is None and spec.verdict == "math_verify":
        equal = MathVerify()  # before a model is loaded
    parts = policy_parts(context, spec)
    check_judged(spec, parts)
    services = context.connect()
    publisher = Publisher(services, context=context)
    collector = partial(_collector, context, spec, services, equal=equal)

    def prompt(row: DatasetRow) -> EncodedSequence:
        return context.codec.student_prompt(question=row.question)

    lesson = Lesson(
        collector=collector(samples=spec.samples_per_question, max_dropped=spec.max_dropped),
        kind=SOLUTIONS,
        prompt=prompt,
        choose=partial(
            _selection,
            context=context,
            spec=spec,
            # Held-out questions are never left out: accuracy would be of those that were easy to ask.
            collector=collector(samples=1, max_dropped=0.0),
            publisher=publisher,
            parts=parts,
        ),
    )
    trained = train_policy(context, spec, lesson, parts=parts, publisher=publisher, trainer_class=trainer_class)
    return trained.result(context, cost={"total_s": time.monotonic() - began_s})


def check_judged(spec: RlvrSpec, parts: SplitRows) -> None:
    """Raise InvalidTrainingDataError, naming the first, for rows whose answers the rule cannot judge."""
    for row in chain(parts.train, parts.select):
        fault = fault_of(Question(answer=row.answer, metadata=row.metadata), rule=spec.verdict)
        if fault is not None:
            raise InvalidTrainingDataError(
                f"row {row.id!r} {fault}, so that the verdict {spec.verdict} can judge no answer to it: upload "
                "answers, or ask for another verdict",
                param="/dataset",
            )


def _checked(context: JobContext) -> RlvrSpec:
    spec, job = context.job.spec, context.job
    if not isinstance(spec, RlvrSpec):
        raise ConfigurationError(f"a {spec.kind} spec was handed to rlvr")
    if job.student_version is None or not job.base_url:
        raise ConfigurationError("an rlvr job needs student_version and base_url")
    if spec.max_staleness and spec.verdict == "math_verify":
        raise ConfigurationError(
            "max_staleness judges beside the step before, where the time that math-verify takes cannot be bounded"
        )
    return spec


def _collector(
    context: JobContext,
    spec: RlvrSpec,
    services: Services,
    *,
    equal: MathEquality | None,
    samples: int,
    max_dropped: float,
) -> SolutionCollector:
    plan = SolvingPlan(
        samples=samples,
        temperature=spec.temperature,
        max_tokens=spec.max_tokens,
        seed=spec.seed,
        verdict=spec.verdict,
        reward=spec.reward.to_weights(),
        format_id=context.job.format_id,
        max_dropped=max_dropped,
    )
    return SolutionCollector(
        services,
        codec=context.codec,
        plan=plan,
        equal=equal,
        stop=context.stop,
        report=lambda said: context.events.log(said, level="warning"),
    )


def _selection(
    trainer: RltGrpoTrainer,
    *,
    context: JobContext,
    spec: RlvrSpec,
    collector: SolutionCollector,
    publisher: Publisher,
    parts: SplitRows,
) -> AccuracySelection | None:
    if not spec.eval_every:
        return None

    def measured() -> dict[str, float]:
        found = collector.collect(parts.select, version=publisher.current.version, round_number=EVALUATION_ROUND)
        return solution_metrics(found.rollouts)

    return AccuracySelection(
        trainer.policy,
        questions=len(parts.select),
        measure=partial(from_first, measured),
        every=spec.eval_every,
        patience=spec.patience,
        context=context,
    )
