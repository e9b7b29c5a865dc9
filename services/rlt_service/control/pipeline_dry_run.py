"""Own the dry run of a pipeline: its checks, a dry run of each step whose inputs are known, sums. Makes nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from rlt_core.schemas.dry_run import Estimate, Estimates
from rlt_core.schemas.jobs import DryRun
from rlt_core.schemas.pipelines import PipelineSpec, StepDryRun
from rlt_core.splits import HELD_OUT
from rlt_service.control.dry_run import DryRunner
from rlt_service.control.pipelines import Pipelines, looked_at, unknown_texts, within_step

PEAKS = frozenset({"memory_bytes"})
"""Estimates of which a pipeline takes the highest of its steps', not the sum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineDryRun:
    """Says what a pipeline would be and take; nothing is stored."""

    runner: DryRunner
    pipelines: Pipelines

    async def run(self, spec: PipelineSpec) -> DryRun:
        """Check, dry-run what can be, add up; raises what the checks of the graph or of a step raise."""
        taken = await asyncio.to_thread(self.pipelines.check, spec)
        found: dict[str, StepDryRun] = {}
        for checked in looked_at(spec, taken):
            if checked.step.id in found:
                continue
            unknown = unknown_texts(checked)
            with within_step(checked.place):
                dry = None if unknown else await self.runner.run(checked.spec)
            found[checked.step.id] = StepDryRun(step=checked.step.id, dry_run=dry, unknown=unknown)
        steps = list(found.values())
        dry_runs = [step.dry_run for step in steps if step.dry_run is not None]
        return DryRun(
            spec=spec,
            dataset_rows=sum(dry.dataset_rows for dry in dry_runs),
            train_rows=sum(dry.train_rows for dry in dry_runs),
            held_out_rows={part: sum(dry.held_out_rows.get(part, 0) for dry in dry_runs) for part in HELD_OUT},
            estimates=summed(steps, rounds=spec.rounds),
            warnings=[f"{step.step}: {warning}" for step in steps if step.dry_run for warning in step.dry_run.warnings],
            steps=steps,
        )


def summed(steps: Sequence[StepDryRun], *, rounds: int) -> Estimates:
    """Add the estimates of steps up, over one round; each says of which steps it knows nothing. Pure."""
    return Estimates(**{name: _sum(name, steps, rounds=rounds) for name in Estimates.model_fields})


def _sum(name: str, steps: Sequence[StepDryRun], *, rounds: int) -> Estimate:
    values: dict[str, float] = {}
    for step in steps:
        estimates = step.dry_run.estimates if step.dry_run is not None else None
        value = getattr(estimates, name).value if estimates is not None else None
        if value is not None:
            values[step.step] = value
    missing = [step.step for step in steps if step.step not in values]
    told = f"the {'highest' if name in PEAKS else 'sum'} of {', '.join(values)}" if values else "no step is known"
    basis = told + (f"; not known: {', '.join(missing)}" if missing and values else "")
    if rounds > 1:
        basis += f"; of the first of {rounds} rounds"
    if not values:
        return Estimate(value=None, basis=basis)
    return Estimate(value=max(values.values()) if name in PEAKS else sum(values.values()), basis=basis)
