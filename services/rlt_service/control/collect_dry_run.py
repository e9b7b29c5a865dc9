"""Own the dry run of a collect: what its submission checks, a trial of a few rows, what all of them will take."""

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

from rlt_core.schemas.collect import CollectSpec
from rlt_core.schemas.dry_run import Estimate, Estimates, Lengths, Rehearsal
from rlt_core.schemas.jobs import DryRun
from rlt_service.control.collecting import CheckedCollect, CollectChecks
from rlt_service.control.estimates import per_s, seconds, total
from rlt_service.control.rehearsal import REHEARSED_ROWS, Players, Rehearsed, rehearse
from rlt_service.control.workload import UNKNOWN

OUTSIDE = "what a source outside takes is not tried: it may cost money"
NONE = Estimate(value=0.0, basis="a collect trains nothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectDryRun:
    """Says what a collect would be and take; nothing is stored."""

    checks: CollectChecks
    players: Players | None
    """None where neither this process nor another is known to play teacher and student."""
    artifacts: Path
    """Root of what is stored."""

    async def run(self, spec: CollectSpec) -> DryRun:
        """Check, try, estimate; raises what `CollectChecks.check` raises."""
        checked = await asyncio.to_thread(self.checks.check, spec, tried=REHEARSED_ROWS)
        rehearsed = Rehearsed(shown=Rehearsal(not_scored=OUTSIDE))
        if spec.source is None:
            rehearsed = await rehearse(
                spec,
                checked.first,
                players=self.players,
                teacher=checked.teacher.version,
                student=checked.student.version,
            )
        return await asyncio.to_thread(self._told, checked, rehearsed)

    def _told(self, checked: CheckedCollect, rehearsed: Rehearsed) -> DryRun:
        estimates = estimate(checked.spec, rows=checked.rows, lengths=checked.lengths, rehearsed=rehearsed)
        return DryRun(
            spec=checked.spec,
            dataset_rows=checked.dataset.rows,
            train_rows=checked.rows,
            held_out_rows=dict(checked.held_out),
            teacher=checked.teacher.version if checked.spec.source is None else None,
            student=checked.student.version,
            longest_prompt_tokens=checked.lengths.longest_tokens if checked.lengths is not None else None,
            lengths=checked.lengths,
            rehearsal=rehearsed.shown,
            estimates=estimates,
            warnings=self._warnings(checked, estimates),
        )

    def _warnings(self, checked: CheckedCollect, estimates: Estimates) -> list[str]:
        found: list[str] = []
        free = shutil.disk_usage(_existing(self.artifacts)).free
        if (disk := estimates.disk_bytes.value) is not None and disk > free:
            found.append(
                f"the job takes about {disk / 1e9:.3g} GB of disk, {free / 1e9:.3g} GB are free under RLT_HOME: it "
                "would pause with disk_full"
            )
        limit_s, takes_s = checked.spec.max_runtime_s, estimates.total_s.value
        if limit_s is not None and takes_s is not None and takes_s > limit_s:
            found.append(f"max_runtime_s = {limit_s:g} is less than the {takes_s:.0f} s")
        if checked.lengths is not None and checked.lengths.too_long:
            found.append(
                f"{checked.lengths.too_long} of the {checked.lengths.looked_at} rows looked at do not fit beside "
                f"max_tokens = {checked.spec.max_tokens}: they would be left out, counted and listed"
            )
        return found


def estimate(spec: CollectSpec, *, rows: int, lengths: Lengths | None, rehearsed: Rehearsed) -> Estimates:
    """Estimate tokens, seconds and bytes; each figure says what it is made of. Pure."""
    shown, tried = rehearsed.shown, len(rehearsed.shown.rows)
    completion, basis = float(spec.max_tokens), f"max_tokens = {spec.max_tokens}, the most that it can be"
    if shown.generated_tokens and tried:
        completion = shown.generated_tokens / tried
        basis = f"{completion:.1f} tokens, the mean of {tried} that were sampled"
    answers = rows * spec.samples_per_question
    told = f"{rows} questions x {spec.samples_per_question} samples"
    reader = lengths.mean_reader_tokens if lengths is not None else None
    generated = answers * completion
    # Each question is also read once without an explanation, for the baseline.
    scored = None if reader is None else answers * (reader + completion) + rows * reader
    generate_s = seconds(generated, per_s=per_s(shown.generated_tokens, shown.generate_s), what="sampled")
    fresh = shown.scored_tokens - shown.cached_tokens
    score_s = seconds(scored, per_s=per_s(fresh, shown.score_s), what="read by the student")
    return Estimates(
        generated_tokens=Estimate(value=generated, basis=f"{told} x {basis}"),
        scored_tokens=Estimate(
            value=scored,
            basis=UNKNOWN
            if reader is None
            else f"{told} x ({reader:.1f} of question and solution + {completion:.1f} of the explanation), and each "
            "question once without",
        ),
        trained_tokens=NONE,
        generate_s=generate_s,
        score_s=score_s,
        train_s=NONE,
        total_s=total(generate_s, score_s, NONE),
        memory_bytes=Estimate(value=None, basis="it holds no model: the process is small, whatever the dataset's size"),
        disk_bytes=_disk(spec, rows=rows, rehearsed=rehearsed),
    )


def _disk(spec: CollectSpec, *, rows: int, rehearsed: Rehearsed) -> Estimate:
    if not rehearsed.text_bytes:
        return Estimate(value=None, basis="nothing was sampled: see rehearsal.not_scored")
    kept = rows * (spec.samples_per_question if spec.keep == "all" else 1)
    return Estimate(
        value=2 * kept * rehearsed.text_bytes,
        basis=f"{kept:,} rows of about {rehearsed.text_bytes:,.0f} bytes, twice while shards become the dataset",
    )


def _existing(path: Path) -> Path:
    return path if path.exists() or path == path.parent else _existing(path.parent)
