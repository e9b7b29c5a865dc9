"""Move the served version back and forth under load, and count what failed or mixed versions.

make bench-swap           200 swaps under 64 clients on the fake engine, 20 under 8 on vLLM between two adapters, and
                          20 between an adapter and a fully trained version, which has an engine of its own
make bench-swap ENGINES=full
python -m benchmarks.swap --help
"""

import argparse
import asyncio
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import httpx

from benchmarks.adapters import with_random_lora
from benchmarks.exact.reference import load_reference
from benchmarks.servers import BASE_MODEL, start_ours
from benchmarks.swap.figures import figures_of, keeps_the_promises
from benchmarks.swap.load import Clients, Seen, Swap, move, roll_back
from benchmarks.swap.origin import TOLERANCE, apart_of
from benchmarks.whole_models import write_whole_model
from rlt_client.demo import provenance
from rlt_service.engine.models import resolve_model

NAME = "marker"
ROLLBACK_EVERY = 4
"""Of so many swaps the last one is a rollback."""
Kind = Literal["adapter", "full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much load, how many swaps."""

    module: str
    """What to start."""
    second: Kind
    """What the second of the two versions is; the first is an adapter."""
    figures: str
    """The JSON file of the figures, without its ending."""
    clients: int
    swaps: int
    max_tokens: int
    before_s: float
    """Seconds of load before the first swap: the yardstick of latencies."""
    between_s: float


PLANS = {
    "fake": Plan(
        module="benchmarks.swap.fake_service",
        second="adapter",
        figures="swap",
        clients=64,
        swaps=200,
        max_tokens=64,
        before_s=15.0,
        between_s=0.05,
    ),
    "real": Plan(
        module="rlt_service",
        second="adapter",
        figures="swap",
        clients=8,
        swaps=20,
        max_tokens=24,
        before_s=60.0,
        between_s=1.0,
    ),
    "full": Plan(
        module="rlt_service",
        second="full",
        figures="swap-full",
        clients=8,
        swaps=20,
        max_tokens=24,
        before_s=60.0,
        between_s=1.0,
    ),
}


def main() -> int:
    """Read the options, run, write; the exit code is 1 where a promise was not kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.swap", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--home", type=Path, required=True, help="state folder with the converted model (RLT_HOME)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the rows; the JSON files go beside it")
    parser.add_argument("--engines", nargs="*", default=list(PLANS), choices=list(PLANS))
    parser.add_argument("--clients", type=int, help="in place of each plan's own number")
    parser.add_argument("--swaps", type=int, help="in place of each plan's own number")
    parser.add_argument("--before-s", type=float, help="seconds of load before the first swap, for each plan")
    options = parser.parse_args()
    if options.swaps is not None and options.swaps < ROLLBACK_EVERY:
        parser.error(f"--swaps {options.swaps}: with fewer than {ROLLBACK_EVERY} none is a rollback")
    options.out.mkdir(parents=True, exist_ok=True)
    changes = {name: getattr(options, name) for name in ("clients", "swaps", "before_s") if getattr(options, name)}
    figures: dict[str, dict[str, Any]] = {}
    for name in options.engines:
        plan = replace(PLANS[name], **changes)
        figures.setdefault(plan.figures, {})[name] = _run(name, plan, home=options.home, out=options.out)
    for file, found in figures.items():
        command = "make bench-swap" if len(found) > 1 else f"make bench-swap ENGINES={next(iter(found))}"
        if changes:
            command = " ".join(["python -m benchmarks.swap", *sys.argv[1:]])
        _write(options.out.parent / f"{file}.json", found, command=command)
    return 0 if all(keeps_the_promises(part) for found in figures.values() for part in found.values()) else 1


def _write(path: Path, found: dict[str, Any], *, command: str) -> None:
    facts = {name: getattr(provenance, name)() for name in ("commit", "date", "machine")}
    text = json.dumps({**found, **facts, "command": command}, indent=1)
    path.write_text(text + "\n", encoding="utf-8")
    _say(text)


def _run(name: str, plan: Plan, *, home: Path, out: Path) -> dict[str, Any]:
    with TemporaryDirectory(prefix="rlt-bench-") as scratch:
        state = Path(scratch) / "state"
        _make_versions(state, home=home, second=plan.second)
        _say(f"{name}: starting the service")
        server = start_ours(home, folder=state, module=plan.module)
        try:
            base = _register(server.address)
            rows, swaps = asyncio.run(_under_load(server.address, plan, base=base))
        finally:
            server.stop()
    for kind, lines in (("requests", rows), ("swaps", swaps)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (out / f"{name}-{kind}.jsonl").write_text(text, encoding="utf-8")
    return {"clients": plan.clients, **figures_of(rows, swaps)}


def _make_versions(state: Path, *, home: Path, second: Kind) -> None:
    """Lay what becomes the versions 1 and 2 into `imports`."""
    folder = resolve_model(BASE_MODEL, state_folder=home)
    imports = state / "artifacts" / "imports"
    model = load_reference(folder)
    for number in (1, 2):
        target = imports / f"{NAME}{number}"
        whole = number == 2 and second == "full"
        adapter = state.with_name("unused") if whole else target
        adapter.mkdir(parents=True)
        wrapped = with_random_lora(model, folder=adapter, base_model=folder.name, seed=number)
        if whole:
            write_whole_model(wrapped, target, base=folder)
        else:
            model = wrapped.unload()
            (target / "README.md").unlink(missing_ok=True)


def _register(address: str) -> str:
    """Register both; give the version that is served now."""
    with httpx.Client(base_url=address, timeout=300.0) as http:
        for number in (1, 2):
            body = {"folder": f"{NAME}{number}"}
            http.post(f"/v1/teachers/{NAME}/versions", json=body).raise_for_status()
        served = http.get("/v1/aliases").raise_for_status().json()["data"]
    return next(alias["version"] for alias in served if (alias["role"], alias["alias"]) == ("teacher", "default"))


async def _under_load(address: str, plan: Plan, *, base: str) -> tuple[list[Any], list[Any]]:
    await move(address, version=f"{NAME}@1", expected=base)
    clients = Clients(address, count=plan.clients, max_tokens=plan.max_tokens)
    clients.start()
    await asyncio.sleep(plan.before_s / 4)  # the first answers warm everything up
    begun_s = time.monotonic()
    await asyncio.sleep(plan.before_s)
    swapping_s = time.monotonic()
    swaps: list[dict[str, Any]] = []
    served = f"{NAME}@1"
    for number in range(plan.swaps):
        kind = "rollback" if (number + 1) % ROLLBACK_EVERY == 0 else "promotion"
        swap = await _swap(address, served=served, kind=kind)
        first_s = await clients.first_of(swap.version, after_s=swap.done_s)
        swaps.append({"kind": kind, "asked_s": swap.asked_s, "done_s": swap.done_s, "first_answer_s": first_s})
        served = swap.version
        if (number + 1) % 10 == 0:
            _say(f"{number + 1} of {plan.swaps} swaps, {len(clients.seen)} answers")
        await asyncio.sleep(plan.between_s)
    await clients.stop()
    _say(f"computing every token of {len(clients.seen)} answers again")
    whole = [seen for seen in clients.seen if seen.status == 200]
    apart = dict(zip(map(id, whole), await asyncio.to_thread(apart_of, address, whole), strict=True))

    def phase(seen: Seen) -> str:
        if seen.asked_s < begun_s:
            return "warm-up"
        return "before" if seen.answered_s < swapping_s else "swaps"

    rows = [
        {
            "phase": phase(seen),
            "asked_s": round(seen.asked_s - begun_s, 4),
            "answered_s": round(seen.answered_s - begun_s, 4),
            "status": seen.status,
            "version": seen.version,
            "mixed": apart.get(id(seen), 0.0) > TOLERANCE,
            "apart": round(apart.get(id(seen), 0.0), 6),
        }
        for seen in clients.seen
    ]
    return rows, [{**swap, **_since(swap, begun_s)} for swap in swaps]


async def _swap(address: str, *, served: str, kind: str) -> Swap:
    if kind == "rollback":
        return await roll_back(address, expected=served)
    other = f"{NAME}@2" if served == f"{NAME}@1" else f"{NAME}@1"
    return await move(address, version=other, expected=served)


def _since(swap: dict[str, Any], begun_s: float) -> dict[str, float]:
    return {name: round(swap[name] - begun_s, 4) for name in ("asked_s", "done_s", "first_answer_s")}


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
