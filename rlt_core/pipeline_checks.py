"""Own what is refused of a pipeline by its graph alone, and what of another one it may take over. Pure."""

import difflib
from collections.abc import Collection, Mapping
from graphlib import CycleError
from typing import Any, cast

from rlt_core.errors import InvalidRequestError
from rlt_core.pipelines import (
    ROUND,
    SEEDS,
    SORTS,
    TAKES,
    Place,
    Reference,
    StepState,
    Use,
    downstream,
    goes_on,
    in_order,
    output_of,
    parse,
    pointer,
    put,
    succeeded,
    uses,
)
from rlt_core.schemas.jobs import JOB_SPEC
from rlt_core.schemas.pipelines import Output, PipelineSpec, PipelineStep

NOT_COMPARED = frozenset({"name", "priority", "not_before", "max_runtime_s"})
"""Fields by which two specs may differ and mean the same work."""


def check_graph(spec: PipelineSpec) -> None:
    """Raise InvalidRequestError, with `param`, for a graph that cannot be carried out: each finding by its place."""
    _check_ids(spec)
    makes: dict[str, Output] = {step.id: output_of(step.spec) for step in spec.steps}
    _check_rounds(spec, makes)
    for place, step in enumerate(spec.steps):
        for number, before in enumerate(step.after):
            param = f"/steps/{place}/after/{number}"
            _check_known(before, makes, param=param)
            if before == step.id:
                raise InvalidRequestError(f"{step.id} cannot come after itself", param=param)
        try:
            for use in uses(step.spec):
                _check_use(use, step=step.id, spec=spec, makes=makes)
        except InvalidRequestError as error:
            raise InvalidRequestError(error.detail, param=f"/steps/{place}/spec{error.param}") from error
    _check_order(spec)


def taken_over(
    spec: PipelineSpec, before: PipelineSpec, states: Mapping[Place, StepState], *, step: str, round_: int
) -> dict[Place, StepState]:
    """Choose what of another pipeline's work holds here too: all that does not depend on the step of that round.

    Raises InvalidRequestError where a step that must be taken over did not succeed there, or was another.
    """
    if step not in {one.id for one in spec.steps}:
        raise InvalidRequestError(_unknown(step, [one.id for one in spec.steps]), param="/resume_from/step")
    if round_ > spec.rounds:
        raise InvalidRequestError(
            f"there are {spec.rounds} rounds, so none can begin anew at {round_}", param="/resume_from/round"
        )
    again = downstream(spec, step)
    upstream = {id_ for id_ in (one.id for one in spec.steps) if step in downstream(spec, id_)} - {step}
    found: dict[Place, StepState] = {}
    for number in range(1, round_ + 1):
        for place, one in enumerate(spec.steps):
            if number == round_ and one.id in again:
                continue
            state = states.get((number, one.id))
            if not succeeded(state):
                if number == round_ and one.id not in upstream:
                    continue  # a branch beside it, which is done again
                raise InvalidRequestError(
                    f"{one.id} of round {number} is {state.status if state else 'not begun'} there, and what begins at "
                    f"{step} builds on it: begin at {one.id}",
                    param="/resume_from/step",
                )
            _check_same(spec, before, one, number=number, place=place)
            found[(number, one.id)] = cast(StepState, state)
    return found


def _check_same(spec: PipelineSpec, before: PipelineSpec, step: PipelineStep, *, number: int, place: int) -> None:
    there = next((one for one in before.steps if one.id == step.id), None)
    if there is None:
        raise InvalidRequestError(
            f"the other pipeline has no step {step.id}: begin there or before", param=f"/steps/{place}/id"
        )
    here_body, there_body = _written(spec, step, round_=number), _written(before, there, round_=number)
    names = sorted(here_body.keys() | there_body.keys())
    changed = next((name for name in names if here_body.get(name) != there_body.get(name)), None)
    if changed is not None:
        raise InvalidRequestError(
            f"{step.id} had another {changed} there ({there_body.get(changed)!r}), so its result is not that of this "
            f"one: begin at {step.id}, or give the same",
            param=f"/steps/{place}/spec" + ("" if changed == "kind" else f"/{changed}"),
        )


def _written(spec: PipelineSpec, step: PipelineStep, *, round_: int) -> dict[str, Any]:
    """Give what decides about a step's result, references as they are written."""
    body = step.spec.model_dump(mode="json", exclude_unset=True)
    for use in uses(step.spec):
        if goes_on(use):
            name = use.reference.name
            put(body, use.path, spec.start[name] if round_ == 1 else f"{spec.carry[name]}, one round before")
    body.setdefault("seed", (spec.seed + round_ - 1) % SEEDS)
    whole = JOB_SPEC.validate_python(body).model_dump(mode="json")
    return {name: value for name, value in whole.items() if name not in NOT_COMPARED}


def _check_ids(spec: PipelineSpec) -> None:
    seen: set[str] = set()
    for place, step in enumerate(spec.steps):
        if step.id == ROUND:
            raise InvalidRequestError(
                "no step can be called round: $round.NAME is what goes from round to round", param=f"/steps/{place}/id"
            )
        if step.id in seen:
            raise InvalidRequestError(
                f"two steps are called {step.id}: give each a name of its own", param=f"/steps/{place}/id"
            )
        seen.add(step.id)


def _check_rounds(spec: PipelineSpec, makes: Mapping[str, Output]) -> None:
    for name, value in spec.start.items():
        if value.startswith("$"):
            raise InvalidRequestError(
                "the first round has none before it that could be referred to: name a version or a dataset",
                param=f"/start/{name}",
            )
        if spec.rounds > 1 and name not in spec.carry:
            raise InvalidRequestError(
                f"there are {spec.rounds} rounds, and carry does not say what {name} is from the second on: give "
                f'"{name}": "$STEP.OUTPUT"',
                param="/carry",
            )
    for name, text in spec.carry.items():
        reference = parse(text)
        if name not in spec.start:
            raise InvalidRequestError(f"start does not say what {name} is in the first round", param="/start")
        if reference is None or reference.step == ROUND:
            raise InvalidRequestError(
                "what goes on is what a step has made: write $STEP.OUTPUT", param=f"/carry/{name}"
            )
        _check_made(reference, makes, param=f"/carry/{name}")


def _check_use(use: Use, *, step: str, spec: PipelineSpec, makes: Mapping[str, Output]) -> None:
    reference, takes, param = use.reference, TAKES[str(use.path[0])], pointer(use.path)
    if reference.step == ROUND:
        if reference.name not in spec.start:
            known = ", ".join(spec.start) or "nothing"
            raise InvalidRequestError(
                f"start gives no {reference.name} for {reference.text} (it gives {known})", param=param
            )
        carried = parse(spec.carry.get(reference.name, ""))
        gives = None if carried is None else SORTS.get(cast(Output, carried.name))
    else:
        _check_made(reference, makes, param=param)
        if reference.step == step:
            raise InvalidRequestError(f"{step} cannot take what it makes itself", param=param)
        gives = SORTS[cast(Output, reference.name)]
    if gives is not None and gives != takes:
        raise InvalidRequestError(f"{use.path[0]} takes a {takes}, and {reference.text} is a {gives}", param=param)


def _check_made(reference: Reference, makes: Mapping[str, Output], *, param: str) -> None:
    _check_known(reference.step, makes, param=param)
    made = makes[reference.step]
    if reference.name != made:
        raise InvalidRequestError(
            f"{reference.text} is nothing: {reference.step} makes a {made}, write ${reference.step}.{made}",
            param=param,
        )


def _check_known(step: str, known: Collection[str], *, param: str) -> None:
    if step not in known:
        raise InvalidRequestError(_unknown(step, known), param=param)


def _unknown(step: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(step, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    return f"there is no step {step}: {hint}"


def _check_order(spec: PipelineSpec) -> None:
    try:
        in_order(spec)
    except CycleError as error:
        ring = cast("list[str]", error.args[1])  # each comes before the next; the first is also the last
        places = {step.id: place for place, step in enumerate(spec.steps)}
        raise InvalidRequestError(
            f"these steps wait for each other: {' -> '.join(ring)}; take one of the references, or of after, out",
            param=f"/steps/{places[ring[-1]]}",
        ) from error
