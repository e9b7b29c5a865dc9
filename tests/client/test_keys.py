"""SDK and command on a server with keys: both take RLT_API_KEY, and say what to do without it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rlt_client import AuthenticationError, Client, PermissionDeniedError, RateLimitError
from rlt_client.cli import main
from tests.support.app_transport import AppTransport
from tests.support.control import Control, control_app
from tests.support.keys import make_key


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    with control_app(tmp_path) as found:
        yield found


def secret_of(headers: dict[str, str]) -> str:
    return headers["Authorization"].removeprefix("Bearer ")


def test_the_sdk_sends_the_key_that_it_was_given_or_that_of_the_environment(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = secret_of(make_key(control, "train"))
    transport = AppTransport(control.http)
    with Client("http://app", transport=transport, api_key=secret) as client:
        assert client.models().data
    with Client("http://app", transport=transport) as client, pytest.raises(AuthenticationError, match="RLT_API_KEY"):
        client.models()
    monkeypatch.setenv("RLT_API_KEY", secret)
    with Client("http://app", transport=transport) as client:
        assert client.models().data
        with pytest.raises(PermissionDeniedError, match="scope explain"):
            client.explain(question="2 + 3?", solution="5")


def test_a_key_over_its_rate_hears_when_to_come_back(control: Control) -> None:
    secret = secret_of(make_key(control, "train", max_per_minute=1))
    with Client("http://app", transport=AppTransport(control.http), api_key=secret, max_retries=0) as client:
        client.models()
        with pytest.raises(RateLimitError) as caught:
            client.models()
    assert caught.value.retry_after_s is not None
    assert caught.value.retry_after_s >= 1


def test_the_command_sends_the_key_of_the_environment_and_asks_for_one(
    control: Control, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = secret_of(make_key(control, "train"))

    def rlt(*arguments: str) -> int | str | None:
        with pytest.raises(SystemExit) as ended:
            main(["--base-url", "http://app", *arguments], transport=AppTransport(control.http))
        return ended.value.code

    assert rlt("jobs", "list") == 6
    assert "RLT_API_KEY" in capsys.readouterr().err
    monkeypatch.setenv("RLT_API_KEY", secret)
    assert rlt("jobs", "list") == 0
    printed = capsys.readouterr()
    assert secret not in printed.out + printed.err
