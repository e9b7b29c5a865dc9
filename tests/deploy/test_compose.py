"""docker-compose.yml names what is there: settings, commands, paths, files; and gives every process time to end."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from rlt_service.jobs.celery_app import make_celery
from rlt_service.launch.tree import WORKER_END_S
from rlt_service.serve import ANSWER_S
from rlt_service.settings import Settings
from tests.deploy.commands import is_command, settings_from, unknown_variables
from tests.deploy.composition import CPU, MAIN, ROOT, SHARED, composed, seconds, services_of

TOPOLOGIES = ([MAIN], [MAIN, CPU], [MAIN, SHARED], [MAIN, SHARED, CPU])
OURS = ("control", "teacher", "student", "worker", "migrate")
SERVERS = ("control", "teacher", "student")
ENGINE_END_S = 20.0
"""vLLM's processes are waited for, then killed and waited for again (`engine/vllm_process.py`, `_EXIT_S` twice)."""


def names(files: list[Path]) -> str:
    return "+".join(file.stem for file in files)


@pytest.fixture(params=TOPOLOGIES, ids=names)
def files(request: pytest.FixtureRequest) -> list[Path]:
    found: list[Path] = request.param
    return found


def settings_of(service: dict[str, Any], secrets: Path) -> Settings:
    lines = (secrets / "rlt.env").read_text(encoding="utf-8").splitlines()
    hidden = dict(line.split("=", 1) for line in lines)
    given = {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for name, value in service["environment"].items()}
    return settings_from({**hidden, **given})


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw passwords as docker/secrets.sh does."""
    folder = tmp_path_factory.mktemp("drawn") / "secrets"
    subprocess.run([ROOT / "docker" / "secrets.sh", folder], check=True, capture_output=True)
    return folder


def test_every_variable_is_a_setting_and_its_value_is_accepted(files: list[Path], secrets: Path) -> None:
    for name, service in services_of(*files).items():
        if name in ("control", "teacher", "student", "worker"):
            assert unknown_variables(" ".join(service["environment"])) == set(), name
            settings = settings_of(service, secrets)
            assert settings.service_url == "http://gateway:8080"
            make_celery(settings)


def test_no_file_names_a_variable_that_is_no_setting() -> None:
    for file in (MAIN, CPU, SHARED, ROOT / "docker" / "secrets.sh"):
        assert unknown_variables(file.read_text(encoding="utf-8")) == set(), file.name


def test_every_command_is_one_of_the_project(files: list[Path]) -> None:
    for name, service in services_of(*files).items():
        if name in OURS and "command" in service:
            assert is_command(service["command"]), name
    assert not is_command(["python", "-m", "rlt_service.worker"])
    assert not is_command(["rlt", "keys", "make"])


def test_every_role_is_played_and_somebody_who_plays_control_has_an_engine(files: list[Path], secrets: Path) -> None:
    found = services_of(*files)
    roles = [set(settings_of(found[name], secrets).roles) for name in SERVERS if name in found]
    assert set().union(*roles) == {"teacher", "student", "control"}
    assert any("control" in played and played & {"teacher", "student"} for played in roles)


def test_paths_of_the_tree_are_there(files: list[Path]) -> None:
    for name, service in composed(*files)["services"].items():
        paths = [mount.split(":")[0] for mount in service.get("volumes", []) if mount.startswith("./")]
        if "build" in service:
            paths.append(service["build"]["dockerfile"])
        for path in paths:
            # What is watched with comes with docker/observe.
            if not path.startswith("./docker/observe/") or (ROOT / "docker" / "observe").is_dir():
                assert (ROOT / path).exists(), f"{name}: {path}"
        for file in service.get("env_file", []):
            assert file in {f"docker/secrets/{one}.env" for one in ("rlt", "postgres", "valkey", "grafana")}


def test_the_gateway_alone_is_published_and_only_on_loopback(files: list[Path]) -> None:
    published = {name: service["ports"] for name, service in composed(*files)["services"].items() if "ports" in service}
    assert set(published) <= {"gateway", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_stores_are_reached_by_processes_of_rlt_alone(files: list[Path]) -> None:
    found = composed(*files)
    assert found["networks"]["data"] == found["networks"]["inside"] == {"internal": True}
    on_data = {name for name, service in found["services"].items() if "data" in service["networks"]}
    assert on_data == {*OURS, "postgres", "valkey"}
    assert all(found["services"][name]["networks"] == ["data"] for name in ("postgres", "valkey", "migrate"))


def test_every_container_is_read_only_without_privileges(files: list[Path]) -> None:
    for name, service in composed(*files)["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service
        assert "cap_add" not in service


def test_images_are_pinned_by_tag(files: list[Path]) -> None:
    for name, service in composed(*files)["services"].items():
        assert re.search(r":[a-z0-9][\w.-]*$", service["image"]), name
        assert not service["image"].endswith(":latest")


def test_processes_may_end_as_long_as_their_drain_takes(files: list[Path], secrets: Path) -> None:
    found = services_of(*files)
    for name in (name for name in SERVERS if name in found):
        grace_s = settings_of(found[name], secrets).drain_grace_s
        assert seconds(found[name]["stop_grace_period"]) > grace_s + ANSWER_S + ENGINE_END_S, name
    grace_s = settings_of(found["worker"], secrets).cancel_grace_s
    assert seconds(found["worker"]["stop_grace_period"]) > grace_s + WORKER_END_S
    assert seconds(found["gateway"]["stop_grace_period"]) >= max(
        seconds(found[name]["stop_grace_period"]) for name in SERVERS if name in found
    )


def test_every_server_and_store_is_asked_how_it_is(files: list[Path]) -> None:
    found = services_of(*files)
    asked = {name for name, service in found.items() if "test" in service.get("healthcheck", {})}
    assert asked == {name for name in (*SERVERS, "postgres", "valkey") if name in found}
    for name in (name for name in SERVERS if name in found):
        assert found[name]["healthcheck"]["test"] == ["CMD", "python", "/opt/healthcheck.py", "/readyz"]


def test_the_schema_is_moved_before_anything_starts(files: list[Path]) -> None:
    found = services_of(*files)
    for name in (name for name in (*SERVERS, "worker") if name in found):
        assert found[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    waited = {other for service in found.values() for other in service.get("depends_on", {})}
    assert waited <= set(found)


def test_on_cpus_no_gpu_is_asked_for_and_else_each_process_has_its_own(files: list[Path]) -> None:
    found = services_of(*files)
    device = re.compile(r"\$\{(\w+):-(\d)\}")
    asked = re.findall(device, json.dumps(found))
    assert (
        len({number for _, number in asked}) == len(asked) == (0 if CPU in files else 3 if SHARED not in files else 2)
    )
    images = {found[name]["image"] for name in OURS if name in found}
    assert images == {"rlt:cpu" if CPU in files else "rlt:gpu"}


def test_secrets_are_drawn_once_for_the_owner_alone(secrets: Path) -> None:
    drawn = {
        file.name: dict(line.split("=", 1) for line in file.read_text().splitlines()) for file in secrets.iterdir()
    }
    assert set(drawn) == {"rlt.env", "postgres.env", "valkey.env", "grafana.env"}
    assert all(file.stat().st_mode & 0o077 == 0 for file in secrets.iterdir())
    password = drawn["postgres.env"]["POSTGRES_PASSWORD"]
    assert len(password) == 48
    assert drawn["rlt.env"]["RLT_DATABASE_URL"] == f"postgresql://rlt:{password}@postgres:5432/rlt"
    again = subprocess.run([ROOT / "docker" / "secrets.sh", secrets], check=False, capture_output=True, text=True)
    assert again.returncode == 1
    assert "is there already" in again.stderr


def test_compose_files_keep_to_the_compose_schema(files: list[Path], tools: Path, tmp_path: Path) -> None:
    whole = tmp_path / "compose.json"
    whole.write_text(json.dumps(composed(*files)), encoding="utf-8")
    command = [tools / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", whole]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    spoilt = yaml.safe_load(whole.read_text(encoding="utf-8"))
    spoilt["services"]["worker"]["stop_grace"] = "60s"
    whole.write_text(json.dumps(spoilt), encoding="utf-8")
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
