"""Bad adapters: refused with one clear error before any alias moves, and what served goes on serving."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from rlt_core.artifacts import ADAPTER_CONFIG, ADAPTER_WEIGHTS, adapter_sha256
from rlt_service.store.registry import Candidate
from tests.support.control import Control, check_problem, control_app, write_adapter

Q_PROJ = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with control_app(tmp_path_factory.mktemp("home"), max_lora_rank=16) as made:
        serving = made.version("serving")
        answer = made.http.put("/v1/aliases/teacher/default", json={"version": serving, "expected": "fake@0"})
        assert answer.status_code == 200
        yield made


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A way to spoil a sound adapter's folder, and what the refusal must say."""

    spoil: Callable[[Path], object]
    says: str


def truncated(folder: Path) -> None:
    path = folder / ADAPTER_WEIGHTS
    path.write_bytes(path.read_bytes()[:-8])


def not_finite(folder: Path) -> None:
    path = folder / ADAPTER_WEIGHTS
    path.write_bytes(path.read_bytes()[:-4] + b"\x00\x00\xc0\x7f")


def config(**changes: Any) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        path = folder / ADAPTER_CONFIG
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return spoil


def config_is(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / ADAPTER_CONFIG).write_text(text)


def tensors_are(**tensors: tuple[int, int]) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        made = {name.replace("__", "."): np.zeros(shape, dtype=np.float32) for name, shape in tensors.items()}
        save_file(made, folder / ADAPTER_WEIGHTS)

    return spoil


def linked(name: str) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        elsewhere = folder.parent / f"{folder.name}-{name}"
        (folder / name).rename(elsewhere)
        (folder / name).symlink_to(elsewhere)

    return spoil


def emptied(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


PICKLE = "pickle inside"
LM_HEAD = {"base_model__model__lm_head__lora_A__weight": (4, 8), "base_model__model__lm_head__lora_B__weight": (8, 4)}
ENDLESS_LAYER = {
    f"base_model__model__model__layers__{'9' * 5000}__self_attn__q_proj__lora_{side}__weight": shape
    for side, shape in (("A", (4, 8)), ("B", (8, 4)))
}
LOADABLE = {
    "truncated": Bad(spoil=truncated, says="damaged"),
    "nan": Bad(spoil=not_finite, says="NaN"),
    "other base": Bad(spoil=config(base_model_name_or_path="org/other-model"), says="org/other-model"),
    "rank too high": Bad(spoil=lambda folder: write_adapter(folder, rank=17), says="rank 17"),
    "rank of the tensors too high": Bad(
        spoil=lambda folder: (write_adapter(folder, rank=17), config(r=4)(folder)), says="rank 17"
    ),
    "rank of the tensors another": Bad(spoil=config(r=8), says="rank 4"),
    "unknown target": Bad(spoil=config(target_modules=["conv1"]), says="conv1"),
    PICKLE: Bad(spoil=lambda folder: (folder / "adapter_model.bin").write_bytes(b"\x80"), says="can carry code"),
    "lm_head": Bad(spoil=config(target_modules=["q_proj", "lm_head"]), says="lm_head"),
    "lm_head in the weights": Bad(spoil=tensors_are(**LM_HEAD), says="lm_head"),
    "no tensors": Bad(spoil=tensors_are(), says="no tensor"),
    "empty weights": Bad(spoil=lambda folder: (folder / ADAPTER_WEIGHTS).write_bytes(b""), says="damaged"),
    "config is no json": Bad(spoil=config_is("{"), says=ADAPTER_CONFIG),
    "config is a list": Bad(spoil=config_is("[]"), says=ADAPTER_CONFIG),
    "config is empty": Bad(spoil=config_is("{}"), says=ADAPTER_CONFIG),
    "config nests without end": Bad(spoil=config_is("[" * 100_000), says=ADAPTER_CONFIG),
    "rank is text": Bad(spoil=config(r="4"), says="rank '4'"),
    "rank is true": Bad(spoil=config(r=True), says="rank"),
    "rank is 0": Bad(spoil=config(r=0), says="rank 0"),
    "rank is null": Bad(spoil=config(r=None), says="rank None"),
    "rank_pattern is a list": Bad(spoil=config(rank_pattern=[8]), says="rank_pattern"),
    "alpha is endless": Bad(spoil=config(lora_alpha=10**400), says="lora_alpha"),
    "layer is endless": Bad(spoil=tensors_are(**ENDLESS_LAYER), says="holds the tensor"),
}
"""What has both files, so that only reading them shows what is wrong."""
UNREADABLE = {
    "missing config": Bad(spoil=lambda folder: (folder / ADAPTER_CONFIG).unlink(), says=ADAPTER_CONFIG),
    "missing weights": Bad(spoil=lambda folder: (folder / ADAPTER_WEIGHTS).unlink(), says=ADAPTER_WEIGHTS),
    "empty folder": Bad(spoil=emptied, says=ADAPTER_CONFIG),
    "linked config": Bad(spoil=linked(ADAPTER_CONFIG), says=ADAPTER_CONFIG),
    "linked weights": Bad(spoil=linked(ADAPTER_WEIGHTS), says=ADAPTER_WEIGHTS),
}
ALL = LOADABLE | UNREADABLE


def check_nothing_moved(control: Control) -> None:
    assert control.alias("teacher", "default") == "serving@1"
    assert len(control.http.get("/v1/aliases/teacher/default/history").json()["data"]) == 2
    answer = control.http.post("/v1/explain", json={"question": "1+1?", "solution": "2"})
    assert (answer.status_code, answer.json()["teacher"]["version"]) == (200, "serving@1")


def check_refused(control: Control, answer: Any, *, says: str) -> None:
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "invalid_adapter"
    assert says in answer.json()["detail"]
    assert str(control.services.settings.home) not in answer.text
    check_nothing_moved(control)


def promote(control: Control, version: str) -> Any:
    return control.http.put("/v1/aliases/teacher/default", json={"version": version, "expected": "serving@1"})


@pytest.mark.parametrize("kind", ALL)
def test_a_bad_adapter_is_not_registered(control: Control, kind: str) -> None:
    folder = control.import_folder(f"bad-{list(ALL).index(kind)}")
    ALL[kind].spoil(folder)
    answer = control.http.post("/v1/teachers/spoilt/versions", json={"folder": folder.name})
    check_refused(control, answer, says=ALL[kind].says)
    assert control.http.get("/v1/teachers/spoilt/versions").status_code == 404


@pytest.mark.parametrize("kind", sorted(LOADABLE.keys() - {PICKLE}))
def test_a_bad_adapter_that_a_job_made_is_not_promoted(control: Control, kind: str) -> None:
    """A job's result becomes a version before any engine has seen it; of its folder only the two files are copied."""
    name = f"made-{list(LOADABLE).index(kind)}"
    folder = control.import_folder(name)
    LOADABLE[kind].spoil(folder)
    made = control.services.registry.register(
        Candidate(
            name=name,
            role="teacher",
            base_model="fake",
            format="stratos@1",
            folder=folder,
            sha256=adapter_sha256(folder),
            lora_rank=4,
        )
    )
    check_refused(control, promote(control, made.version), says=LOADABLE[kind].says)


@pytest.mark.parametrize(
    ("kind", "loaded"), [(kind, loaded) for kind in ALL for loaded in (False, True) if (kind, loaded) != (PICKLE, True)]
)
def test_a_version_whose_files_changed_after_registration_is_not_promoted(
    control: Control, kind: str, loaded: bool
) -> None:
    """Also where the engine has the sound one in memory, which a stray file beside it does not change."""
    version = control.version(f"changed-{list(ALL).index(kind)}-{loaded}".lower())
    if loaded:
        answer = control.http.post("/v1/explain", json={"question": "1?", "solution": "1", "teacher": version})
        assert answer.status_code == 200
    files = control.services.registry.resolve("teacher", version).adapter
    assert files is not None
    ALL[kind].spoil(files.path)
    answer = promote(control, version)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_adapter"), answer.text
    check_nothing_moved(control)


@pytest.mark.parametrize("loaded", [False, True])
def test_sound_files_that_are_not_the_registered_ones_have_the_wrong_hash(control: Control, loaded: bool) -> None:
    version = control.version(f"swapped-{loaded}".lower(), seed=1)
    if loaded:
        control.http.post("/v1/explain", json={"question": "1?", "solution": "1", "teacher": version})
    files = control.services.registry.resolve("teacher", version).adapter
    assert files is not None
    write_adapter(files.path, seed=2)
    check_refused(control, promote(control, version), says="sha256")
    answer = control.http.post("/v1/aliases/teacher/default/rollback", json={"expected": "serving@1", "to": version})
    check_refused(control, answer, says="sha256")


@pytest.mark.parametrize("folder", ["../versions", "..", "/etc", "a/b", "", "a\\..\\b", "a\n", ".hidden"])
def test_a_path_that_leads_out_of_the_root_is_refused(control: Control, folder: str) -> None:
    answer = control.http.post("/v1/teachers/spoilt/versions", json={"folder": folder})
    check_problem(answer, 422, "invalid_request", "/folder")
    check_nothing_moved(control)


def test_a_folder_that_is_a_link_is_refused(control: Control, tmp_path: Path) -> None:
    control.import_folder("good")
    write_adapter(tmp_path / "outside")
    (control.services.artifacts.root / "imports" / "tunnel").symlink_to(tmp_path / "outside")
    answer = control.http.post("/v1/teachers/tunnel/versions", json={"folder": "tunnel"})
    check_problem(answer, 422, "invalid_request", "/folder")
    check_nothing_moved(control)


def test_a_version_whose_folder_became_a_link_is_not_promoted(control: Control, tmp_path: Path) -> None:
    version = control.version("moved-away")
    files = control.services.registry.resolve("teacher", version).adapter
    assert files is not None
    files.path.rename(tmp_path / "outside")
    files.path.symlink_to(tmp_path / "outside")
    answer = promote(control, version)
    assert answer.status_code == 422, answer.text
    check_nothing_moved(control)
