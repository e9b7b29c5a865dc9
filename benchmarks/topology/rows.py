"""Own the promises of a site: what is tried on it, how often in full, and when a trial has held."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.reliability.ledger import book_of
from benchmarks.reliability.plant import wait_for
from benchmarks.reliability.trial import Trial
from benchmarks.topology.callers import RETRIES, TIMEOUT_S, Callers, explain
from benchmarks.topology.faults import Killer
from benchmarks.topology.promotions import REACHES_S, SETTLED_S, Watch, lags_of, moves_of
from benchmarks.topology.rolling import Rollout
from benchmarks.topology.site import Site
from benchmarks.topology.submitting import SAVE_EVERY, STEPS, Submitter, promoting, run_to_its_end
from rlt_client import Client

CALLERS = 4
BETWEEN_S = (0.2, 1.0)
"""Between a site that is whole and the next kill, at least and at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One promise; a trial is what its `trials` count."""

    name: str
    promise: str
    trials: Callable[..., Iterator[Trial]]
    """Takes a site that is ready, how many, and a seed."""
    in_full: int
    note: str = ""


def loop_trials(site: Site, *, count: int, seed: int) -> Iterator[Trial]:
    """Train by explanations and scores, promote, and be answered by what was trained; a trial is a job."""
    with _client(site) as client:
        for number in range(count):
            began_s = time.monotonic()
            job = run_to_its_end(client, promoting(site.plant))
            result = job.result
            made = None if result is None else result.teacher
            answered = explain(client)
            wrong = book_of(site.plant, job.id).faults(save_every=SAVE_EVERY)
            if result is None or result.promotion is None or result.promotion.outcome != "promoted":
                wrong.append(f"not promoted: {result}")
            if answered != made:
                wrong.append(f"made {made}, answered by {answered}")
            rewards = client.jobs.metrics(job.id).series.get("reward", [])
            if len(rewards) != STEPS:
                wrong.append(f"rewards of {STEPS} steps: {rewards}")
            yield _trial("loop", number, seed, "none", wrong, seconds=time.monotonic() - began_s)


def promotion_trials(site: Site, *, count: int, seed: int, settled_s: float = SETTLED_S) -> Iterator[Trial]:
    """Move the served teacher, by a job's promotion and by a rollback in turn; a trial is a move."""
    with _client(site) as client, Watch(site) as watch:
        for number in range(count):
            if number % 2:
                client.aliases.rollback("teacher", "default", expected=moves_of(client)[-1][1], by="topology")
            else:
                run_to_its_end(client, promoting(site.plant))
            version = moves_of(client)[-1][1]
            wait_for(
                lambda version=version: all(seen[-1].version == version for seen in watch.answers.values()),
                what=f"every replica answers by {version}",
            )
            time.sleep(settled_s)
        moves = moves_of(client)[-count:]
    lags = {name: lags_of(seen, moves=moves) for name, seen in watch.answers.items()}
    errors = [answer.error for seen in watch.answers.values() for answer in seen if answer.error]
    for number, (_, version) in enumerate(moves):
        late = {name: lag[number] for name, lag in lags.items()}
        wrong = [f"{name} answered by another {lag:.2f} s later" for name, lag in late.items() if lag > REACHES_S]
        if number == count - 1:
            wrong += errors[:3]
        fault = "rollback" if number % 2 else "promotion"
        yield _trial("promotions", number, seed, f"{fault} to {version}", wrong, seconds=max(late.values()))


def kill_trials(site: Site, *, count: int, seed: int, kinds: Sequence[str] | None = None) -> Iterator[Trial]:
    """Kill one process after the other, whichever it is, under callers and jobs; a trial is a kill."""
    chance = random.Random(seed)
    killer = Killer(site, chance=chance)
    deck: list[str] = []
    kills: list[tuple[str, float, float]] = []
    with Callers(site.address, CALLERS) as callers, Submitter(site) as submitter:
        for _ in range(count):
            deck = deck or chance.sample(list(kinds or killer.kinds), k=len(kinds or killer.kinds))
            time.sleep(chance.uniform(*BETWEEN_S))
            kind, at_s = deck.pop(), time.time()
            kills.append((kind, at_s, killer.kill(kind)))
    ends = [*(at_s for _, at_s, _ in kills[1:]), float("inf")]
    for number, ((kind, at_s, seconds), end_s) in enumerate(zip(kills, ends, strict=True)):
        failed = [one for one in callers.failed if at_s <= one.answered_s < end_s]
        wrong = [f"{one.call}: {one.error}" for one in failed[:3]]
        yield _trial("kills", number, seed, kind, wrong, seconds=seconds)
    yield _all("kills", count, seed, callers, submitter)


def rolling_trials(site: Site, *, count: int, seed: int) -> Iterator[Trial]:
    """Restart everything under callers and jobs; a trial is a rollout."""
    for number in range(count):
        rollout = Rollout(site)
        began_s = time.monotonic()
        with Callers(site.address, CALLERS) as callers, Submitter(site) as submitter:
            rollout.run()
        seconds = time.monotonic() - began_s
        judged = _all("rolling", number, seed, callers, submitter, more=rollout.wrong)
        yield Trial(
            row="rolling",
            number=number,
            seed=seed,
            fault="rolling restart",
            passed=judged.passed,
            seconds=round(seconds, 3),
            detail=judged.detail,
            figures=judged.figures | {"restarted": float(rollout.ended)},
        )


def _all(
    row: str, number: int, seed: int, callers: Callers, submitter: Submitter, *, more: Sequence[str] = ()
) -> Trial:
    """Judge all calls and all jobs of a time."""
    wrong = [*more, *callers.faults(), *submitter.faults()]
    hidden = ", ".join(f"{name}: {times}" for name, times in sorted(callers.hidden.items())) or "nothing"
    return Trial(
        row=row,
        number=number,
        seed=seed,
        fault="all calls and jobs",
        passed=not wrong,
        detail="; ".join(wrong)[:1000]
        or f"{len(callers.answers)} calls answered, {len(submitter.jobs)} jobs done once; sent again: {hidden}",
        figures={
            "calls": float(len(callers.answers)),
            "jobs": float(len(submitter.jobs)),
            "sent_again": float(callers.hidden.total()),
        },
    )


def _trial(row: str, number: int, seed: int, fault: str, wrong: Sequence[str], *, seconds: float) -> Trial:
    return Trial(
        row=row,
        number=number,
        seed=seed,
        fault=fault,
        passed=not wrong,
        seconds=round(seconds, 3),
        detail="; ".join(wrong)[:1000],
    )


def _client(site: Site) -> Client:
    return Client(site.address, timeout=TIMEOUT_S, max_retries=RETRIES)


ROWS = (
    Row(
        name="loop",
        promise="a job explains and scores through the gateway, its version is promoted, and answers the next call",
        trials=loop_trials,
        in_full=20,
    ),
    Row(
        name="promotions",
        promise=f"{REACHES_S:g} s after an alias has moved every replica answers by what it points at",
        trials=promotion_trials,
        in_full=40,
        note="The seconds are those of the last call that a replica answered by the version before.",
    ),
    Row(
        name="kills",
        promise="one process killed at a random moment (a server, a worker, a trainer, nginx, Valkey, Postgres): no "
        "call of the SDK fails, every job ends once with one version",
        trials=kill_trials,
        in_full=80,
        note="The seconds are those until everything is ready again. Postgres ends by its immediate shutdown, all its "
        "processes at once.",
    ),
    Row(
        name="rolling",
        promise="every server, worker, the gateway and the broker restarted one after the other under load: no call of "
        "the SDK fails, every job ends once",
        trials=rolling_trials,
        in_full=10,
        note="A single Postgres cannot be restarted so; its end is one of `kills`.",
    ),
)
BY_NAME = {row.name: row for row in ROWS}
