import pytest

from rlt_core.errors import InvalidRequestError
from rlt_service.engine.protocol import EngineInfo, SequenceScoreRequest
from rlt_service.engine.request_checks import check_score

PLAIN = EngineInfo(
    name="vllm",
    version="0.32.0",
    base_model="builtin:smollm2-135m",
    dtype="float32",
    device="cpu",
    max_model_len=100,
    max_lora_rank=8,
    scoring="plain",
)


def at_temperature(temperature: float) -> SequenceScoreRequest:
    return SequenceScoreRequest(token_ids=(5, 6), start=1, temperature=temperature, adapter=None)


def test_engine_whose_worker_failed_its_check_refuses_other_temperatures_than_one() -> None:
    with pytest.raises(InvalidRequestError, match=r"temperature 1 only \(got 0\.7\)"):
        check_score(at_temperature(0.7), info=PLAIN, vocab_size=10)
    check_score(at_temperature(1.0), info=PLAIN, vocab_size=10)
