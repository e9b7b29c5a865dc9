from pathlib import Path

import pytest

from rlt_core.errors import InvalidAdapterError, InvalidRequestError, InvalidWeightsError, NotFoundError
from rlt_service.store.artifacts import ArtifactStore


def adapter(folder: Path, *, weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(weights)
    (folder / "optimizer.pt").write_bytes(b"not for serving")
    return folder


def test_adopting_copies_what_serves_and_nothing_else(artifacts: ArtifactStore) -> None:
    source = adapter(artifacts.attempt_dir("job_1", 1) / "adapter")
    target = artifacts.adopt(source, "algebra@3")
    assert target == artifacts.version_dir("algebra", 3)
    assert sorted(path.name for path in target.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert source.is_dir()
    assert list((artifacts.root / "incoming").iterdir()) == []


def test_a_leftover_of_a_failed_registration_gives_way(artifacts: ArtifactStore) -> None:
    artifacts.adopt(adapter(artifacts.root / "imports" / "one", weights=b"old"), "algebra@1")
    target = artifacts.adopt(adapter(artifacts.root / "imports" / "two", weights=b"new"), "algebra@1")
    assert (target / "adapter_model.safetensors").read_bytes() == b"new"


def test_a_linked_file_or_folder_is_refused(artifacts: ArtifactStore, tmp_path: Path) -> None:
    source = adapter(artifacts.root / "imports" / "linked")
    (source / "adapter_model.safetensors").unlink()
    (source / "adapter_model.safetensors").symlink_to(source / "optimizer.pt")
    with pytest.raises(InvalidAdapterError, match="plain file"):
        artifacts.adopt(source, "algebra@1")
    outside = adapter(tmp_path / "outside")
    (artifacts.root / "imports" / "away").symlink_to(outside)
    with pytest.raises(InvalidAdapterError, match="symbolic link"):
        artifacts.adopt(artifacts.root / "imports" / "away", "algebra@1")
    with pytest.raises(InvalidRequestError, match="symbolic link"):
        artifacts.imports_dir("away")


def test_an_adapter_from_outside_the_root_is_refused(artifacts: ArtifactStore, tmp_path: Path) -> None:
    outside = adapter(tmp_path / "outside")
    with pytest.raises(InvalidAdapterError, match="artifact root"):
        artifacts.adopt(outside, "algebra@1")
    (artifacts.root / "imports").mkdir(parents=True)
    with pytest.raises(InvalidAdapterError, match="upwards"):
        artifacts.adopt(artifacts.root / "imports" / ".." / ".." / "outside", "algebra@1")


def test_nothing_that_two_attempts_write_has_one_path(artifacts: ArtifactStore) -> None:
    folders = [artifacts.attempt_dir("job_1", attempt) for attempt in (1, 2)]
    assert folders[0] != folders[1]
    for attempt, folder in enumerate(folders, start=1):
        assert artifacts.job_file("job_1", attempt).is_relative_to(folder)
        assert artifacts.rollout_dir("job_1", attempt, 3).is_relative_to(folder)


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "", ".hidden", "x\n", "é"])
def test_no_part_of_a_path_leads_elsewhere(artifacts: ArtifactStore, name: str) -> None:
    for make in (artifacts.dataset_path, artifacts.imports_dir, lambda part: artifacts.attempt_dir(part, 1)):
        if make == artifacts.dataset_path and name == "":
            continue  # becomes ".jsonl", refused as a hidden file all the same
        with pytest.raises(InvalidRequestError):
            make(name)
    with pytest.raises(InvalidRequestError):
        artifacts.version_dir(name, 1)


def test_a_missing_import_folder_says_where_to_put_the_files(artifacts: ArtifactStore) -> None:
    with pytest.raises(NotFoundError, match="imports/mine"):
        artifacts.imports_dir("mine")


def test_an_incoming_file_is_gone_unless_it_was_kept(artifacts: ArtifactStore) -> None:
    with artifacts.incoming_file() as path:
        path.write_text("row\n")
    assert not path.exists()
    with artifacts.incoming_file() as path:
        path.write_text("row\n")
        artifacts.keep_file(path, artifacts.dataset_path("ds_1"))
    assert artifacts.dataset_path("ds_1").read_text() == "row\n"
    assert list((artifacts.root / "incoming").iterdir()) == []


def test_nothing_outside_the_root_is_deleted(artifacts: ArtifactStore, tmp_path: Path) -> None:
    precious = adapter(tmp_path / "precious")
    with pytest.raises(InvalidRequestError):
        artifacts.discard(precious)
    assert precious.is_dir()


def whole(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("config.json", "model-1.safetensors", "model-2.safetensors", "tokenizer.json", "trainer_state.json"):
        (folder / name).write_text(name)
    return folder


def test_of_a_whole_model_config_and_weights_are_kept_and_nothing_else(artifacts: ArtifactStore) -> None:
    source = whole(artifacts.root / "imports" / "whole")
    target = artifacts.place(artifacts.stage(source, "full"), "algebra@4")
    assert sorted(path.name for path in target.iterdir()) == [
        "config.json",
        "model-1.safetensors",
        "model-2.safetensors",
    ]
    assert artifacts.checked_sha256(source, "full") == artifacts.checked_sha256(target, "full")


def test_a_whole_model_with_a_linked_or_missing_file_is_refused(artifacts: ArtifactStore) -> None:
    source = whole(artifacts.root / "imports" / "whole")
    (source / "model-2.safetensors").rename(source / "elsewhere")
    (source / "model-2.safetensors").symlink_to(source / "elsewhere")
    with pytest.raises(InvalidWeightsError, match=r"no plain file model-2\.safetensors"):
        artifacts.stage(source, "full")
    for path in source.glob("*.safetensors"):
        path.unlink()
    with pytest.raises(InvalidWeightsError, match=r"no \*\.safetensors"):
        artifacts.stage(source, "full")
