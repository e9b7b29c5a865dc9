"""What a plant promises to those who harm it: ports that stay its own, a held database, words of what did not start."""

import socket
import threading
from pathlib import Path

import pytest

from benchmarks.reliability import plant as plants
from benchmarks.reliability import row_postgres
from benchmarks.reliability.parts import stub_plant
from benchmarks.reliability.plant import free_port, kept_ports
from benchmarks.reliability.row_postgres import lent_postgres
from benchmarks.reliability.trial import Trial
from rlt_core.schemas.jobs import WarmupSpec

SPEC = WarmupSpec(kind="warmup", role="teacher", dataset="ds_none", target_name="algebra")


@pytest.mark.skipif(not kept_ports(), reason="outgoing connections get every port here")
def test_a_port_of_a_plant_is_none_that_an_outgoing_connection_gets() -> None:
    with socket.socket() as listening, socket.socket() as calling:
        listening.bind(("127.0.0.1", free_port()))
        listening.listen()
        calling.connect(listening.getsockname())
        assert calling.getsockname()[1] not in kept_ports()
        assert listening.getsockname()[1] in kept_ports()


def test_a_port_that_is_taken_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        port = taken.getsockname()[1]
        monkeypatch.setattr(plants, "kept_ports", lambda: range(port, port + 1))
        assert free_port() != port


@pytest.mark.parametrize("said", [None, "1024 65535"])
def test_where_no_port_is_kept_any_free_one_is_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str | None
) -> None:
    path = tmp_path / "ip_local_port_range"
    if said is not None:
        path.write_text(said)
    monkeypatch.setattr(plants, "PORTS_OF_CONNECTIONS", path)
    assert len(kept_ports()) == 0
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", free_port()))


def test_a_database_that_is_held_takes_no_job_until_it_is_let_go(tmp_path: Path, database_url: str) -> None:
    plant = stub_plant(tmp_path / "home", database_url=database_url)
    plant.database.start()
    submitting = threading.Thread(target=plant.jobs.submit, args=(SPEC,))
    with plant.held_database():
        submitting.start()
        submitting.join(timeout=0.5)
        assert submitting.is_alive()
        assert plant.jobs.counts() == {}
    submitting.join()
    assert plant.jobs.counts() == {"queued": 1}
    plant.database.close()


def test_a_control_service_that_does_not_answer_is_told_of_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant = stub_plant(tmp_path / "home")
    (plant.home / f"control-{plant.port}.log").write_text(f"{'much before; ' * 1000}the port is in use")

    def waits(*_: object, what: str) -> None:
        raise TimeoutError(f"waited 120 s until {what}")

    monkeypatch.setattr(plants, "wait_for", waits)
    with pytest.raises(TimeoutError, match="the port is in use") as caught:
        plant.wait_ready()
    trial = Trial(row="r", number=0, seed=1, fault="the run", passed=False, detail=str(caught.value))
    assert len(trial.detail) < 900  # of 1,000 that are kept, with what the run says before it


def test_rows_on_postgres_say_where_none_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_postgres, "programs", lambda: None)
    with pytest.raises(FileNotFoundError, match="no Postgres here"), lent_postgres():
        pass
