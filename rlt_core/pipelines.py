"""Own the graph of a pipeline: references, what is refused of it, what is due next, what is taken over. Pure.

A round is one pass over all steps; the next begins when every step of the one before has succeeded.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Any, Literal, cast, get_args

from rlt_core.errors import InvalidRequestError
from rlt_core.schemas.collect import CollectSpec
from rlt_core.schemas.evaluate import EvaluateSpec
from rlt_core.schemas.jobs import JOB_SPEC, TERMINAL, AnySpec, JobStatus, RlSpec
from rlt_core.schemas.pipelines import Output, PipelineSpec, PipelineStep

ROUND = "round"
"""In a step's place in a reference: what goes from round to round."""
Sort = Literal["version", "dataset", "evaluation"]
SORTS: dict[Output, Sort] = {
    "teacher": "version",
    "student": "version",
    "dataset": "dataset",
    "evaluation": "evaluation",
}
"""Names of versions are one namespace: what was made as a student may teach."""
TAKES: dict[str, Sort] = {
    "dataset": "dataset",
    "splits": "dataset",
    "teacher": "version",
    "student": "version",
    "model": "version",
    "models": "version",
}
"""Fields of specs, of whatever kind, that may refer, by what they take."""
TEXTS = frozenset({"name", "source"})
"""Fields of specs that hold words of people, where a dollar is a dollar."""
SEEDS = 2**31

_REFERENCE = re.compile(r"\$([a-z][a-z0-9-]{0,39})\.([a-z][a-z0-9_-]{0,39})")

Place = tuple[int, str]
"""A round, from 1, and a step's id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """`$STEP.OUTPUT`, or `$round.NAME`."""

    step: str
    name: str

    @property
    def text(self) -> str:
        """As it is written."""
        return f"${self.step}.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A reference where it stands in a step's spec."""

    path: tuple[str | int, ...]
    reference: Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """A step that has been handed in: its job, how that stands, what it has made."""

    job: str
    status: JobStatus
    made: Mapping[Output, str] = field(default_factory=dict[Output, str])


def output_of(spec: AnySpec) -> Output:
    """Say what a job of this spec makes."""
    match spec:
        case CollectSpec():
            return "dataset"
        case EvaluateSpec():
            return "evaluation"
        case RlSpec():
            return "teacher"
        case _:
            return spec.role


def uses(spec: AnySpec) -> list[Use]:
    """Find the references of a spec; raises InvalidRequestError, with `param` inside it, for one that cannot be."""
    found: list[Use] = []
    for path, text in _strings(spec.model_dump(mode="json", exclude_unset=True), ()):
        if not text.startswith("$") or path[0] in TEXTS:
            continue
        reference = parse(text)
        if reference is None:
            raise InvalidRequestError(
                f"{text[:80]!r} is no reference: write $STEP.OUTPUT, such as $distil.student, or $round.NAME",
                param=pointer(path),
            )
        if path[0] not in TAKES:
            raise InvalidRequestError(
                f"{path[0]} takes no reference, {reference.text} cannot stand here: {', '.join(TAKES)} do",
                param=pointer(path),
            )
        found.append(Use(path=path, reference=reference))
    return found


def needs(step: PipelineStep) -> list[str]:
    """Give the steps that must have succeeded before this one, each once."""
    return list(dict.fromkeys([*step.after, *(use.reference.step for use in uses(step.spec) if not goes_on(use))]))


def in_order(spec: PipelineSpec) -> list[str]:
    """Give the ids of the steps, each after all that it needs, else as they are written; raises CycleError."""
    sorter = TopologicalSorter({step.id: needs(step) for step in spec.steps})
    sorter.prepare()
    written = {step.id: place for place, step in enumerate(spec.steps)}
    found: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=written.__getitem__)
        found += ready
        sorter.done(*ready)
    return found


def downstream(spec: PipelineSpec, step: str) -> set[str]:
    """Give a step and all that depend on it within a round."""
    reached = {step}
    for id_ in in_order(spec):
        if reached & set(needs(step_of(spec, id_))):
            reached.add(id_)
    return reached


def due(spec: PipelineSpec, states: Mapping[Place, StepState]) -> list[Place]:
    """Give the steps to hand in now; none once a step has ended without success."""
    if any(state.status in TERMINAL and not succeeded(state) for state in states.values()):
        return []
    for round_ in range(1, spec.rounds + 1):
        of_round = {step.id: states.get((round_, step.id)) for step in spec.steps}
        if all(map(succeeded, of_round.values())):
            continue
        return [
            (round_, step.id)
            for step in spec.steps
            if of_round[step.id] is None and all(succeeded(of_round[before]) for before in needs(step))
        ]
    return []


def complete(spec: PipelineSpec, states: Mapping[Place, StepState]) -> bool:
    """Tell whether every step of every round has succeeded."""
    return all(succeeded(states.get((round_, step.id))) for round_ in range(1, spec.rounds + 1) for step in spec.steps)


def resolved(
    spec: PipelineSpec, step: PipelineStep, *, round_: int, states: Mapping[Place, StepState], known: bool = True
) -> AnySpec:
    """Give a step's spec with names in the place of references, and what the pipeline gives to all.

    Where `known` is false, references to what is not made yet stay as they are. Raises InvalidRequestError for a step
    that succeeded and made nothing of that kind.
    """
    body = step.spec.model_dump(mode="json", exclude_unset=True)
    for use in uses(step.spec):
        value = meaning(spec, use.reference, round_=round_, states=states)
        if value is not None:
            put(body, use.path, value)
        elif known:
            raise InvalidRequestError(
                f"{use.reference.text} is nothing: the step {use.reference.step} made no {use.reference.name}",
                param=pointer(use.path),
            )
    body.setdefault("seed", (spec.seed + round_ - 1) % SEEDS)
    body.setdefault("priority", spec.priority)
    return JOB_SPEC.validate_python(body)


def meaning(spec: PipelineSpec, reference: Reference, *, round_: int, states: Mapping[Place, StepState]) -> str | None:
    """Give what a reference stands for in a round; None where that is not made yet."""
    if reference.step == ROUND:
        if round_ == 1:
            return spec.start.get(reference.name)
        carried = parse(spec.carry[reference.name])
        return None if carried is None else meaning(spec, carried, round_=round_ - 1, states=states)
    state = states.get((round_, reference.step))
    return None if state is None else state.made.get(cast(Output, reference.name))


def source_of(spec: PipelineSpec, reference: Reference, *, round_: int) -> PipelineStep | None:
    """Give the step that makes what a reference stands for; None in the first round, for what a start names."""
    if reference.step != ROUND:
        return step_of(spec, reference.step)
    carried = parse(spec.carry.get(reference.name, "")) if round_ > 1 else None
    return None if carried is None else step_of(spec, carried.step)


def pointer(path: Sequence[str | int]) -> str:
    """Write a path inside a spec as a JSON pointer."""
    return "".join(f"/{part}" for part in path)


def step_of(spec: PipelineSpec, id_: str) -> PipelineStep:
    """Find a step that is there."""
    return next(step for step in spec.steps if step.id == id_)


def goes_on(use: Use) -> bool:
    """Tell whether a reference is to what goes from round to round."""
    return use.reference.step == ROUND


def succeeded(state: StepState | None) -> bool:
    """Tell whether a step was begun and has succeeded."""
    return state is not None and state.status == "succeeded"


def parse(text: str) -> Reference | None:
    """Read a reference; None where it has another form."""
    found = _REFERENCE.fullmatch(text)
    if found is None or (found[1] != ROUND and found[2] not in get_args(Output)):
        return None
    return Reference(step=found[1], name=found[2])


def _strings(value: object, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, inner in cast("dict[str, object]", value).items():
            yield from _strings(inner, (*path, name))
    elif isinstance(value, list):
        for place, inner in enumerate(cast("list[object]", value)):
            yield from _strings(inner, (*path, place))


def put(body: dict[str, Any], path: tuple[str | int, ...], value: str) -> None:
    """Write a value where a path leads."""
    here: Any = body
    for part in path[:-1]:
        here = here[part]
    here[path[-1]] = value
