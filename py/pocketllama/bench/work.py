"""What a model has to do for a token: the bytes it reads and the products it adds up, from its file."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from .. import gguf
from .plan import Case


@dataclass(frozen=True)
class Work:
    """Of one model. Attention is left out of the products: it is done in floats, and grows with the context."""

    layer_bytes: int  # of the weights that every token of a text needs
    layer_macs: int
    head_bytes: int  # of the output matrix, for the tokens whose logits are wanted
    head_macs: int
    kv_bytes: int  # of the cache, for each token in it

    def bytes_read(self, test: Case) -> float:
        """Of a whole test of kind tg: all weights in each step, and the cache of each sequence as it grows."""
        cache = test.batch * self.kv_bytes * (test.depth + test.tokens / 2)
        return test.tokens * (self.layer_bytes + self.head_bytes + cache)

    def macs(self, test: Case) -> float:
        """Of a whole test. A prompt needs the logits of its last token alone."""
        logits = 1 if test.kind == "pp" else test.tokens * test.batch
        return test.tokens * test.batch * self.layer_macs + logits * self.head_macs


def work_of(files: tuple[Path, ...], kv_bytes: int) -> Work:
    """From the headers of a model's files."""
    with ExitStack() as stack:
        parts = [stack.enter_context(gguf.read(file)) for file in files]
        metadata = parts[0].metadata
        architecture = metadata.get("general.architecture")
        experts = metadata.get(f"{architecture}.expert_count", 0)
        used = metadata.get(f"{architecture}.expert_used_count", 0)
        share = used / experts if experts and used else 1.0
        matrices = {t.name: t for part in parts for t in part.tensors if len(t.shape) > 1}
    table = matrices.pop("token_embd.weight", None)  # one row of it is read
    head = matrices.pop("output.weight", table)
    layer_bytes = layer_macs = 0.0
    for name, tensor in matrices.items():
        of = share if "_exps." in name else 1.0
        layer_bytes += of * tensor.nbytes
        layer_macs += of * tensor.n_elements
    head_bytes, head_macs = (head.nbytes, head.n_elements) if head else (0, 0)
    return Work(round(layer_bytes), round(layer_macs), head_bytes, head_macs, kv_bytes)
