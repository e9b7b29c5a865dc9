"""Ways to spoil a good call, for the rows of the table of bad inputs; each gives one row."""

from typing import Any

from tests.support.bad_input import BadInput
from tests.support.bad_input_server import QUESTION

EXPLAIN, SCORE, TRAIN, UPLOAD = "POST /v1/explain", "POST /v1/score", "POST /v1/train", "POST /v1/datasets"
SCORED: dict[str, Any] = QUESTION | {"explanations": ["4"]}
RL = {"kind": "rl", "dataset": "$dataset", "target_name": "made"}
WARMUP = {"kind": "warmup", "role": "teacher", "dataset": "$dataset", "target_name": "made"}
EVALUATE = {"kind": "evaluate", "dataset": "$dataset", "model": "default", "verdict": "exact"}
DISTILL = {"kind": "distill", "dataset": "$dataset", "target_name": "made"}
RLVR = {"kind": "rlvr", "dataset": "$dataset", "target_name": "made", "verdict": "exact"}
COLLECT = {"kind": "collect", "dataset": "$dataset"}
STEPS: list[dict[str, Any]] = [
    {"id": "collect", "spec": COLLECT},
    {"id": "distil", "spec": DISTILL | {"dataset": "$collect.dataset"}},
]
ROW = b'{"question": "1 + 1?", "solution": "2"}\n'
JSONL = {"Content-Type": "application/jsonl"}
FORM = {"Content-Type": "multipart/form-data; boundary=b"}
FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="rows.jsonl"\r\n\r\n'
LONG = "word " * 3000
NO_JOB, NO_DATASET, NO_EVALUATION = "job_" + "0" * 20, "ds_" + "0" * 20, "eval_" + "0" * 20
ROLLOUT = "job_0123456789abcdef.1@3"
KEY = "Idempotency-Key"


def explain(name: str, param: str | None, why: str, /, *, code: str = "invalid_request", **fields: Any) -> BadInput:
    """Spoil a good request of /v1/explain."""
    return BadInput(name=name, call=EXPLAIN, body=QUESTION | fields, code=code, param=param, why=why)


def score(name: str, param: str | None, why: str, /, *, code: str = "invalid_request", **fields: Any) -> BadInput:
    """Spoil a good request of /v1/score."""
    return BadInput(name=name, call=SCORE, body=SCORED | fields, code=code, param=param, why=why)


def tokens(name: str, field: str, why: str, /, *, code: str = "invalid_request", place: str = "") -> BadInput:
    """Spoil the tokens of an explanation; `name` is the server's name for such tokens."""
    entry = {"tokens": f"$tokens_{name}"}
    param = f"/explanations/0/{place or f'tokens/{field}'}"
    said = f"tokens with {field}: {name.replace('_', ' ')}"
    return BadInput(name=said, call=SCORE, body=SCORED | {"explanations": [entry]}, code=code, param=param, why=why)


def train(name: str, param: str | None, why: str, /, *, code: str = "invalid_request", **fields: Any) -> BadInput:
    """Spoil a good submission; `status_` is another than 422."""
    status = fields.pop("status_", 422)
    return BadInput(name=name, call=TRAIN, body=RL | fields, status=status, code=code, param=param, why=why)


def evaluate(name: str, param: str | None, why: str, /, *, code: str = "invalid_request", **fields: Any) -> BadInput:
    """Spoil a submission of an evaluate, whose dataset has no answers; `status_` is another than 422."""
    status = fields.pop("status_", 422)
    return BadInput(name=name, call=TRAIN, body=EVALUATE | fields, status=status, code=code, param=param, why=why)


def collect(name: str, param: str | None, why: str, /, *, code: str = "invalid_request", **fields: Any) -> BadInput:
    """Spoil a good collect; `status_` is another than 422."""
    status = fields.pop("status_", 422)
    return BadInput(name=name, call=TRAIN, body=COLLECT | fields, status=status, code=code, param=param, why=why)


def rlvr(name: str, param: str | None, why: str, /, *, code: str = "invalid_request", **fields: Any) -> BadInput:
    """Spoil a submission of an rlvr, whose dataset has no answers."""
    return BadInput(name=name, call=TRAIN, body=RLVR | fields, code=code, param=param, why=why)


def pipeline(name: str, param: str, why: str, /, *, code: str = "invalid_request", **fields: Any) -> BadInput:
    """Spoil a good pipeline of a collect and a distill; `more` are fields of the second step's spec."""
    first, second = STEPS
    status, more = fields.pop("status_", 422), fields.pop("more", {})
    steps = [first, second | {"spec": second["spec"] | more}]
    body = {"kind": "pipeline", "steps": steps} | fields
    return BadInput(name=name, call=TRAIN, body=body, status=status, code=code, param=param, why=why)


def unread(name: str, content: bytes | tuple[bytes, ...], why: str, /, **answer: Any) -> BadInput:
    """Send /v1/explain a body that is not read as JSON."""
    return BadInput(name=name, call=EXPLAIN, body=content, why=why, **(UNREAD | answer))


def upload(name: str, content: object, why: str, /, *, query: str = "", **answer: Any) -> BadInput:
    """Send /v1/datasets a body."""
    return BadInput(
        name=name,
        call=UPLOAD + query,
        body=content,
        why=why,
        **({"headers": JSONL, "code": "invalid_dataset"} | answer),
    )


def absent(name: str, call: str, why: str, /, *, code: str = "not_found", param: str | None = None) -> BadInput:
    """Call what is not there."""
    return BadInput(name=name, call=call, status=404, code=code, param=param, why=why)


def query(name: str, call: str, param: str, why: str, /, *, code: str = "invalid_request") -> BadInput:
    """Give a parameter of the query a value that it cannot have."""
    return BadInput(name=name, call=call, code=code, param=param, why=why)


def header(name: str, call: str, field: str, value: str, why: str, /, body: object = None, **answer: Any) -> BadInput:
    """Give a header a value that it cannot have."""
    sent = {"body": body} if body is not None else {}
    given: dict[str, Any] = {"param": f"/{field}"} | answer
    return BadInput(name=name, call=call, headers={field: value}, why=why, **sent, **given)


MALFORMED: dict[str, Any] = {"code": "malformed_request"}
UNREAD: dict[str, Any] = {"status": 400, **MALFORMED}
TOO_LARGE: dict[str, Any] = {"status": 413, "code": "payload_too_large"}
WRONG_TYPE: dict[str, Any] = {"status": 415, "code": "unsupported_media_type"}
NOT_YET: dict[str, Any] = {"code": "not_available_yet"}
