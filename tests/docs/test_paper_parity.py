"""docs/paper-parity.md names every hyper-parameter, with the defaults of the specs and the values of the ready ones."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from rlt_core.schemas.jobs import JOB_SPEC, AnySpec, DistillSpec, RlSpec, WarmupSpec
from rlt_core.schemas.score import RewardConfig

ROOT = Path(__file__).parents[2]
KINDS: dict[str, type[AnySpec]] = {"warmup": WarmupSpec, "distill": DistillSpec, "rl": RlSpec}
READY = {"warmup": "rlt_7b_warmup", "distill": "distill_7b", "rl": "rlt_7b_rl"}
ROW = re.compile(r"^\| [^|]+ \| `(warmup|distill|rl)\.([a-z_0-9.]+)` \| ([^|]+) \| ([^|]+) \|", re.MULTILINE)
NOT_OF_THE_METHOD = frozenset(
    (
        *(
            "kind",
            "role",
            "name",
            "dataset",
            "target_name",
            "base_model",
            "student_base",
            "splits",
            "promote",
            "resume_from",
        ),
        *("max_runtime_s", "priority", "not_before", "max_steps", "max_staleness", "importance_cap", "reward"),
        *("dynamic_sampling", "max_dropped", "divergence", "patience", "student_reduction"),
        *("gradient_checkpointing", "report_to", "parallel"),
    )
)
"""Fields that say which models, data and machine, and options that the paper's runs have not."""


def rows() -> list[tuple[str, str, str, str]]:
    found = ROW.findall((ROOT / "docs" / "paper-parity.md").read_text(encoding="utf-8"))
    return [(kind, field, paper.strip(), default.strip()) for kind, field, paper, default in found]


def ready(kind: str) -> dict[str, Any]:
    path = ROOT / "examples" / "specs" / f"{READY[kind]}.json"
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return read


def meant(cell: str) -> Any:
    """Read a cell: a number, true, false or null, else the words themselves."""
    try:
        return json.loads(cell.strip("`"))
    except ValueError:
        return cell.strip("`")


@pytest.mark.parametrize(("kind", "field", "paper", "default"), rows())
def test_a_row_has_the_default_and_the_ready_value(kind: str, field: str, paper: str, default: str) -> None:
    outer, _, inner = field.partition(".")
    mine: Any = (
        (RewardConfig if inner else KINDS[kind]).model_fields[inner or outer].get_default(call_default_factory=True)
    )
    if outer == "lora":
        assert (paper, default) == ("all (`null`)", f"rank {mine.rank}")
        assert ready(kind)["lora"] is None
        return
    assert meant(default) == mine
    if outer in ready(kind) and outer not in ("student", "teacher"):
        assert meant(paper) == (ready(kind)[outer][inner] if inner else ready(kind)[outer])


@pytest.mark.parametrize("kind", KINDS)
def test_every_hyper_parameter_has_a_row(kind: str) -> None:
    named = {field.partition(".")[0] for row_kind, field, _, _ in rows() if row_kind == kind}
    # A distillation's teacher says how its rows are made, not how they are learnt.
    others = NOT_OF_THE_METHOD | ({"teacher"} if kind == "distill" else set())
    assert named >= set(KINDS[kind].model_fields) - others
    if kind == "rl":
        parts = {field.partition(".")[2] for row_kind, field, _, _ in rows() if row_kind == "rl"} - {""}
        assert parts == set(RewardConfig.model_fields)


@pytest.mark.parametrize("kind", KINDS)
def test_a_ready_spec_is_one(kind: str) -> None:
    spec = JOB_SPEC.validate_json(json.dumps(ready(kind)))
    assert spec.kind == kind


def test_a_larger_student_is_distilled_with_the_same_values() -> None:
    text = (ROOT / "examples" / "specs" / "distill_32b.json").read_text(encoding="utf-8")
    large: dict[str, Any] = json.loads(text)
    assert JOB_SPEC.validate_json(text).kind == "distill"
    names = ("name", "student_base", "target_name")
    assert {name: large[name] for name in large if name not in names} == {
        name: value for name, value in ready("distill").items() if name not in names
    }
    assert large["student_base"] == "Qwen/Qwen2.5-32B-Instruct"
