"""What FSDP cuts up is whole in a checkpoint, and cut up again when it is read."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.optim import AdamW

from rlt_train.sharding import shard_states, sharded_like, whole

pytestmark = pytest.mark.training


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[DeviceMesh]:
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


def trained(model: nn.Module) -> AdamW:
    optimizer = AdamW(model.parameters())
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    return optimizer


def test_moments_and_weights_are_whole_in_a_file_and_cut_up_again_from_it(mesh: DeviceMesh) -> None:
    model = nn.Linear(4, 2)
    fully_shard(model, mesh=mesh)
    optimizer = trained(model)
    saved, weights = whole(optimizer.state_dict()), whole(dict(model.state_dict()))
    assert saved["param_groups"][0]["betas"] == (0.9, 0.999)
    tensors = [*weights.values(), *(value for state in saved["state"].values() for value in state.values())]
    assert {type(tensor) for tensor in tensors} == {torch.Tensor}

    optimizer.load_state_dict(saved)
    shard_states(optimizer)
    moments = optimizer.state[model.weight]
    assert isinstance(moments["exp_avg"], DTensor)
    assert not isinstance(moments["step"], DTensor)
    torch.testing.assert_close(moments["exp_avg"].full_tensor(), saved["state"][0]["exp_avg"])
    model.load_state_dict(sharded_like(weights, model.state_dict()))
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()


def test_what_is_not_cut_up_stays_as_it_is() -> None:
    optimizer = trained(nn.Linear(4, 2))
    states = optimizer.state_dict()
    assert whole(states)["state"][0]["exp_avg"] is states["state"][0]["exp_avg"]
    shard_states(optimizer)
    assert optimizer.state_dict()["state"][0]["exp_avg"] is states["state"][0]["exp_avg"]
