"""LLaMA in the files of 2023 (`ggml_file`): what alpaca.cpp, dalai and the first llama.cpp ran. Blocks stay as they
are.

These files were made of Meta's layout and have its names. What they do not say (the norms' epsilon, the context) is
told from their age and their shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from ..errors import ModelInvalid, UsageError
from ..gguf import GGMLType, TokenType
from .checkpoint import Checkpoint, Packed
from .ggml_blocks import rounds_scales, today
from .ggml_file import Entry, GgmlFile, is_ggml
from .meta import Hyperparameters, metadata_of, ordered, renamed
from .tensor import F32, Beside, Stacked, Tensor, floats, row_width
from .vocabulary import Vocabulary

_MAX_PARTS = 8
_GIVEN_UP = {4: "Q4_2", 5: "Q4_3"}
_CUT_COLUMNS = ("token_embd", "attn_output", "ffn_down")  # as in Meta's parts of LLaMA 1
_FILE_TYPES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}  # as most files of these blocks were made

__all__ = ["GgmlCheckpoint", "is_ggml"]


class GgmlCheckpoint:
    """The open model of one file, or of its parts NAME, NAME.1, NAME.2, …"""

    architecture = "llama"
    default_type = stored_type = "f16"

    def __init__(self, path: Path) -> None:
        self.name = path.stem.encode(errors="replace").decode() or "llama"
        self.notes: list[str] = []
        self._files: list[GgmlFile] = []
        try:
            for part in _parts(path):
                self._files.append(GgmlFile(part))
            parts = [_tensors(file) for file in self._files]
            found = {name: _merged(name, [p[name] for p in parts if name in p], len(parts)) for name in parts[0]}
            first = self._files[0]
            h = self._hyperparameters(first, found)
            self.tensors: dict[str, Tensor | Packed] = ordered(found, h)
            self.metadata = metadata_of(h) | _vocabulary(first).metadata(h.n_vocab)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        entries = [e for file in self._files for e in file.tensors.values()]
        if any(rounds_scales(e.type, first.version) for e in entries):
            self.notes.append(
                "The scales of its blocks are rounded from float32 to float16, as the format has had them since "
                "May 2023: each weight moves by at most 1/2048 of itself. The weights' own bits are kept."
            )
        packed = [t for t in self.tensors.values() if isinstance(t, BlockTensor | Merged)]
        self.packed_type = _most(packed)

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for file in self._files:
            file.__exit__(kind, error, tb)

    def _hyperparameters(self, file: GgmlFile, found: dict[str, Tensor | Packed]) -> Hyperparameters:
        header = file.header
        for name in ("token_embd.weight", "blk.0.attn_k.weight", "blk.0.ffn_gate.weight"):
            if name not in found or len(found[name].shape) != 2:
                raise ModelInvalid(f"{file.path.name} has no matrix for {name}: it is no LLaMA.")
        if not header.n_head or header.n_embd % header.n_head or not header.n_embd:
            raise file.damaged(f"{header.n_head} heads of an embedding of {header.n_embd}")
        head = header.n_embd // header.n_head
        if header.n_layer > len(found) or head % 2 or header.n_rot not in (head, 0):
            raise file.damaged(f"{header.n_layer} layers, {header.n_rot} of {head} elements of a head turn")
        n_kv = found["blk.0.attn_k.weight"].shape[0] // head
        second = n_kv != header.n_head  # LLaMA 2's 70 B, the only one of its time whose heads share keys
        if file.version == 3 and not second:
            self.notes.append(
                "The file does not say whether it is LLaMA or LLaMA 2: norms get an epsilon between theirs (5e-6), "
                "which changes nothing that is seen, and the context is 2048 tokens."
            )
        return Hyperparameters(
            n_vocab=header.n_vocab,
            n_ctx=4096 if second else 2048,
            n_embd=header.n_embd,
            n_layer=header.n_layer,
            n_ff=found["blk.0.ffn_gate.weight"].shape[0],
            n_head=header.n_head,
            n_head_kv=max(1, n_kv),
            norm_eps=1e-5 if second else 5e-6 if file.version == 3 else 1e-6,
            rope_base=10000.0,
        )


def _parts(path: Path) -> list[Path]:
    parts = [path]
    while len(parts) < _MAX_PARTS and (next_part := path.with_name(f"{path.name}.{len(parts)}")).is_file():
        parts.append(next_part)
    return parts


class FloatTensor:
    """A tensor of float32 or float16, as `tensor.Tensor`."""

    def __init__(self, file: GgmlFile, entry: Entry) -> None:
        self.shape, self.dtype = entry.shape, "f16" if entry.type == 1 else "f32"
        self._file, self._entry = file, entry

    def read(self, start: int, stop: int) -> F32:
        width = row_width(self.shape)
        size = width * (2 if self.dtype == "f16" else 4)
        data = self._file.read(self._entry.offset + start * size, (stop - start) * size)
        return floats(data, self.dtype, self._entry.name, self._file.path.name).reshape(-1, width)


class BlockTensor:
    """A quantized matrix, as `checkpoint.Packed`."""

    def __init__(self, file: GgmlFile, entry: Entry) -> None:
        if entry.type in _GIVEN_UP:
            raise UsageError(
                f"{file.path.name} has blocks of {_GIVEN_UP[entry.type]}, which was given up in May 2023 and has no "
                "place in GGUF.",
                remedy="Get the model in another quantization, or convert the original checkpoint.",
            )
        self.shape, self.type = entry.shape, GGMLType(entry.type)
        self._file, self._entry = file, entry
        if len(entry.shape) != 2:
            raise file.damaged(f"its tensor {entry.name!r} is a vector of quantized blocks")

    def read_packed(self, start: int, stop: int) -> bytes:
        weights, size = self._file.blocks[self._entry.type]
        n = self.shape[1] // weights  # blocks in a row
        data = self._file.read(self._entry.offset + start * n * size, (stop - start) * n * size)
        blocks = np.frombuffer(data, np.uint8).reshape(-1, size)
        try:
            return today(self._entry.type, self._file.version, blocks).tobytes()
        except OverflowError:
            raise self._file.damaged(f"a scale in its tensor {self._entry.name!r} is too large for float16") from None


class Merged:
    """Shares of a quantized matrix behind or beside each other, as `checkpoint.Packed`."""

    def __init__(self, shares: Sequence[BlockTensor], columns: bool) -> None:
        rows, width = shares[0].shape
        n = len(shares)
        self.shape, self.type = (rows, width * n) if columns else (rows * n, width), shares[0].type
        self._shares, self._columns, self._rows = shares, columns, rows

    def read_packed(self, start: int, stop: int) -> bytes:
        if self._columns:
            pieces = [np.frombuffer(s.read_packed(start, stop), np.uint8) for s in self._shares]
            return np.concatenate([p.reshape(stop - start, -1) for p in pieces], axis=1).tobytes()
        out = b""
        for i, share in enumerate(self._shares):
            first, last = max(start, i * self._rows), min(stop, (i + 1) * self._rows)
            if first < last:
                out += share.read_packed(first - i * self._rows, last - i * self._rows)
        return out


def _tensors(file: GgmlFile) -> dict[str, FloatTensor | BlockTensor]:
    """Under GGUF's names."""
    names = renamed(file.tensors, file.path.name)
    return {
        name: FloatTensor(file, entry) if entry.type in (0, 1) else BlockTensor(file, entry)
        for name, entry in names.items()
    }


def _merged(name: str, shares: Sequence[FloatTensor | BlockTensor], n: int) -> Tensor | Packed:
    first = shares[0]
    if n == 1 or len(first.shape) == 1:
        return first
    if len(shares) != n or any(s.shape != first.shape or type(s) is not type(first) for s in shares):
        raise ModelInvalid(f"The parts of the model do not belong together: {name} is not the same in all of them.")
    columns = any(part in name for part in _CUT_COLUMNS)
    blocks = [s for s in shares if isinstance(s, BlockTensor)]
    if blocks:
        if any(b.type != blocks[0].type for b in blocks):
            raise ModelInvalid(f"The parts of the model do not belong together: {name} is of several types.")
        return Merged(blocks, columns)
    whole = [s for s in shares if isinstance(s, FloatTensor)]
    return Beside(whole) if columns else Stacked(whole, (first.shape[0] * n, first.shape[1]))


def _most(packed: Sequence[BlockTensor | Merged]) -> str | None:
    """What most of the weights are packed in, by GGUF's name of such a file; None if nothing is."""
    sizes: dict[str, int] = {}
    for tensor in packed:
        sizes[tensor.type.name] = sizes.get(tensor.type.name, 0) + tensor.shape[0] * tensor.shape[1]
    most = max(sizes, key=lambda name: sizes[name], default=None)
    return _FILE_TYPES.get(most, most) if most else None


def _vocabulary(file: GgmlFile) -> Vocabulary:
    """The file has texts as they look; LLaMA's vocabulary has its control and byte tokens at known places."""
    tokens: list[str] = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    types = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL, *[TokenType.BYTE] * 256]
    texts = [text for text, _ in file.tokens]
    if len(texts) < len(tokens) or any(texts[3 + byte] not in (bytes([byte]), b"") for byte in range(128)):
        raise UsageError(f"{file.path.name} has another vocabulary than LLaMA's, which cannot be converted.")
    scores = [0.0] * len(tokens)
    for i, (text, score) in enumerate(file.tokens[len(tokens) :], len(tokens)):
        try:
            tokens.append(text.decode().replace(" ", "▁"))
        except UnicodeDecodeError:
            raise file.damaged(f"its token {i} is not UTF-8") from None
        # Without scores: sentencepiece's BPE numbers its pieces in the order of them.
        scores.append(score if file.format != "ggml" else -float(i - 259))
        types.append(TokenType.NORMAL)
        if not np.isfinite(scores[-1]):
            raise file.damaged(f"the score of its token {i} is not a finite number")
    return Vocabulary(tokens, scores, types, unk=0, bos=1, eos=2, add_space_prefix=True)
