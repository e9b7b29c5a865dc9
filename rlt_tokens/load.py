"""Own the way from a model's tokenizer to a codec."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from rlt_core.errors import ConfigurationError
from rlt_core.formats import Segment, SegmentKind, get_format
from rlt_tokens.chat_template import ChatTemplate, TemplateLayout, read_layout
from rlt_tokens.codec import TokenizerCodec
from rlt_tokens.plain import full_tokenizer, plain_tokenizer
from rlt_tokens.proof import prove_round_trip
from rlt_tokens.token_bytes import read_token_bytes

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DEFAULT_FORMAT = "stratos@1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerSource:
    """What a codec is made of: a tokenizer.json, a chat template and its variables, the ids that end a text."""

    tokenizer_json: str
    chat_template: str | None
    special_tokens: Mapping[str, Any]
    """Variables of the template, such as `bos_token`."""
    end_token_ids: frozenset[int]
    layout: TemplateLayout | None = None
    """What the template writes, where that is known; else it is rendered, which takes transformers."""


def load_codec(model_dir: Path, *, format_id: str = DEFAULT_FORMAT) -> TokenizerCodec:
    """Load the tokenizer of a model folder and prove it.

    Raises ConfigurationError for a folder without a usable tokenizer, and all that `build_codec` refuses.
    """
    # Here, because it brings torch along and importing this package must stay cheap.
    from transformers import AutoTokenizer

    if not model_dir.is_dir():
        raise ConfigurationError(f"no model folder at {model_dir}: give the path of a folder with tokenizer.json")
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(model_dir), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises bare Exception for a file that it cannot read
        raise ConfigurationError(
            f"the tokenizer in {model_dir} cannot be loaded ({type(error).__name__}: {error}): the folder needs a "
            "whole tokenizer.json and tokenizer_config.json"
        ) from error
    return codec_from_tokenizer(tokenizer, format_id=format_id, end_token_ids=_configured_end_ids(model_dir))


def codec_from_tokenizer(
    tokenizer: "PreTrainedTokenizerBase", *, format_id: str = DEFAULT_FORMAT, end_token_ids: Iterable[int] = ()
) -> TokenizerCodec:
    """Make a codec of a transformers tokenizer in memory; `end_token_ids` are those beside its own EOS."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ConfigurationError(
            f"{type(tokenizer).__name__} has no fast tokenizer (tokenizer.json): convert it with transformers and "
            "save it beside the model"
        )
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    source = TokenizerSource(
        tokenizer_json=backend.to_str(),
        chat_template=template,
        special_tokens=dict(tokenizer.special_tokens_map),
        end_token_ids=_id_set(tokenizer.eos_token_id) | frozenset(end_token_ids),
    )
    return build_codec(source, format_id=format_id)


def build_codec(source: TokenizerSource, *, format_id: str = DEFAULT_FORMAT) -> TokenizerCodec:
    """Make a codec and prove it.

    Raises ConfigurationError for a tokenizer without a chat template, with one that does not keep texts, or that
    does not give back, segment by segment, the text that went in; NotFoundError for an unknown format.
    """
    if not source.chat_template:
        raise ConfigurationError(
            "the tokenizer has no chat template: use an instruction-tuned model, or add chat_template.jinja to its "
            "folder"
        )
    tokenizer = json.loads(source.tokenizer_json)
    if (kind := tokenizer["model"]["type"]) != "BPE":
        raise ConfigurationError(
            f"the tokenizer's model is {kind}, which cannot be kept from losing text or from making control tokens "
            "out of it: use a model with a byte-level BPE tokenizer"
        )
    token_bytes = read_token_bytes(tokenizer)
    added = {token["id"] for token in tokenizer["added_tokens"]}
    if strange := source.end_token_ids - added:
        raise ConfigurationError(
            f"the model names {sorted(strange)} as end tokens (eos_token_id), which are no added tokens of its "
            "tokenizer: correct eos_token_id in config.json and generation_config.json"
        )
    holes = {token_id for token_id, piece in enumerate(token_bytes.by_id) if piece is None}
    layout = source.layout or read_layout(source.chat_template, special_tokens=source.special_tokens)
    full = full_tokenizer(tokenizer)
    control = frozenset(added | holes)
    plain = plain_tokenizer(tokenizer, control_token_ids=control)
    codec = TokenizerCodec(
        format=get_format(format_id),
        folded=layout.folded,
        layout=[_with_template_ids(segment, full) for segment in layout.segments],
        chat=ChatTemplate(source.chat_template, special_tokens=source.special_tokens, tokenizer=full),
        plain=plain,
        token_bytes=token_bytes,
        control_token_ids=control,
        end_token_ids=source.end_token_ids,
        fingerprint=_fingerprint(plain, control_token_ids=control),
    )
    prove_round_trip(codec, control_texts=[token["content"] for token in tokenizer["added_tokens"]])
    return codec


def _fingerprint(plain: Tokenizer, *, control_token_ids: frozenset[int]) -> str:
    facts = json.dumps([plain.to_str(), sorted(control_token_ids)])
    return f"sha256:{hashlib.sha256(facts.encode()).hexdigest()[:16]}"


def _with_template_ids(segment: Segment, full: Tokenizer) -> Segment:
    if segment.kind is not SegmentKind.TEMPLATE:
        return segment
    return replace(segment, token_ids=tuple(full.encode(segment.text, add_special_tokens=False).ids))


def _configured_end_ids(model_dir: Path) -> frozenset[int]:
    found: set[int] = set()
    for name in ("config.json", "generation_config.json"):
        path = model_dir / name
        if not path.is_file():
            continue
        try:
            found |= _id_set(json.loads(path.read_text(encoding="utf-8")).get("eos_token_id"))
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigurationError(f"{path} cannot be read for its eos_token_id ({error}): correct it") from error
    return frozenset(found)


def _id_set(value: Any) -> frozenset[int]:
    values = value if isinstance(value, list) else [value]
    return frozenset(int(token_id) for token_id in values if token_id is not None)
