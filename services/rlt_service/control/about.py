"""Own what the server says of itself: formats, limits, engine, kinds of job."""

from collections.abc import Sequence
from importlib.metadata import version

from rlt_core.formats import FORMATS, Format, get_format
from rlt_core.schemas.server import Capabilities, EngineCapabilities, FormatInfo, FormatList, Limits
from rlt_service.control.specs import KINDS
from rlt_service.engine.protocol import Engine
from rlt_service.settings import Settings

MAX_SAMPLES = 64
MAX_BATCH_ITEMS = 256


def formats() -> FormatList:
    """List every format."""
    return FormatList(data=[_info(found) for found in FORMATS.values()])


def format_info(format_id: str) -> FormatInfo:
    """Give one format; `+folded` says that a template without a system role has the instruction in the user's turn.

    Raises NotFoundError.
    """
    return _info(get_format(format_id.removesuffix("+folded"))).model_copy(update={"id": format_id})


def capabilities(
    settings: Settings, *, engines: Sequence[tuple[str, Engine]], base_model: str, models: Sequence[str]
) -> Capabilities:
    """Sum up what this server is and takes; `engines` run now, each with what it holds."""
    return Capabilities(
        version=version("rlt"),
        roles=list(settings.roles),
        formats=sorted({engine.codec.format_id for _, engine in engines}) or sorted(FORMATS),
        engine=next((_engine(holds, engine) for holds, engine in engines if holds == base_model), None),
        engines=[_engine(holds, engine) for holds, engine in engines],
        limits=Limits(
            max_body_bytes=settings.max_body_bytes,
            max_dataset_bytes=settings.max_dataset_bytes,
            max_samples=MAX_SAMPLES,
            max_batch_items=MAX_BATCH_ITEMS,
            max_json_depth=settings.max_json_depth,
            max_text_characters=settings.max_text_characters,
        ),
        job_kinds=list(KINDS),
        models=list(models),
    )


def _engine(holds: str, engine: Engine) -> EngineCapabilities:
    info = engine.info
    return EngineCapabilities(
        holds=holds,
        name=info.name,
        version=info.version,
        base_model=info.base_model,
        dtype=info.dtype,
        device=info.device,
        max_model_len=info.max_model_len,
        max_lora_rank=info.max_lora_rank,
        scoring=info.scoring,
    )


def _info(found: Format) -> FormatInfo:
    return FormatInfo(
        id=found.id,
        tags={
            "thought_open": found.thought_open,
            "thought_close": found.thought_close,
            "solution_open": found.solution_open,
            "solution_close": found.solution_close,
            "explanation_open": found.explanation_open,
            "explanation_close": found.explanation_close,
        },
        instructions={"teacher": found.teacher_instruction, "student": found.student_instruction},
    )
