"""A vocabulary as GGUF has it, whatever file it came from: what each id stands for, and how a text is cut."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import ModelInvalid
from ..gguf import ArrayOf, TokenType, ValueType
from .checkpoint import Metadata

DEFAULT_TEMPLATE = "default"


@dataclass
class Vocabulary:
    """Token id → text, score (higher merges first; none with `merges`) and type; the special ids, None where unset.

    `model` is GGUF's name of the algorithm: "llama" is sentencepiece's BPE, "gpt2" byte-level BPE with `merges`, whose
    words are found as `pre` names it.
    """

    tokens: list[str]
    scores: list[float]
    types: list[TokenType]
    unk: int | None
    bos: int | None
    eos: int | None
    add_space_prefix: bool | None  # a space before the text; None where the algorithm has none
    model: str = "llama"
    pre: str | None = None
    merges: list[str] = field(default_factory=list)
    pad: int | None = None
    eot: int | None = None  # end of turn
    eom: int | None = None  # end of a message that goes on
    add_bos: bool | None = None  # None: where there is a bos
    add_eos: bool = False
    templates: dict[str, str] = field(default_factory=dict)  # chat templates by name

    def metadata(self, n_vocab: int) -> Metadata:
        """The tokenizer's keys, filled up to the embedding's `n_vocab` rows with unused tokens."""
        if len(self.tokens) > n_vocab:
            raise ModelInvalid(f"The tokenizer has {len(self.tokens)} tokens, the embedding only {n_vocab} rows.")
        spare = range(len(self.tokens), n_vocab)
        metadata: Metadata = {"tokenizer.ggml.model": (ValueType.STRING, self.model)}
        if self.pre is not None:
            metadata["tokenizer.ggml.pre"] = (ValueType.STRING, self.pre)
        metadata["tokenizer.ggml.tokens"] = (ArrayOf(ValueType.STRING), self.tokens + [f"[PAD{i}]" for i in spare])
        if self.model != "gpt2":
            scores = self.scores + [-10000.0 for _ in spare]
            metadata["tokenizer.ggml.scores"] = (ArrayOf(ValueType.FLOAT32), scores)
        types = self.types + [TokenType.UNUSED for _ in spare]
        metadata["tokenizer.ggml.token_type"] = (ArrayOf(ValueType.INT32), types)
        if self.model == "gpt2":
            metadata["tokenizer.ggml.merges"] = (ArrayOf(ValueType.STRING), self.merges)
        ids = {"bos": self.bos, "eos": self.eos, "unknown": self.unk, "padding": self.pad}
        for key, token in (ids | {"eot": self.eot, "eom": self.eom}).items():
            if token is not None:
                metadata[f"tokenizer.ggml.{key}_token_id"] = (ValueType.UINT32, token)
        add_bos = self.bos is not None and self.add_bos is not False
        metadata["tokenizer.ggml.add_bos_token"] = (ValueType.BOOL, add_bos)
        metadata["tokenizer.ggml.add_eos_token"] = (ValueType.BOOL, self.add_eos and self.eos is not None)
        if self.add_space_prefix is not None:
            metadata["tokenizer.ggml.add_space_prefix"] = (ValueType.BOOL, self.add_space_prefix)
        return metadata | self._templates()

    def _templates(self) -> Metadata:
        """The default under its key; others beside it, and a list of their names."""
        out: Metadata = {}
        others = sorted(name for name in self.templates if name != DEFAULT_TEMPLATE)
        if DEFAULT_TEMPLATE in self.templates:
            out["tokenizer.chat_template"] = (ValueType.STRING, self.templates[DEFAULT_TEMPLATE])
        if others:
            out["tokenizer.chat_templates"] = (ArrayOf(ValueType.STRING), others)
        for name in others:
            out[f"tokenizer.chat_template.{name}"] = (ValueType.STRING, self.templates[name])
        return out
