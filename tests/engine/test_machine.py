from pathlib import Path

import pytest

from rlt_service.engine.machine import choose_dtype, physical_cores, read_cpu_flags


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [({"avx2"}, "float32"), ({"avx512f"}, "float32"), ({"avx512_bf16"}, "bfloat16"), ({"amx_bf16"}, "bfloat16")],
)
def test_cpu_gets_bfloat16_only_where_it_multiplies_it(flags: set[str], dtype: str) -> None:
    assert choose_dtype("auto", on_cpu=True, cpu_flags=frozenset(flags)) == dtype


def test_accelerator_gets_bfloat16_whatever_its_cpu_can_do() -> None:
    assert choose_dtype("auto", on_cpu=False, cpu_flags=frozenset()) == "bfloat16"


def test_dtype_that_was_asked_for_stays() -> None:
    assert choose_dtype("float32", on_cpu=True, cpu_flags=frozenset({"amx_bf16"})) == "float32"


def test_flags_are_read_from_the_first_cpu(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx2\n\nprocessor\t: 1\nflags\t\t: fpu avx2 extra\n")
    assert read_cpu_flags(cpuinfo) == {"fpu", "avx2"}


def test_system_without_cpuinfo_has_no_flags(tmp_path: Path) -> None:
    assert read_cpu_flags(tmp_path / "absent") == frozenset()


def test_threads_take_one_logical_cpu_of_each_core(tmp_path: Path) -> None:
    for cpu, siblings in {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}.items():
        topology = tmp_path / f"cpu{cpu}" / "topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"{siblings}\n")
    assert physical_cores(frozenset({0, 1, 2, 3}), tmp_path) == (0, 1)
    assert physical_cores(frozenset({2, 3}), tmp_path) == (2, 3)


def test_threads_take_every_cpu_where_the_topology_is_unknown(tmp_path: Path) -> None:
    assert physical_cores(frozenset({0, 1}), tmp_path) == (0, 1)
