"""Make the engine that the settings name. vLLM is imported only where it is asked for: it takes seconds."""

from collections.abc import Callable
from typing import Literal

from rlt_service.engine.protocol import Engine
from rlt_service.engine.vllm_environment import vllm_environment
from rlt_service.settings import Settings


def create_engine(settings: Settings) -> Engine:
    """Make the engine, not started yet."""
    return _ENGINES[settings.engine](settings)


def _vllm(settings: Settings) -> Engine:
    with vllm_environment(settings.home):  # vLLM sets its logging up as it is imported
        from rlt_service.engine.vllm_engine import VllmEngine

    return VllmEngine(settings)


def _fake(settings: Settings) -> Engine:
    from rlt_service.engine.fake_engine import FakeEngine

    return FakeEngine.from_settings(settings)


_ENGINES: dict[Literal["vllm", "fake"], Callable[[Settings], Engine]] = {"vllm": _vllm, "fake": _fake}
