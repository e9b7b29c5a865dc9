"""Own how a dry run is shown: what was checked, what a few rows came to, what the job will take and by what."""

from rich.console import Console
from rich.table import Table

from rlt_core.schemas.collect import CollectSpec
from rlt_core.schemas.dry_run import Estimates, Rehearsal
from rlt_core.schemas.evaluate import EvaluateSpec
from rlt_core.schemas.jobs import DryRun
from rlt_core.schemas.pipelines import PipelineSpec

_FIGURES = {
    "generated_tokens": "tokens sampled",
    "scored_tokens": "tokens scored",
    "trained_tokens": "tokens trained",
    "generate_s": "sampling",
    "score_s": "scoring",
    "train_s": "training",
    "total_s": "together",
    "memory_bytes": "trainer's memory",
    "disk_bytes": "disk",
}


def show(found: DryRun, *, out: Console) -> None:
    """Print a dry run for people; nothing was started."""
    held = ", ".join(f"{count} {name}" for name, count in found.held_out_rows.items() if count)
    if isinstance(found.spec, CollectSpec):
        out.print(f"collect: {found.train_rows} questions to explain", markup=False)
    elif isinstance(found.spec, EvaluateSpec):
        out.print(f"evaluate: {found.train_rows} questions, {found.spec.samples} answers each", markup=False)
    elif isinstance(found.spec, PipelineSpec):
        _steps(found, out=out)
    else:
        out.print(
            f"{found.spec.kind} for {found.spec.target_name}: {found.train_rows} of {found.dataset_rows} rows to train "
            f"on{f', held out: {held}' if held else ''}",
            markup=False,
        )
    if found.teacher or found.student:
        out.print(f"  teacher {found.teacher}, student {found.student}", markup=False)
    if (lengths := found.lengths) is not None:
        out.print(
            f"  {lengths.looked_at} rows looked at: {lengths.mean_tokens:.0f} tokens on average, at most "
            f"{lengths.longest_tokens} of {lengths.limit_tokens}; too long: {lengths.too_long}",
            markup=False,
        )
    if found.rehearsal is not None:
        _rehearsal(found.rehearsal, out=out)
    if found.estimates is not None:
        _estimates(found.estimates, out=out)
    for warning in found.warnings:
        out.print(f"warning: {warning}", style="yellow", markup=False)
    out.print("nothing was started")


def _steps(found: DryRun, *, out: Console) -> None:
    """Say of each step whether its inputs are known."""
    out.print(f"pipeline of {len(found.steps)} steps:", markup=False)
    for step in found.steps:
        dry = step.dry_run
        said = (
            f"not known yet: {', '.join(step.unknown)}" if dry is None else f"{dry.spec.kind}, {dry.dataset_rows} rows"
        )
        out.print(f"  {step.step}: {said}", markup=False)


def _rehearsal(tried: Rehearsal, *, out: Console) -> None:
    if tried.not_scored is not None:
        out.print(f"  no row was scored: {tried.not_scored}", markup=False)
        return
    engine = f" on {tried.engine.name} {tried.engine.version}" if tried.engine is not None else ""
    out.print(f"scored by {tried.student}{engine}:", markup=False)
    table = Table("row", "reward", "r_ss", "r_kl", "uplift", "tokens", box=None)
    for row in tried.rows:
        uplift = "" if row.uplift is None else f"{row.uplift:+.3f}"
        tokens = "" if row.explanation_tokens is None else str(row.explanation_tokens)
        parts = ["" if part is None else f"{part:.3f}" for part in (row.reward, row.r_ss, row.r_kl)]
        table.add_row(row.row or "", *parts, uplift, tokens)
    out.print(table)


def _estimates(estimates: Estimates, *, out: Console) -> None:
    out.print("estimates:")
    for name, label in _FIGURES.items():
        found = getattr(estimates, name)
        value = "not known" if found.value is None else _figure(found.value, unit=name.rpartition("_")[2])
        out.print(f"  {label:<17} {value:>10}  {found.basis}", markup=False)


def _figure(value: float, *, unit: str) -> str:
    if unit == "bytes":
        return f"{value / 1e9:.2f} GB" if value >= 1e8 else f"{value / 1e6:.2f} MB"
    if unit == "s":
        return f"{value:.1f} s" if value < 120.0 else f"{value / 60.0:.0f} min"
    return f"{value:,.0f}"
