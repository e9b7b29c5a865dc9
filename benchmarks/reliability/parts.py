"""Own what a plant is made of: a model folder good enough to be resolved, an adapter that changes nothing, the stub."""

import json
import struct
import sys
from pathlib import Path

from benchmarks.reliability.plant import Plant, Serving
from rlt_core.artifacts import adapter_sha256
from rlt_core.schemas.jobs import RlSpec, WarmupSpec

STUB = Path(__file__).with_name("stub_trainer.py")
BY_KIND = Path(__file__).with_name("trainer_by_kind.py")
LOOPING = Path(__file__).with_name("looping_trainer.py")


def stub_plant(
    home: Path,
    *,
    serving: Serving | None = None,
    base_model: Path | None = None,
    database_url: str | None = None,
    **environment: str,
) -> Plant:
    """Make a plant whose jobs are stubs; its model is a stub too, unless one is given for a real engine."""
    command = _stub_command(home, STUB)
    return Plant(
        home,
        trainer_command=command,
        base_model=base_model or lay_model(home / "model"),
        environment=environment,
        serving=serving,
        database_url=database_url,
    )


def mixed_plant(home: Path, *, base_model: Path, serving: Serving, **environment: str) -> Plant:
    """Make a plant whose warm-ups are stubs, and whose rl is the real trainer's on a real (tiny) model."""
    command = _stub_command(home, BY_KIND)
    return Plant(home, trainer_command=command, base_model=base_model, environment=environment, serving=serving)


def looping_plant(home: Path, *, serving: Serving, database_url: str, **environment: str) -> Plant:
    """Make a plant whose jobs are stubs that ask /v1/explain and /v1/score for each of their steps."""
    return Plant(
        home,
        trainer_command=_stub_command(home, LOOPING),
        base_model=lay_model(home / "model"),
        environment=environment,
        serving=serving,
        database_url=database_url,
    )


def _stub_command(home: Path, script: Path) -> tuple[str, ...]:
    template = lay_adapter(home / "template")
    # -I and -S: nothing but the standard library, which starts in a few milliseconds.
    return (sys.executable, "-I", "-S", str(script), str(template), adapter_sha256(template))


def real_plant(home: Path, *, base_model: Path, serving: Serving | None = None, **environment: str) -> Plant:
    """Make a plant whose jobs are the real trainer's, on a real (tiny) model."""
    command = (sys.executable, "-m", "rlt_train")
    return Plant(home, trainer_command=command, base_model=base_model, environment=environment, serving=serving)


def real_spec(plant: Plant, number: int) -> WarmupSpec | RlSpec:
    """Make a job of the real trainer, of a few seconds: a warm-up, or every other time rl with an alias of its own."""
    shared = {"dataset": plant.dataset, "target_name": "chaos", "seed": number, "lora": {"rank": 4, "alpha": 8.0}}
    if number % 2:
        small = {"steps": 8, "questions_per_step": 2, "samples_per_question": 2, "max_tokens": 16, "save_every": 2}
        promote = {"alias": f"own-{number}", "when": "always"}
        return RlSpec.model_validate({"kind": "rl", **shared, **small, "promote": promote})
    many = {"epochs": 40.0, "max_steps": 40, "batch_size": 4, "save_every": 4}
    return WarmupSpec.model_validate({"kind": "warmup", "role": "teacher", **shared, **many})


def lay_model(folder: Path) -> Path:
    """Lay a model folder just good enough to be resolved: the stub reads nothing of it."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def lay_adapter(folder: Path) -> Path:
    """Write a LoRA of rank 16 that an engine takes and that changes nothing: all its weights are 0."""
    prefix, size = "base_model.model.model.layers.0.self_attn.q_proj", 16 * 8 * 4
    header = {
        f"{prefix}.lora_A.weight": {"dtype": "F32", "shape": [16, 8], "data_offsets": [0, size]},
        f"{prefix}.lora_B.weight": {"dtype": "F32", "shape": [8, 16], "data_offsets": [size, 2 * size]},
    }
    head = json.dumps(header).encode()
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + bytes(2 * size))
    config = {"peft_type": "LORA", "r": 16, "lora_alpha": 16, "target_modules": ["q_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
