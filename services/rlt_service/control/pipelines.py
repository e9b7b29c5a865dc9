"""Own what is checked of a pipeline before it is accepted: its graph, and each step as far as its inputs are known.

A version that is not made yet is stood in for by the base that it will be of; rows that are not there yet cannot be
looked at. The checks of each kind are made again, on what there is then, when a step is handed in.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rlt_core.errors import InvalidRequestError, NotAvailableYetError, NotFoundError, RltError
from rlt_core.pipeline_checks import check_graph, taken_over
from rlt_core.pipelines import TAKES, Place, StepState, Use, goes_on, put, resolved, source_of, uses
from rlt_core.schemas.jobs import JOB_SPEC, TERMINAL, AnySpec, Job, RlSpec
from rlt_core.schemas.pipelines import PipelineSpec, PipelineStep
from rlt_service.bases import base_role
from rlt_service.control.specs import check_not_before
from rlt_service.control.submission import Submission
from rlt_service.store.pipelines import PipelineStore


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedStep:
    """A step as its first round finds it, or a later one where that differs."""

    place: int
    """In the spec's list."""
    step: PipelineStep
    round: int
    spec: AnySpec
    """With names in the place of those references that are known."""
    unknown: Sequence[Use]
    """The others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipelines:
    """Checks pipelines and hands them in."""

    submission: Submission
    store: PipelineStore

    def submit(self, spec: PipelineSpec) -> Job:
        """Check, then store the pipeline; raises what `check` raises."""
        return self.store.submit(spec, taken_over=self.check(spec))

    def check(self, spec: PipelineSpec) -> Mapping[Place, StepState]:
        """Find what can be known to be wrong; give what is taken over from an earlier pipeline.

        Raises InvalidRequestError for the graph, and what the checks of a step's kind raise, each with `param`.
        """
        check_not_before(spec)
        check_graph(spec)
        taken = self._taken_over(spec)
        for checked in looked_at(spec, taken):
            with within_step(checked.place):
                self._check_step(spec, checked)
        return taken

    def _taken_over(self, spec: PipelineSpec) -> Mapping[Place, StepState]:
        if spec.resume_from is None:
            return {}
        try:
            job, states = self.store.earlier(spec.resume_from.job)
        except NotFoundError as error:
            raise NotFoundError(error.detail, param="/resume_from/job") from error
        if not isinstance(job.spec, PipelineSpec):
            raise InvalidRequestError(f"{job.id} is a {job.kind}, no pipeline", param="/resume_from/job")
        if job.status not in TERMINAL:
            raise InvalidRequestError(
                f"{job.id} is {job.status}: cancel it, or wait for its end, before its work is taken over",
                param="/resume_from/job",
            )
        return taken_over(spec, job.spec, states, step=spec.resume_from.step, round_=spec.resume_from.round)

    def _check_step(self, spec: PipelineSpec, checked: CheckedStep) -> None:
        for use in checked.unknown:
            source = source_of(spec, use.reference, round_=checked.round)
            if use.path == ("teacher",) and source is not None:
                _check_goes_on(checked.spec, source)
        probe = self._probe(spec, checked)
        if any(TAKES[str(use.path[0])] == "dataset" for use in checked.unknown):
            self.submission.examine_names(probe)
        else:
            self.submission.examine(probe)

    def _probe(self, spec: PipelineSpec, checked: CheckedStep) -> AnySpec:
        """Put the base in the place of each version that is not made yet; of a list, leave those out."""
        body = checked.spec.model_dump(mode="json", exclude_unset=True)
        left_out: dict[str, str] = {}
        for use in checked.unknown:
            source = source_of(spec, use.reference, round_=checked.round)
            if TAKES[str(use.path[0])] != "version" or source is None:
                continue
            base = self.submission.registry.base(base_role(source.spec)).version
            if len(use.path) == 1:
                put(body, use.path, base)
            else:
                left_out[str(use.path[0])] = base
        for field, base in left_out.items():
            body[field] = [name for name in body[field] if not name.startswith("$")] or [base]
        return JOB_SPEC.validate_python(body)


def looked_at(spec: PipelineSpec, taken: Mapping[Place, StepState]) -> Iterator[CheckedStep]:
    """Give each step that is to be done: in the first round that does it, and in the next where that differs."""
    for place, step in enumerate(spec.steps):
        rounds = [round_ for round_ in range(1, spec.rounds + 1) if (round_, step.id) not in taken]
        differs = any(goes_on(use) for use in uses(step.spec))
        for round_ in rounds[: 2 if differs else 1]:
            known = resolved(spec, step, round_=round_, states=taken, known=False)
            yield CheckedStep(place=place, step=step, round=round_, spec=known, unknown=uses(known))


@contextmanager
def within_step(place: int) -> Generator[None]:
    """Have what the checks of a step's spec raise point into the pipeline."""
    try:
        yield
    except RltError as error:
        param = f"/steps/{place}/spec{error.param or ''}"
        raise type(error)(error.detail, param=param, retry_after_s=error.retry_after_s, extra=error.extra) from error


def _check_goes_on(spec: AnySpec, source: PipelineStep) -> None:
    """Refuse training on from an adapter of another rank, or from a whole model, before either is trained."""
    if not isinstance(spec, RlSpec) or not hasattr(source.spec, "lora"):
        return
    lora = getattr(source.spec, "lora")  # noqa: B009 - not each kind has it
    if lora is None:
        raise NotAvailableYetError(
            f"not available yet is training on from a fully trained model, which {source.id} makes: give it a lora",
            param="/teacher",
        )
    if spec.lora is not None and "lora" in spec.model_fields_set and spec.lora.rank != lora.rank:
        raise InvalidRequestError(
            f"training continues the adapter of {source.id}, whose rank is {lora.rank}, not {spec.lora.rank}: leave "
            "lora out, or give both the same",
            param="/lora/rank",
        )


def unknown_texts(checked: CheckedStep) -> list[str]:
    """Name the references that are not known yet, each once."""
    return list(dict.fromkeys(use.reference.text for use in checked.unknown))
