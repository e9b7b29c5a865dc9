"""The chart renders to manifests that Kubernetes takes and that name what the project has."""

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
from tests.deploy.commands import SETTINGS, is_command, settings_from
from tests.deploy.test_compose import ENGINE_END_S

ROOT = Path(__file__).parents[2]
CHART = ROOT / "docker" / "helm" / "rlt"
SECRETS = {"RLT_DATABASE_URL": "postgresql://rlt:word@db/rlt", "RLT_BROKER_URL": "redis://:word@broker:6379/0"}
EVERYTHING: dict[str, Any] = {
    "settings": {"RLT_BASE_MODEL": "/models/base", "RLT_LEASE_S": 30},
    "secret": {"create": True, "values": SECRETS},
    "servers": {"teacher": {"autoscaling": {"enabled": True}}, "student": {"gpus": 0}},
    "workers": {
        "train": {"autoscaling": {"enabled": True, "metric": "waiting", "labels": {"queue": "train"}}},
        "cpu": {
            "queues": ["collect", "evaluate"],
            "replicas": 3,
            "gpus": 0,
            "resources": {"limits": {"memory": "8Gi"}},
        },
    },
    "ingress": {"enabled": True, "host": "rlt.example", "tlsSecret": "certificate"},
    "networkPolicy": {"callers": [{"team": "a"}]},
    "drainGraceSeconds": 120,
    "cancelGraceSeconds": 60,
}
REFUSED: tuple[dict[str, Any], ...] = (
    {"ingress": {"enabled": True, "host": "rlt.example"}},  # keys without TLS
    {"workers": {"train": {"autoscaling": {"enabled": True}}}},  # of what metric?
    {"settings": {"HOME": "/root"}},
    {"servers": {"teacher": {"roles": ["tutor"]}}},
    {"drainGraceSeconds": -1},
    {"workers": {"greedy": {"queues": ["train"], "replicas": 1, "gpus": 0, "resources": {}}}},
)


@pytest.fixture(scope="module")
def rendered(tools: Path) -> dict[str, Any]:
    """Give what Helm makes of the defaults, of everything switched on, and of values that are to be refused."""
    wanted = json.dumps([{}, EVERYTHING, *REFUSED])
    command = [tools / "python", ROOT / ".ci" / "render_chart.py", CHART]
    done = subprocess.run(command, input=wanted, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture(params=[0, 1], ids=["defaults", "everything"])
def manifests(request: pytest.FixtureRequest, rendered: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = rendered["renders"][request.param]["manifests"]
    return found


def of_kind(manifests: list[dict[str, Any]], *kinds: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] in kinds}


def pods(manifests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: one["spec"]["template"]["spec"] for name, one in of_kind(manifests, "Deployment", "Job").items()}


def environment_of(container: dict[str, Any], manifests: list[dict[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= (
            SECRETS
            if "secretRef" in source
            else of_kind(manifests, "ConfigMap")[source["configMapRef"]["name"]]["data"]
        )
    return {**found, **{entry["name"]: entry["value"] for entry in container.get("env", [])}}


def test_manifests_keep_to_kubernetes_schemas_and_helms_linter_finds_nothing(rendered: dict[str, Any]) -> None:
    assert rendered["lint"] == []
    for answer in rendered["renders"][:2]:
        assert answer["breaks"] == []
        assert len(answer["manifests"]) >= 22


def test_values_that_cannot_be_meant_are_refused(rendered: dict[str, Any]) -> None:
    said = [answer.get("refused", "") for answer in rendered["renders"][2:]]
    assert all(said), said
    assert "tlsSecret" in said[0]
    assert "external metric" in said[1]


def test_every_process_gets_settings_that_it_accepts_and_a_command_of_the_project(
    manifests: list[dict[str, Any]],
) -> None:
    for name, pod in pods(manifests).items():
        (container,) = pod["containers"]
        if container["name"] != "nginx":
            assert is_command(container["args"]), name
            environment = environment_of(container, manifests)
            assert set(environment) <= SETTINGS, name
            make_celery(settings_from(environment))


def test_every_role_is_played_and_somebody_who_plays_control_has_an_engine(manifests: list[dict[str, Any]]) -> None:
    servers = [pod["containers"][0] for pod in pods(manifests).values() if pod["containers"][0]["name"] == "server"]
    roles = [set(settings_from(environment_of(one, manifests)).roles) for one in servers]
    assert set().union(*roles) == {"teacher", "student", "control"}
    assert any("control" in played and played & {"teacher", "student"} for played in roles)


def test_pods_are_unprivileged_read_only_and_know_no_cluster(manifests: list[dict[str, Any]]) -> None:
    for name, pod in pods(manifests).items():
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"], name


def test_what_is_mounted_is_where_the_service_writes(manifests: list[dict[str, Any]]) -> None:
    for pod in pods(manifests).values():
        (container,) = pod["containers"]
        places = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
        if container["name"] in ("server", "worker"):
            home = settings_from({"RLT_HOME": "/var/lib/rlt"})
            assert {str(home.home), str(home.artifacts), "/var/lib/rlt/models", "/tmp", "/dev/shm"} == places


def test_pods_may_end_as_long_as_their_drain_takes(manifests: list[dict[str, Any]]) -> None:
    slowest = 0
    for name, pod in pods(manifests).items():
        (container,) = pod["containers"]
        given_s = pod.get("terminationGracePeriodSeconds", 30)
        settings = settings_from(environment_of(container, manifests))
        if container["name"] == "server":
            before_s = float(container["lifecycle"]["preStop"]["exec"]["command"][1])
            assert given_s > before_s + settings.drain_grace_s + ANSWER_S + ENGINE_END_S, name
            slowest = max(slowest, given_s)
        if container["name"] == "worker":
            assert given_s > settings.cancel_grace_s + WORKER_END_S, name
    assert all(
        pod["terminationGracePeriodSeconds"] >= slowest
        for name, pod in pods(manifests).items()
        if name.endswith("gateway")
    )


def test_servers_are_probed_where_they_answer_and_workers_which_do_not_listen_are_not(
    manifests: list[dict[str, Any]],
) -> None:
    for pod in pods(manifests).values():
        (container,) = pod["containers"]
        probes = {
            name: value["httpGet"] for name, value in container.items() if name.endswith("Probe") and "httpGet" in value
        }
        if container["name"] == "server":
            assert {name: probe["path"] for name, probe in probes.items()} == {
                "startupProbe": "/healthz",
                "livenessProbe": "/healthz",
                "readinessProbe": "/readyz",
            }
            assert container["ports"] == [{"name": "http", "containerPort": 8400}]
        else:
            assert probes == {}


def test_services_disruption_budgets_and_scalers_find_their_pods(manifests: list[dict[str, Any]]) -> None:
    deployments = of_kind(manifests, "Deployment")
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in deployments.values()]
    selectors = [one["spec"]["selector"] for one in of_kind(manifests, "Service").values()]
    budgets = of_kind(manifests, "PodDisruptionBudget")
    assert set(budgets) == set(deployments)
    for selector in [*selectors, *(one["spec"]["selector"]["matchLabels"] for one in budgets.values())]:
        assert sum(selector.items() <= found.items() for found in labels) == 1, selector
    for name, scaler in of_kind(manifests, "HorizontalPodAutoscaler").items():
        assert scaler["spec"]["scaleTargetRef"]["name"] == name
        assert "replicas" not in deployments[name]["spec"]


def test_scalers_go_by_metrics_that_the_service_has(manifests: list[dict[str, Any]]) -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "services" / "rlt_service").glob("*.py"))
    for scaler in of_kind(manifests, "HorizontalPodAutoscaler").values():
        for metric in scaler["spec"]["metrics"]:
            if metric["type"] == "Pods":
                assert f'"{metric["pods"]["metric"]["name"]}"' in source


def test_the_migration_comes_before_the_release_and_the_secret_before_it(manifests: list[dict[str, Any]]) -> None:
    (job,) = of_kind(manifests, "Job").values()
    notes = job["metadata"]["annotations"]
    assert notes["helm.sh/hook"] == "pre-install,pre-upgrade"
    for secret in of_kind(manifests, "Secret").values():
        others = secret["metadata"]["annotations"]
        assert others["helm.sh/hook"] == notes["helm.sh/hook"]
        assert int(others["helm.sh/hook-weight"]) < int(notes["helm.sh/hook-weight"])


def test_no_secret_stands_outside_a_secret(manifests: list[dict[str, Any]]) -> None:
    others = [one for one in manifests if one["kind"] != "Secret"]
    assert "word@" not in json.dumps(others)


def test_pods_reach_what_they_need_and_nothing_else(manifests: list[dict[str, Any]]) -> None:
    policies = of_kind(manifests, "NetworkPolicy")
    assert policies["prod-rlt-nothing"]["spec"] == {
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "rlt", "app.kubernetes.io/instance": "prod"}},
        "policyTypes": ["Ingress", "Egress"],
    }
    out = policies["prod-rlt-out"]["spec"]["egress"]
    assert {port["port"] for rule in out for port in rule["ports"]} == {53, 5432, 6379, 8080, 443}
    inward = policies["prod-rlt-servers"]["spec"]["ingress"][0]["from"]
    assert inward[0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "gateway"


def test_notes_name_a_command_and_a_deployment_that_are_there(rendered: dict[str, Any]) -> None:
    for answer in rendered["renders"][:2]:
        (found,) = re.findall(r"exec deploy/(\S+) -- (rlt .*)", answer["notes"])
        assert found[0] in of_kind(answer["manifests"], "Deployment")
        assert is_command(found[1].split()[:3])


def test_the_chart_is_of_this_release() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{chart["appVersion"]}"\n' in pyproject
    assert chart["version"] == chart["appVersion"]
