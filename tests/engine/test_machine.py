from pathlib import Path

from rlt_service.engine.machine import choose_dtype, choose_max_running, physical_cores


def test_every_cpu_gets_float32_because_scores_are_exact_there() -> None:
    assert choose_dtype("auto", on_cpu=True) == "float32"


def test_accelerator_gets_bfloat16() -> None:
    assert choose_dtype("auto", on_cpu=False) == "bfloat16"


def test_dtype_that_was_asked_for_stays() -> None:
    assert choose_dtype("bfloat16", on_cpu=True) == "bfloat16"


def test_threads_take_one_logical_cpu_of_each_core(tmp_path: Path) -> None:
    for cpu, siblings in {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}.items():
        topology = tmp_path / f"cpu{cpu}" / "topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"{siblings}\n")
    assert physical_cores(frozenset({0, 1, 2, 3}), tmp_path) == (0, 1)
    assert physical_cores(frozenset({2, 3}), tmp_path) == (2, 3)


def test_threads_take_every_cpu_where_the_topology_is_unknown(tmp_path: Path) -> None:
    assert physical_cores(frozenset({0, 1}), tmp_path) == (0, 1)


def test_more_sequences_run_at_a_time_on_gpus_unless_it_is_said() -> None:
    assert choose_max_running(None, on_cpu=True) == 32
    assert choose_max_running(None, on_cpu=False) == 256
    assert choose_max_running(3, on_cpu=False) == 3
