"""The table of bad inputs: each differs from the others in kind, and each has its documented answer.

`test_bad_inputs.py` sends every row; docs/errors.md lists them.
"""

import gzip
import json

from tests.service.bad_inputs_control import CONTROL
from tests.support.bad_input import BadInput
from tests.support.bad_input_kinds import (
    EXPLAIN,
    KEY,
    LONG,
    NOT_YET,
    QUESTION,
    RL,
    SCORE,
    SCORED,
    TOO_LARGE,
    TRAIN,
    UPLOAD,
    WRONG_TYPE,
    absent,
    explain,
    header,
    score,
    tokens,
    unread,
)

PATHS = (
    absent("a path that is not there", "GET /v1/nothing", "/openapi.json lists what there is"),
    absent("another version of the contract", "POST /v2/explain", "/openapi.json lists"),
    absent("a path with a slash too many", "GET /v1/jobs/", "/openapi.json lists"),
    absent("a path that climbs", "GET /v1/formats/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/openapi.json lists"),
    BadInput(
        name="a method that the path does not take",
        call="GET /v1/explain",
        status=405,
        code="method_not_allowed",
        why="/openapi.json lists what it takes",
    ),
    BadInput(
        name="a method that only other paths take",
        call="DELETE /v1/aliases/teacher/main",
        status=405,
        code="method_not_allowed",
        why="does not take DELETE",
    ),
)

BODIES = (
    unread("no body", b"", "empty"),
    unread("JSON that ends early", b'{"question": "x"', "not JSON"),
    unread("a trailing comma", b'{"question": "x", "solution": "y",}', "trailing comma"),
    unread("quotes of another language", b"{'question': 'x', 'solution': 'y'}", "not JSON"),
    unread("two values in one body", json.dumps(QUESTION).encode() * 2, "not JSON"),
    unread("NaN", b'{"question": "x", "solution": "y", "temperature": NaN}', "NaN and Infinity"),
    unread("a field twice", b'{"question": "x", "solution": "y", "question": "z"}', 'duplicate key "question"'),
    unread(
        "a field twice, deep inside", b'{"question": "x", "sampling": [{"a": 1, "\\u0061": 2}]}', "name each field once"
    ),
    unread("Infinity", b'{"question": "x", "solution": "y", "temperature": -Infinity}', "NaN and Infinity"),
    unread("bytes that are no UTF-8", b'{"question": "\xff", "solution": "y"}', "not JSON"),
    unread("UTF-16", json.dumps(QUESTION).encode("utf-16"), "not JSON"),
    unread("a byte order mark", b"\xef\xbb\xbf" + json.dumps(QUESTION).encode(), "not JSON"),
    unread("half of a surrogate pair", b'{"question": "\\ud800", "solution": "y"}', "not JSON"),
    unread("a raw control character in a string", b'{"question": "\x00", "solution": "y"}', "not JSON"),
    unread("an integer of 5,000 digits", b'{"seed": 1' + b"0" * 5000 + b"}", "not JSON"),
    unread("lists nested without end", b"[" * 60_000, "not JSON"),
    unread("lists nested deeper than the limit", b"[" * 40 + b"]" * 40, "32 levels"),
    unread("objects nested deeper than the limit", b'{"a":' * 33 + b"1" + b"}" * 33, "32 levels"),
    unread("a body larger than the limit", b" " * (2**16 + 1), "65536 bytes", **TOO_LARGE),
    unread("chunks beyond the limit", (b" " * 2**14,) * 5, "65536 bytes", **TOO_LARGE),
    unread(
        "an announced length beyond the limit", b"{}", "65536 bytes", headers={"Content-Length": "65537"}, **TOO_LARGE
    ),
    unread(
        "a compressed body",
        gzip.compress(json.dumps(QUESTION).encode(), mtime=0),
        "compressed (gzip): send it plain",
        headers={"Content-Encoding": "gzip"},
        **WRONG_TYPE,
    ),
    unread(
        "JSON that says it is text",
        b"{}",
        "Content-Type: application/json",
        headers={"Content-Type": "text/plain"},
        **WRONG_TYPE,
    ),
    unread("JSON of no stated type", b"{}", "of no stated type", headers={"Content-Type": ""}, **WRONG_TYPE),
    unread(
        "a form with parts",
        b"--b--",
        "multipart/form-data",
        headers={"Content-Type": "multipart/form-data; boundary=b"},
        **WRONG_TYPE,
    ),
    unread(
        "a form",
        b"question=x&solution=y",
        "application/x-www-form-urlencoded",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        **WRONG_TYPE,
    ),
    BadInput(name="a list for an object", call=EXPLAIN, body=[], param="", why="object"),
    BadInput(name="a string for an object", call=SCORE, body="question", param="", why="object"),
    BadInput(name="null for an object", call=EXPLAIN, body=None, param="", why="missing"),
    unread(
        "a number above all floats",
        b'{"question": "x", "solution": "y", "temperature": 1e999}',
        "finite",
        status=422,
        code="invalid_request",
        param="/temperature",
    ),
)

HEADERS = (
    header("a flow whose name is too long", EXPLAIN, "RLT-Flow", "a" * 201, "200", QUESTION),
    header("no time at all", EXPLAIN, "X-Request-Timeout-Ms", "0", "got '0'", QUESTION),
    header("a time that is no number", SCORE, "X-Request-Timeout-Ms", "soon", "integer", SCORED),
    header("a time in halves", EXPLAIN, "X-Request-Timeout-Ms", "0.5", "integer", QUESTION),
    header("a time of 400 digits", EXPLAIN, "X-Request-Timeout-Ms", "9" * 400, "less than or equal", QUESTION),
    header("a blank key", TRAIN, KEY, " ", "random UUID", RL),
    header("a key of 256 characters", UPLOAD, KEY, "k" * 256, "1 to 255", b"x"),
    header("a key with a space", EXPLAIN, KEY, "a b", "visible ASCII", QUESTION),
    header("a key that another call had", SCORE, KEY, "used", "new key", SCORED, code="idempotency_key_reused"),
    header("a key with a stream", EXPLAIN, KEY, "s", "leave it out", QUESTION | {"stream": True}, **NOT_YET),
    header("a key with a batch", "POST /v1/score/batch", KEY, "s", "leave it out", {"items": [SCORED]}, **NOT_YET),
    header(
        "a page of another site",
        TRAIN,
        "Origin",
        "https://elsewhere.example",
        "from a program",
        RL,
        status=403,
        code="forbidden",
        param=None,
    ),
    header(
        "a page of another host of the site",
        "DELETE /v1/datasets/$dataset",
        "Sec-Fetch-Site",
        "same-site",
        "from a program",
        status=403,
        code="forbidden",
        param=None,
    ),
    header(
        "an event id that is no number",
        "GET /v1/jobs/$job_ended/events",
        "Last-Event-ID",
        "x",
        "integer",
        param="/last-event-id",
    ),
    header(
        "an event id before the first",
        "GET /v1/jobs/$job_ended/events",
        "Last-Event-ID",
        "-1",
        "got '-1'",
        param="/last-event-id",
    ),
)

EXPLANATIONS = (
    BadInput(name="no question", call=EXPLAIN, body={"solution": "42"}, param="/question", why="missing"),
    explain("an empty question", "/question", "empty", question=""),
    explain("a question of spaces", "/question", "empty", question=" \n"),
    explain("an empty solution", "/solution", "empty", solution=""),
    explain("a solution of spaces", "/solution", "empty", solution="\t"),
    explain("a number for a text", "/question", "string", question=17),
    explain("null for a text", "/solution", "string", solution=None),
    explain("a text beyond its characters", "/question", "20001", question="x" * 20_001),
    explain(
        "a field that is mistyped", "/temprature", "did you mean 'temperature'?", code="unknown_field", temprature=1
    ),
    explain("a field that others call so", "/answer", "did you mean 'solution'?", code="unknown_field", answer="42"),
    explain("a field far from any", "/zzz", "known here: include, max_tokens", code="unknown_field", zzz=1),
    explain("a field with a slash and a tilde", "/a~1b~0c", "a/b~c", code="unknown_field", **{"a/b~c": 1}),
    explain("a field of 50,000 characters", "/" + "a" * 200, "no field", code="unknown_field", **{"a" * 50_000: 1}),
    explain("a number written as a text", "/n", "got '2'", n="2"),
    explain("true for a number", "/seed", "got True", seed=True),
    explain("0 for a boolean", "/stream", "boolean", stream=0),
    explain("no explanation wanted", "/n", "got 0", n=0),
    explain("more explanations than one call gives", "/n", "64", n=65),
    explain("half an explanation", "/n", "got 1.5", n=1.5),
    explain("more at once than the server ever takes", None, "takes 32", n=33, max_tokens=16),
    explain("hotter than can be sampled", "/temperature", "2", temperature=2.5),
    explain("nearly greedy", "/temperature", "0 (greedy) or at least 0.01; got 0.0099", temperature=0.0099),
    explain("colder than any float32", "/temperature", "0 (greedy) or at least 0.01; got 5e-324", temperature=5e-324),
    explain("no probability kept", "/top_p", "0", top_p=0),
    explain("fewer tokens than none", "/top_k", "got -1", top_k=-1),
    explain("an integer of 40 digits", "/seed", "got 1000", seed=10**40),
    explain("a negative seed", "/seed", "got -1", seed=-1),
    explain("no tokens wanted", "/max_tokens", "1", max_tokens=0),
    explain("a word for a boolean", "/stream", "boolean", stream="now"),
    explain("something else to include", "/include/0", "'tokens' or 'score'", include=["logits"]),
    explain("a list that is too long", "/include", "8", include=["tokens"] * 9),
    explain(
        "a completion that does not fit",
        "/max_tokens",
        "this engine holds 1024",
        code="prompt_too_long",
        max_tokens=1000,
    ),
    explain("a prompt that does not fit", "/question", "this engine holds 1024", code="prompt_too_long", question=LONG),
)


def unknown(name: str, teacher: str, why: str) -> BadInput:
    """Ask for a teacher that is not there."""
    body = QUESTION | {"teacher": teacher}
    return BadInput(name=name, call=EXPLAIN, body=body, status=404, code="model_not_found", param="/teacher", why=why)


NAMES = (
    unknown("a teacher that is not there", "nobody", "no teacher"),
    unknown("a version that is not there", "algebra@7", "no teacher"),
    unknown("a name that is nearly right", "defualt", "Did you mean default"),
    unknown("a name that climbs", "../etc", "no teacher"),
    unknown("a name with a NUL", "\x00", "no teacher"),
    unknown("a name with a line feed at its end", "default\n", "no teacher"),
    unknown("a policy that no job has published", "job_0123456789abcdef.1@3", "never published"),
    unknown("a version of another base", "$foreign", "RLT_BASE_MODEL=other"),
    explain("an empty name", "/teacher", "is empty", teacher=""),
    BadInput(
        name="a student that is not there",
        call=SCORE,
        body=SCORED | {"student": "nobody"},
        status=404,
        code="model_not_found",
        param="/student",
        why="no student",
    ),
)

BATCHES = (
    BadInput(name="a batch of nothing", call="POST /v1/explain/batch", body={"items": []}, param="/items", why="1"),
    BadInput(
        name="a batch of too many",
        call="POST /v1/score/batch",
        body={"items": [SCORED] * 257},
        param="/items",
        why="256",
    ),
    BadInput(name="a batch without items", call="POST /v1/score/batch", body={}, param="/items", why="missing"),
    BadInput(
        name="a request where a batch is wanted",
        call="POST /v1/explain/batch",
        body=QUESTION,
        code="unknown_field",
        param="/question",
        why="known here: items",
    ),
)

SCORES = (
    BadInput(name="no explanations", call=SCORE, body=QUESTION, param="/explanations", why="missing"),
    score("an empty solution to score", "/solution", "empty", solution=""),
    score("a question of spaces to score", "/question", "empty", question=" "),
    score("an answer beside the solution", "/answer", "'solution'", code="unknown_field", answer="4"),
    score("an empty list of explanations", "/explanations", "1", explanations=[]),
    score("more explanations than one call scores", "/explanations", "256", explanations=["4"] * 257),
    score("a number for an explanation", "/explanations/0", "string", explanations=[5]),
    score("null for an explanation", "/explanations/1", "string", explanations=["4", None]),
    score("one explanation beside several", "/explanation", "explanations", code="unknown_field", explanation="4"),
    score(
        "an entry's field that is mistyped",
        "/explanations/0/txt",
        "'text'",
        code="unknown_field",
        explanations=[{"txt": "4"}],
    ),
    score("an explanation beyond its characters", "/explanations/1", "20001", explanations=["4", "x" * 20_001]),
    score(
        "an explanation that does not fit",
        "/explanations/1",
        "what the student reads has",
        code="prompt_too_long",
        explanations=["4", LONG],
    ),
    score(
        "a solution that does not fit",
        "/explanations/0",
        "this engine holds 1024",
        code="prompt_too_long",
        solution=LONG,
    ),
    score(
        "a reward's field that is mistyped", "/reward/kl_men", "'kl_mean'", code="unknown_field", reward={"kl_men": 1}
    ),
    score("a reward at temperature 0", "/reward/temperature", "got 0", reward={"temperature": 0}),
    score("an estimator that is not there", "/reward/kl_estimator", "'k1'", reward={"kl_estimator": "k2"}),
    score("a penalty that rewards", "/reward/format_penalty", "less than or equal to 0", reward={"format_penalty": 1}),
    score("a coefficient beyond its bounds", "/reward/kl_mean", "1000000", reward={"kl_mean": 1e9}),
    score(
        "scores of different terms",
        "/explanations/1",
        "terms",
        code="mixed_terms",
        explanations=[{"tokens": "$tokens_as_given"}, "4"],
    ),
    score(
        "log-probs at two temperatures",
        "/explanations/1",
        "0.7",
        code="mixed_terms",
        explanations=[{"tokens": "$tokens_as_given"}, {"tokens": "$tokens_other_temperature"}],
    ),
    score(
        "a divergence beyond all numbers",
        "/reward/kl_estimator",
        "use k1",
        explanations=[{"tokens": "$tokens_sunk_logprobs"}],
        reward={"kl_estimator": "k3"},
    ),
    score(
        "a text that its ids do not say",
        "/explanations/0/text",
        "not what the token ids say",
        explanations=[{"tokens": "$tokens_as_given", "text": "else"}],
    ),
    score(
        "a closing that its ids do not hold",
        "/explanations/0/well_formed",
        "as /explain gave them",
        explanations=[{"tokens": "$tokens_as_given", "well_formed": False}],
    ),
)

TOKENS = (
    tokens("control_id", "completion_token_ids", "control token", code="invalid_token_ids"),
    tokens("end_in_the_middle", "completion_token_ids", "control token", code="invalid_token_ids"),
    tokens("beyond", "completion_token_ids", "no token id", code="invalid_token_ids"),
    tokens("negative", "completion_token_ids", "no token id", code="invalid_token_ids"),
    tokens("huge", "completion_token_ids", "no token id", code="invalid_token_ids"),
    tokens("half_ids", "completion_token_ids", "integer", place="tokens/completion_token_ids/0"),
    tokens("short_logprobs", "completion_logprobs", "exactly one for each"),
    tokens("positive_logprob", "completion_logprobs", "natural logs", place="tokens/completion_logprobs/0"),
    tokens("hopeless_logprob", "completion_logprobs", "natural logs", place="tokens/completion_logprobs/0"),
    tokens("short_span", "explanation", "by the token ids"),
    tokens("long_span", "explanation", "by the token ids"),
    tokens("turned_span", "explanation", "by the token ids"),
    tokens("one_sided_span", "explanation", "missing"),
    tokens("straddled", "straddled", "by the token ids"),
    tokens("cold", "temperature", "greater than or equal to 0.01"),
    tokens("nearly_cold", "temperature", "greater than or equal to 0.01"),
    tokens("strange_tokenizer", "tokenizer", "send the text alone"),
    tokens("long_tokenizer", "tokenizer", "100"),
    tokens("unknown_field", "logprobs", "completion_logprobs", code="unknown_field"),
)

GROUPS = {
    "Paths and methods": PATHS,
    "Bodies, whatever the call": BODIES,
    "Headers": HEADERS,
    "Explanations": (*EXPLANATIONS, *NAMES),
    "Batches": BATCHES,
    "Scores": SCORES,
    "Tokens of an explanation": TOKENS,
    **CONTROL,
}
"""The table by what the rows are about, as the page has it."""
TABLE = tuple(row for rows in GROUPS.values() for row in rows)
