"""A base from a hub, with a stand-in for huggingface_hub's `snapshot_download`; nothing here touches a network."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

from rlt_core.errors import ConfigurationError
from rlt_core.hub_models import parse_hub_model
from rlt_service.engine.hub_download import fetched_model, main
from rlt_service.engine.models import known_folder, resolve_model
from tests.engine.model_files import write_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REFERENCE = f"hub:org/tiny@{COMMIT}"
MODEL = parse_hub_model(REFERENCE)


@dataclass
class Hub:
    """Answers as `snapshot_download` does: from the cache, from the hub, or not at all."""

    reachable: bool = True
    asked: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, repository: str, **options: Any) -> str:
        self.asked.append({"repository": repository, **options})
        name = f"models--{repository.replace('/', '--')}"
        folder = Path(options["cache_dir"]) / name / "snapshots" / options["revision"]
        if not folder.is_dir():
            if options["local_files_only"]:
                raise LocalEntryNotFoundError("Cannot find an appropriate cached snapshot folder")
            if not self.reachable:
                raise OfflineModeIsEnabled("Cannot reach the hub:\n offline mode is enabled")
            write_model(folder)
        return str(folder)

    def fetch(self, *_: Any) -> str | None:
        """Stand in for the process that fetches."""
        return "gone" if main([REFERENCE, str(self.places)], snapshot=self) else None

    places: Path = Path()


def test_a_commit_is_fetched_once_and_then_taken_as_it_lies(tmp_path: Path) -> None:
    hub = Hub(places=tmp_path)
    folder = fetched_model(MODEL, tmp_path, snapshot=hub, fetch=hub.fetch)
    assert (folder / "config.json").is_file()
    assert [call["local_files_only"] for call in hub.asked] == [True, False, True]
    assert {(call["repository"], call["revision"]) for call in hub.asked} == {("org/tiny", COMMIT)}
    hub.reachable = False
    assert fetched_model(MODEL, tmp_path, snapshot=hub, fetch=hub.fetch) == folder
    assert len(hub.asked) == 4


def test_only_weights_in_safetensors_and_the_tokenizer_are_asked_for(tmp_path: Path) -> None:
    hub = Hub(places=tmp_path)
    fetched_model(MODEL, tmp_path, snapshot=hub, fetch=hub.fetch)
    for call in hub.asked:
        assert not any(pattern.endswith((".py", ".bin", ".pt")) for pattern in call["allow_patterns"])
        assert "*/*" in call["ignore_patterns"]


def test_offline_is_said_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub = Hub(reachable=False, places=tmp_path)
    with pytest.raises(ConfigurationError, match=r"not here and could not be fetched: gone.*HF_HUB_OFFLINE unset"):
        fetched_model(MODEL, tmp_path, snapshot=hub, fetch=hub.fetch)
    assert capsys.readouterr().err == (
        "OfflineModeIsEnabled: Cannot reach the hub: offline mode is enabled\n"  # in one line, which the message takes
    )


def test_a_fetch_that_left_something_out_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="it is not whole"):
        fetched_model(MODEL, tmp_path, snapshot=Hub(), fetch=lambda *_: None)


@pytest.mark.processes
def test_the_process_that_fetches_says_why_it_could_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Offline by the library's own switch, so that no connection is tried.
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigurationError, match=r"fetched: LocalEntryNotFoundError: .*HF_HUB_OFFLINE=0"):
        resolve_model(REFERENCE, state_folder=tmp_path)


def test_a_base_of_a_hub_is_known_where_it_lies_and_is_not_fetched_for_that(tmp_path: Path) -> None:
    assert known_folder(REFERENCE, state_folder=tmp_path) is None
    folder = tmp_path / "models" / "hub" / "models--org--tiny" / "snapshots" / COMMIT
    write_model(folder)
    assert known_folder(REFERENCE, state_folder=tmp_path) == folder
    # huggingface_hub itself finds it there, and asks nobody.
    assert resolve_model(REFERENCE, state_folder=tmp_path) == folder


def test_a_commit_without_weights_in_safetensors_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "hub" / "models--org--tiny" / "snapshots" / COMMIT
    write_model(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ConfigurationError, match=r"no \*\.safetensors"):
        resolve_model(REFERENCE, state_folder=tmp_path)


def test_a_base_of_a_hub_without_a_commit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="names no revision"):
        resolve_model("hub:org/tiny", state_folder=tmp_path)
