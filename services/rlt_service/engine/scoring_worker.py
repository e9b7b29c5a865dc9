"""The engine's worker process: vLLM's worker with our scoring, a counter, and an end when its owner ends.

Leans on the inside of vLLM 0.32: `CPUWorker.init_device`, `Worker.execute_model` (None where `Worker.sample_tokens`
follows), `Worker._make_model_runner`, `Worker.load_model`, `Worker.use_v2_model_runner`. The V1 runner scores by
`scoring_runner.py`, the V2 runner by `scoring_runner_v2.py`; the engine asks which it is (`scoring_variant`) and speaks
accordingly (`scoring_variants.py`).
"""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn
from vllm.config import VllmConfig
from vllm.v1.core.sched.output import GrammarOutput, SchedulerOutput
from vllm.v1.outputs import AsyncModelRunnerOutput, ModelRunnerOutput
from vllm.v1.worker.cpu_worker import CPUWorker
from vllm.v1.worker.gpu_model_runner import GPUModelRunner
from vllm.v1.worker.gpu_worker import Worker

from rlt_service.engine.core_turns import turns_of_environment
from rlt_service.engine.exact_math import use_exact_math
from rlt_service.engine.grouped_lora import use_grouped_lora
from rlt_service.engine.owner import OWNER_VARIABLE
from rlt_service.engine.prompt_rows import EXACT_KEY
from rlt_service.engine.quick_exit import end_quickly
from rlt_service.engine.scoring_runner import PromptScoring, ScoringCPUModelRunner, ScoringGPUModelRunner
from rlt_service.engine.scoring_runner_v2 import positions_scored_by, put_in_place
from rlt_service.engine.scoring_variants import VariantName
from rlt_service.engine.taking_up import take_up

_OWNER_CHECK_S = 1.0


class GroupedLoRAModelRunner(ScoringCPUModelRunner):
    """The scoring runner, applying LoRA by groups."""

    def load_lora_model(self, model: nn.Module, vllm_config: VllmConfig, device: torch.device) -> nn.Module:
        """Let vLLM prepare the layers, then change how they are applied."""
        prepared = super().load_lora_model(model, vllm_config, device)
        use_grouped_lora(self.lora_manager._adapter_manager)
        return prepared


class CPUScoringWorker(CPUWorker):
    """vLLM's CPU worker with our model runner in place of its own."""

    def init_device(self) -> None:
        """Set the device up as vLLM does, then build our runner (the first holds no weights yet)."""
        super().init_device()
        if wants_exact_math(self.vllm_config):
            use_exact_math()
        self.scoring_runner = GroupedLoRAModelRunner(self.vllm_config, torch.device("cpu"))
        self.model_runner = self.scoring_runner
        self.core_turns = turns_of_environment()
        _end_with_owner()
        end_quickly()

    def execute_model(self, scheduler_output: SchedulerOutput) -> ModelRunnerOutput | AsyncModelRunnerOutput | None:
        """Compute a step when it is this engine's turn to use the cores; the turn goes on where tokens are sampled."""
        if self.core_turns is None:
            return super().execute_model(scheduler_output)
        self.core_turns.begin(tokens=scheduler_output.total_num_scheduled_tokens)
        samples = False
        try:
            found = super().execute_model(scheduler_output)
            samples = found is None
            return found
        finally:
            if not samples:
                self.core_turns.end()

    def sample_tokens(self, grammar_output: GrammarOutput | None) -> ModelRunnerOutput | AsyncModelRunnerOutput:
        """Sample the step's tokens, then let the other engines have the cores."""
        try:
            return super().sample_tokens(grammar_output)
        finally:
            if self.core_turns is not None:
                self.core_turns.end()

    def scoring_variant(self) -> VariantName:
        """Name the way to speak to this worker; called over collective_rpc."""
        return "v1"

    def scored_positions(self) -> int:
        """Count the positions that our runner scored; called over collective_rpc by the self-check."""
        return self.scoring_runner.scored_positions

    def take_up(self, folder: str) -> None:
        """Put a folder's weights in place of this worker's; called over collective_rpc."""
        take_up(self, Path(folder))

    def process_ids(self) -> tuple[int, int]:
        """Name this process and its parent, the engine's core; called over collective_rpc."""
        return os.getpid(), os.getppid()


class GPUScoringWorker(Worker):
    """vLLM's GPU worker with our scoring, in the runner that vLLM chose.

    **Not run on a GPU**, with neither runner; the self-check at start decides.
    """

    def _make_model_runner(self) -> GPUModelRunner:
        if not is_of_ray(self.vllm_config):
            _end_with_owner()
        if self.use_v2_model_runner:
            return super()._make_model_runner()
        return ScoringGPUModelRunner(self.vllm_config, self.device)

    def load_model(self, *, load_dummy_weights: bool = False) -> None:
        """Load the model as vLLM does; the V2 runner then gets our worker in place of its own."""
        super().load_model(load_dummy_weights=load_dummy_weights)
        if self.use_v2_model_runner:
            put_in_place(self.model_runner)

    def scoring_variant(self) -> VariantName:
        """Name the way to speak to this worker; called over collective_rpc."""
        return "v2" if self.use_v2_model_runner else "v1"

    def scored_positions(self) -> int:
        """Count the positions that our code scored; called over collective_rpc by the self-check."""
        runner = self.model_runner
        return runner.scored_positions if isinstance(runner, PromptScoring) else positions_scored_by(runner)

    def take_up(self, folder: str) -> None:
        """Put a folder's weights in place of this worker's; called over collective_rpc."""
        take_up(self, Path(folder))

    def process_ids(self) -> tuple[int, ...]:
        """Name this process and its parent, the engine's core; called over collective_rpc.

        Ray's workers name none: they may be on other hosts, and their parent is Ray.
        """
        return () if is_of_ray(self.vllm_config) else (os.getpid(), os.getppid())


def wants_exact_math(config: VllmConfig) -> bool:
    """Tell whether scores are computed as transformers does: as asked, and in float32, which alone is exact."""
    asked: Any = config.additional_config
    return config.model_config.dtype == torch.float32 and bool(asked.get(EXACT_KEY, False))


def is_of_ray(config: VllmConfig) -> bool:
    """Tell whether Ray started the workers, and ends them with the engine's core."""
    return config.parallel_config.distributed_executor_backend == "ray"


def _end_with_owner() -> None:
    """Watch the process that owns the engine: vLLM's core process outlives an owner that was killed."""
    owner = os.environ.get(OWNER_VARIABLE)
    if owner is None:
        return
    threading.Thread(target=_watch, args=(int(owner), os.getppid()), name="rlt-owner-watch", daemon=True).start()


def _watch(owner_pid: int, core_pid: int) -> None:
    while _is_alive(owner_pid):
        time.sleep(_OWNER_CHECK_S)
    os.kill(core_pid, signal.SIGKILL)
    os._exit(1)


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
