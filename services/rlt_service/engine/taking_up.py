"""Read other weights of the same model into a running engine, in its worker process.

Leans on the inside of vLLM 0.32: `Worker.reload_weights` reads and prepares layer by layer what a checkpoint holds. An
output layer that is tied to the embedding stands in no checkpoint of its own, so vLLM leaves it as it was (it warns
`ParallelLMHead: Failed to load weights`): its plain weight is the embedding's, but what a CPU packed of it for products
is of the weights before, and generation would go on by those. It is prepared again here.
"""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

from pathlib import Path

from torch import nn
from vllm.config import set_current_vllm_config
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead
from vllm.v1.worker.gpu_worker import Worker


def take_up(worker: Worker, folder: Path) -> None:
    """Put a folder's weights in place of the worker's; what it raises leaves them in part."""
    worker.reload_weights(weights_path=str(folder))
    with set_current_vllm_config(worker.vllm_config):
        prepare_output_layer(worker.model_runner.get_model())


def prepare_output_layer(model: nn.Module) -> None:
    """Have output layers make of their weight what they compute with, as after the first load."""
    for layer in model.modules():
        if isinstance(layer, ParallelLMHead):
            layer.quant_method.process_weights_after_loading(layer)
