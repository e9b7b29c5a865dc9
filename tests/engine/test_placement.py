"""How engines lie on GPUs: what settings take, and what is refused before anything starts. No GPU is needed."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rlt_core.errors import ConfigurationError
from rlt_service.doctor import Finding, findings
from rlt_service.engine.placement import check_model, check_placement, layout_of, visible_gpus
from rlt_service.engine_layout import EngineLayout
from rlt_service.serve import run
from rlt_service.settings import Settings

TWO_BASES: dict[str, Any] = {"base_model": "/models/teacher", "student_model": "/models/student"}


def check(gpus: int, *, ray: bool = False, **settings: Any) -> None:
    check_placement(Settings(**settings), gpus=lambda: gpus, has_ray=lambda: ray)


def lay(**fields: Any) -> EngineLayout:
    return EngineLayout.model_validate(fields)


def test_the_environment_lays_each_engine_out_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLT_TEACHER_ENGINE", '{"tensor_parallel_size": 4, "distributed_executor_backend": "ray"}')
    monkeypatch.setenv("RLT_STUDENT_ENGINE", '{"gpu_memory_utilization": 0.4, "device_ids": [5]}')
    settings = Settings(**TWO_BASES)
    teacher, student = (layout_of(settings, base) for base in TWO_BASES.values())
    assert (teacher.tensor_parallel_size, teacher.distributed_executor_backend, teacher.share) == (4, "ray", 0.92)
    assert (student.tensor_parallel_size, student.share, student.devices) == (1, 0.4, (5,))


def test_a_student_without_a_layout_of_its_own_has_the_teachers() -> None:
    settings = Settings(**TWO_BASES, teacher_engine=lay(tensor_parallel_size=2))
    assert layout_of(settings, "/models/student").tensor_parallel_size == 2


@pytest.mark.parametrize(
    ("roles", "size"), [(("teacher", "student"), 2), (("teacher", "control"), 2), (("student",), 4)]
)
def test_of_one_base_the_students_layout_counts_where_no_teacher_is_played(roles: tuple[str, ...], size: int) -> None:
    layouts = {"teacher_engine": lay(tensor_parallel_size=2), "student_engine": lay(tensor_parallel_size=4)}
    settings = Settings.model_validate({"roles": roles, **layouts})
    assert layout_of(settings, settings.base_model).tensor_parallel_size == size


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tensor_parallel_size": 0}, "tensor_parallel_size"),
        ({"gpu_memory_utilization": 1.1}, "gpu_memory_utilization"),
        ({"gpu_memory_utilization": 0.0}, "gpu_memory_utilization"),
        ({"distributed_executor_backend": "uni"}, "distributed_executor_backend"),
        ({"tensor_parallel": 2}, "tensor_parallel"),
        ({"device_ids": [0, 0], "tensor_parallel_size": 2}, "none of them twice"),
        ({"device_ids": [-1]}, "numbers from 0"),
        ({"device_ids": [0, 1]}, "2 device_ids for 1 GPUs"),
        ({"device_ids": [0], "distributed_executor_backend": "ray"}, "Ray chooses"),
    ],
)
def test_a_layout_that_cannot_be_is_refused_and_says_what_is_wrong(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        lay(**fields)


@pytest.mark.parametrize(
    ("visible", "count"),
    [(None, 4), ("0,2", 2), ("", 0), ("-1", 0), ("1,-1,0", 1), ("7", 0), ("GPU-1a, MIG-2b", 2), ("0,nonsense,1", 1)],
)
def test_gpus_are_counted_as_cuda_counts_them(tmp_path: Path, visible: str | None, count: int) -> None:
    for name in ("nvidia0", "nvidia1", "nvidia2", "nvidia3", "nvidiactl", "nvidia-uvm", "nvidia0x", "null"):
        (tmp_path / name).touch()
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert visible_gpus(environment, tmp_path) == count
    assert visible_gpus(environment, tmp_path / "empty") == 0


def test_a_machine_without_gpus_serves_as_long_as_nothing_is_said_of_them() -> None:
    check(0)
    check(0, **TWO_BASES)


@pytest.mark.parametrize(
    ("gpus", "layout", "said"),
    [
        (0, lay(tensor_parallel_size=2), "may use none here"),
        (0, lay(gpu_memory_utilization=0.5), "may use none here"),
        (3, lay(tensor_parallel_size=2, data_parallel_size=2), "wants 4 GPUs .tensor 2 x pipeline 1 x data 2."),
        (3, lay(pipeline_parallel_size=4), "may use 3"),
        (2, lay(device_ids=[2]), "names GPU 2 .* 0 to 1"),
        (8, lay(distributed_executor_backend="ray"), "not installed"),
    ],
)
def test_an_engine_that_does_not_fit_this_machine_is_refused(gpus: int, layout: EngineLayout, said: str) -> None:
    with pytest.raises(ConfigurationError, match=f"RLT_TEACHER_ENGINE .*{said}"):
        check(gpus, teacher_engine=layout)


def test_an_engine_that_fits_is_taken_and_with_ray_this_hosts_gpus_do_not_count() -> None:
    check(4, teacher_engine=lay(tensor_parallel_size=2, pipeline_parallel_size=2))
    check(2, teacher_engine=lay(device_ids=[1]))
    check(0, ray=True, teacher_engine=lay(tensor_parallel_size=16, distributed_executor_backend="ray"))


def test_two_engines_on_one_gpu_say_how_they_share_it() -> None:
    with pytest.raises(ConfigurationError, match=r"share GPU 0 and take 0\.92 and 0\.92"):
        check(2, **TWO_BASES)
    first, second = lay(gpu_memory_utilization=0.6, tensor_parallel_size=2), {"gpu_memory_utilization": 0.5}
    with pytest.raises(ConfigurationError, match=r"share GPU 1 and take 0\.6 and 0\.5"):
        check(2, **TWO_BASES, teacher_engine=first, student_engine=lay(**second, device_ids=[1]))
    check(2, **TWO_BASES, teacher_engine=lay(gpu_memory_utilization=0.5))
    check(2, **TWO_BASES, student_engine=lay(device_ids=[1]))


def test_a_process_without_an_engine_and_the_fake_one_are_not_asked() -> None:
    wanted = lay(tensor_parallel_size=8)
    check(0, teacher_engine=wanted, roles=("control",))
    check(0, teacher_engine=wanted, engine="fake")


@pytest.mark.parametrize(
    ("layout", "said"),
    [(lay(tensor_parallel_size=4), "9 attention heads"), (lay(pipeline_parallel_size=31), "30 layers")],
)
def test_a_model_that_cannot_be_spread_so_is_refused(layout: EngineLayout, said: str) -> None:
    config = {"num_attention_heads": 9, "num_hidden_layers": 30}
    with pytest.raises(ConfigurationError, match=said):
        check_model(layout, config, base_model="builtin:smollm2-135m")
    check_model(lay(tensor_parallel_size=3, pipeline_parallel_size=30), config, base_model="builtin:smollm2-135m")


def test_a_server_refuses_before_it_makes_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RLT_TEACHER_ENGINE", '{"tensor_parallel_size": 64}')
    assert run(["--home", str(tmp_path / "home"), "--port", "0"]) == 1
    assert "RLT_TEACHER_ENGINE" in capsys.readouterr().err
    assert not (tmp_path / "home").exists()


def test_a_server_names_the_setting_and_the_place_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RLT_STUDENT_ENGINE", '{"tensor_parallel_size": 0}')
    assert run(["--home", str(tmp_path / "home"), "--port", "0"]) == 1
    assert "RLT_STUDENT_ENGINE/tensor_parallel_size is 0" in capsys.readouterr().err


def test_the_doctor_sees_an_engine_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLT_TEACHER_ENGINE", '{"tensor_parallel_size": 64}')
    monkeypatch.setattr("rlt_service.doctor._version", lambda name: "0.32.0")
    seen: dict[str, Finding] = {one["name"]: one for one in findings(tmp_path)}
    assert seen["engine"]["status"] == "fail"
    assert "RLT_TEACHER_ENGINE" in seen["engine"]["seen"]
