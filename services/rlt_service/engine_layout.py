"""Own how an engine lies on GPUs: over how many it is spread, by what, and how much of each it takes. Pure."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

WHOLE_SHARE = 0.92
"""Of each GPU's memory that vLLM 0.32 takes where nothing is said."""


class EngineLayout(BaseModel):
    """Fields as vLLM names them; every default is one engine on one GPU."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tensor_parallel_size: int = Field(default=1, ge=1, le=1024)
    """GPUs over which each layer is spread."""
    pipeline_parallel_size: int = Field(default=1, ge=1, le=1024)
    """Parts into which the layers are cut, one after another."""
    data_parallel_size: int = Field(default=1, ge=1, le=1024)
    """Copies of the engine, each on GPUs of its own; requests go to the one with the least to do."""
    distributed_executor_backend: Literal["mp", "ray"] = "mp"
    """`mp`: processes of this host; `ray`: those of a Ray cluster, which may span hosts."""
    gpu_memory_utilization: float | None = Field(default=None, gt=0.0, le=1.0)
    """Share of each GPU's memory, weights included; null leaves it to vLLM, which takes 0.92."""
    device_ids: tuple[int, ...] | None = Field(default=None, min_length=1)
    """Which of the GPUs that this process may use, by number; null is the first ones."""

    @model_validator(mode="after")
    def _device_ids_fit(self) -> "EngineLayout":
        if self.device_ids is None:
            return self
        if self.distributed_executor_backend == "ray":
            raise ValueError("device_ids go with mp alone: Ray chooses GPUs itself")
        if min(self.device_ids) < 0 or len({*self.device_ids}) != len(self.device_ids):
            raise ValueError(f"device_ids are numbers from 0, none of them twice: {list(self.device_ids)}")
        if len(self.device_ids) != self.gpus:
            raise ValueError(f"{len(self.device_ids)} device_ids for {self.gpus} GPUs ({self.sizes})")
        return self

    @property
    def gpus(self) -> int:
        """Count the GPUs that it takes."""
        return self.tensor_parallel_size * self.pipeline_parallel_size * self.data_parallel_size

    @property
    def sizes(self) -> str:
        """Say where the count comes from."""
        named = {"tensor": self.tensor_parallel_size, "pipeline": self.pipeline_parallel_size}
        named["data"] = self.data_parallel_size
        return " x ".join(f"{name} {size}" for name, size in named.items())

    @property
    def devices(self) -> tuple[int, ...]:
        """Number the GPUs of this host that it takes; with Ray they are the cluster's, and nobody knows here."""
        if self.distributed_executor_backend == "ray":
            return ()
        return self.device_ids or tuple(range(self.gpus))

    @property
    def share(self) -> float:
        """Give the share of each GPU's memory that it takes."""
        return WHOLE_SHARE if self.gpu_memory_utilization is None else self.gpu_memory_utilization
