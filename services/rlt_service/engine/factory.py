"""Make the engine that the settings name. vLLM is imported only where it is asked for: it takes seconds."""

from collections.abc import Callable
from typing import Literal

from rlt_service.engine.protocol import Engine, Weights
from rlt_service.engine.vllm_environment import vllm_environment
from rlt_service.settings import Settings

FAKE_BASE = "fake"


def create_engine(settings: Settings, weights: Weights | None = None) -> Engine:
    """Make the engine, not started yet; without `weights` it holds the base that the settings name."""
    return _ENGINES[settings.engine](settings, weights or Weights(base_model=base_reference(settings)))


def base_reference(settings: Settings) -> str:
    """Name the base that the settings mean: where its files are, or the builtin's name; the fake engine has its own."""
    return FAKE_BASE if settings.engine == "fake" else settings.base_model


def _vllm(settings: Settings, weights: Weights) -> Engine:
    with vllm_environment(settings.home):  # vLLM sets its logging up as it is imported
        from rlt_service.engine.vllm_engine import VllmEngine

    return VllmEngine(settings, weights)


def _fake(settings: Settings, weights: Weights) -> Engine:
    from rlt_service.engine.fake_engine import FakeEngine

    return FakeEngine.from_settings(settings, weights)


_ENGINES: dict[Literal["vllm", "fake"], Callable[[Settings, Weights], Engine]] = {"vllm": _vllm, "fake": _fake}
