"""Text to token ids and back: the one implementation of `rlt_core.tokens.SequenceCodec`. No torch of our own."""

from rlt_tokens.byte_tokenizer import byte_codec, save_byte_tokenizer
from rlt_tokens.codec import TokenizerCodec
from rlt_tokens.load import codec_from_tokenizer, load_codec

__all__ = ["TokenizerCodec", "byte_codec", "codec_from_tokenizer", "load_codec", "save_byte_tokenizer"]
