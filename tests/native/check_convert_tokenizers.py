"""Save tokenizers with transformers, convert the folders, and compare our engine's tokens with transformers'.

    POCKETLLAMA_NATIVE_LIB=… python -m tests.native.check_convert_tokenizers

Byte-level ones are trained for each way to find words, sentencepiece's is that of the tales, tiktoken's ranks are LLaMA
3's where its vocabulary is here. Needs transformers, tokenizers and tiktoken; run it in the repository's root with py/
on PYTHONPATH.
"""

from __future__ import annotations

import base64
import os
import sys
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1] / "py" / part) for part in ("native", "convert")]

import numpy as np  # noqa: E402
import sentencepiece  # noqa: E402
import tiktoken  # noqa: E402
import transformers  # noqa: E402
from hard_texts import every_category, random_texts  # noqa: E402
from hf_folders import folder  # noqa: E402
from llamas import folder as meta_folder  # noqa: E402
from llamas import tensors as meta_tensors  # noqa: E402
from tokenizer_reference import PRE_TOKENIZERS, pre_tokenizer  # noqa: E402
from tokenizers import AddedToken, Regex, decoders, models, normalizers, processors, trainers  # noqa: E402
from tokenizers import Tokenizer as Fast  # noqa: E402
from tokenizers.pre_tokenizers import ByteLevel, Digits, Punctuation, Split  # noqa: E402
from tokenizers.pre_tokenizers import Sequence as Steps  # noqa: E402

from pocketllama import Tokenizer, gguf  # noqa: E402
from pocketllama.convert import convert  # noqa: E402
from pocketllama.convert.tiktoken import byte_letters, read_tiktoken  # noqa: E402

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
# Names that GGUF has no single one for, by what decides: words that are looked up whole before they are joined.
WHOLE_WORDS = {"llama-bpe", "tekken"}
# Ways to find words that are in files of other architectures than the converter knows.
OTHERS = {"jais-2", "chameleon"}
# As its file has it, where the tests' reference has the regular expressions that it comes to.
FALCON = Steps(
    [
        Punctuation("contiguous"),
        ByteLevel(add_prefix_space=False),
        Digits(False),
        Split(Regex("[0-9][0-9][0-9]"), "isolated"),
    ]
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
ADDED = ["<tool>", "  ", "\t\t"]


def texts() -> list[str]:
    return [*every_category()[:40], *random_texts(1500, seed=11)]


def model(path: Path, n_vocab: int, files: dict[str, Any]) -> Path:
    """A LLaMA of one layer around a tokenizer."""
    dim = 8
    rows = {"embed_tokens": n_vocab, "norm": 0}
    tensors = {f"model.{k}.weight": np.zeros((n, dim) if n else dim, np.float16) for k, n in rows.items()}
    at = "model.layers.0"
    for name in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"):
        tensors[f"{at}.{name}.weight"] = np.zeros((dim, dim), np.float16)
    for name in ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"):
        tensors[f"{at}.{name}.weight"] = np.zeros((dim, dim), np.float16)
    for name in ("input_layernorm", "post_attention_layernorm"):
        tensors[f"{at}.{name}.weight"] = np.zeros(dim, np.float16)
    config = {
        "model_type": "llama",
        "vocab_size": n_vocab,
        "hidden_size": dim,
        "intermediate_size": dim,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "tie_word_embeddings": True,
        "eos_token_id": [0],
    }
    return folder(path, config, tensors, {"tokenizer.json": None, **files})


def byte_level(pre: str) -> Fast:
    """Trained on the tests' texts, with added tokens and a bos in front."""
    tokenizer = Fast(models.BPE(ignore_merges=pre in WHOLE_WORDS))
    tokenizer.pre_tokenizer = FALCON if pre == "falcon" else pre_tokenizer(pre)
    tokenizer.decoder = decoders.ByteLevel()
    if pre == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    letters = sorted({letter for text in every_byte() for letter in text})
    trainer = trainers.BpeTrainer(
        vocab_size=1500, special_tokens=SPECIAL, initial_alphabet=letters, show_progress=False
    )
    tokenizer.train_from_iterator(random_texts(4000, seed=5), trainer)
    tokenizer.add_tokens(ADDED)
    if pre == "llama-bpe":
        tokenizer.post_processor = processors.Sequence(
            [
                processors.ByteLevel(trim_offsets=False),
                processors.TemplateProcessing(
                    single="<|endoftext|> $A",
                    special_tokens=[("<|endoftext|>", tokenizer.token_to_id("<|endoftext|>"))],
                ),
            ]
        )
    return tokenizer


def every_byte() -> list[str]:
    return ByteLevel.alphabet()


def wrong_tokens(mine: Tokenizer, encode: Any, special: bool) -> Iterator[str]:
    """`special`: names of control tokens in a text stand for them, as transformers always has it."""
    for text in texts():
        found, wanted = mine.encode(text, special=special), encode(text)
        if found != wanted:
            yield f"{text!r}: {found[:12]}, not {wanted[:12]}"


def composed(line: str) -> bool:
    return unicodedata.normalize("NFC", line) == line


def check_byte_level(pre: str, at: Path) -> list[str]:
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=byte_level(pre), bos_token="<|endoftext|>", eos_token="<|im_end|>", chat_template=TEMPLATE
    )
    saved = model(at / pre, len(fast) + 5, {})
    fast.save_pretrained(saved)
    out = convert(saved, at, type="f16")
    wrong: list[str] = []
    with gguf.read(out) as f:
        if f.metadata["tokenizer.chat_template"] != TEMPLATE:
            wrong.append("the chat template")
        if f.metadata["tokenizer.ggml.pre"] != pre and pre != "superbpe":
            wrong.append(f"the name {f.metadata['tokenizer.ggml.pre']}")
        if f.metadata["tokenizer.ggml.add_bos_token"] != (pre == "llama-bpe"):
            wrong.append("whether it puts a bos in front")

    def encode(text: str) -> list[int]:
        ids: list[int] = fast.encode(text, add_special_tokens=False)
        return ids

    with Tokenizer(out) as mine:
        if pre == "qwen2":  # GGUF does not compose letters
            wrong += filter(composed, wrong_tokens(mine, encode, True))
        elif pre == "falcon":  # letters of bytes count as digits, and marks are those of an old Unicode
            wrong += filter(str.isascii, wrong_tokens(mine, encode, True))
        else:
            wrong += wrong_tokens(mine, encode, True)
        turn = fast.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
        if mine.encode(turn, special=True) != encode(turn):
            wrong.append("special tokens of a chat")
        if fast.convert_tokens_to_ids("<|im_end|>") not in mine.end_token_ids:
            wrong.append("its ends")
    return wrong


def check_sentencepiece(at: Path) -> list[str]:
    """The same vocabulary as tokenizer.model, and as a tokenizer.json with a merge for each way to make a piece."""
    source = SHARED / "tales" / "tokenizer.model"
    reference = sentencepiece.SentencePieceProcessor(model_file=str(source))
    n = reference.vocab_size()
    pieces = {reference.id_to_piece(i): i for i in range(n)}
    ways = [
        (p[:i], p[i:]) for p in sorted(pieces, key=lambda p: -reference.get_score(pieces[p])) for i in range(1, len(p))
    ]
    merges = [(a, b) for a, b in ways if a in pieces and b in pieces and a + b in pieces]
    fast = Fast(models.BPE(vocab=pieces, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    fast.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    fast.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in ("<unk>", "<s>", "</s>")])
    fast.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    wrong = []
    for how in ("model", "json"):
        saved = model(at / how, n, {"tokenizer_config.json": {"bos_token": "<s>", "eos_token": {"content": "</s>"}}})
        if how == "model":
            (saved / "tokenizer.model").write_bytes(source.read_bytes())
        else:
            fast.save(str(saved / "tokenizer.json"))
        out = convert(saved, at, type="f16")
        with gguf.read(out) as f:
            if not f.metadata["tokenizer.ggml.add_bos_token"] or not f.metadata["tokenizer.ggml.add_space_prefix"]:
                wrong.append(f"{how}: whether it puts a bos or a space in front")
        with Tokenizer(out) as mine:
            if mine.bos_token_id != reference.bos_id() or reference.eos_id() not in mine.end_token_ids:
                wrong.append(f"{how}: its bos or eos")
            for text in texts():
                if "\0" not in text and "▁" not in text and mine.encode(text) != reference.encode(text):
                    wrong.append(f"{how}: {text!r}: {mine.encode(text)}, not {reference.encode(text)}")
    return wrong


def check_tiktoken(at: Path) -> list[str]:
    """LLaMA 3's ranks, from the vocabulary that is here, as Meta's file has them."""
    source = SHARED / "vocab" / "ggml-vocab-llama-bpe.gguf"
    letters = {letter: byte for byte, letter in enumerate(byte_letters())}
    with gguf.read(source) as f:
        types = f.metadata["tokenizer.ggml.token_type"]
        tokens = [t for t, kind in zip(f.metadata["tokenizer.ggml.tokens"], types, strict=True) if kind == 1]
        merges = set(f.metadata["tokenizer.ggml.merges"])
    ranks = {bytes(letters[c] for c in token): i for i, token in enumerate(tokens)}
    path = at / "ranks"
    path.write_bytes(b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items()))
    v = read_tiktoken(path, "llama-bpe", [])
    wrong = [f"the merge {m!r}" for m in v.merges if m not in merges]
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    reference = tiktoken.Encoding("llama3", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    meta = at / "meta3"
    write_meta(meta, len(tokens) + 256, path)
    with Tokenizer(convert(meta, at, type="f16")) as mine:
        wrong += wrong_tokens(mine, reference.encode_ordinary, False)
        if mine.encode("<|eot_id|>", special=True) != [len(tokens) + 9]:
            wrong.append("special tokens")
    return wrong


def write_meta(at: Path, n_vocab: int, ranks: Path) -> None:
    params = {"dim": 64, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "norm_eps": 1e-5, "rope_theta": 500000.0}
    meta_folder(at, meta_tensors(n_vocab=n_vocab), params, ranks.read_bytes())


def main() -> int:
    transformers.utils.logging.set_verbosity_error()
    os.environ.setdefault("POCKETLLAMA_LIB", os.environ["POCKETLLAMA_NATIVE_LIB"])
    checks: list[tuple[str, Any]] = [
        (pre, lambda at, pre=pre: check_byte_level(pre, at)) for pre in PRE_TOKENIZERS if pre not in OTHERS
    ]
    if SHARED.is_dir():
        checks += [("sentencepiece", check_sentencepiece), ("tiktoken", check_tiktoken)]
    failed = 0
    for name, check in checks:
        with tempfile.TemporaryDirectory() as temporary:
            try:
                wrong = check(Path(temporary))
            except Exception as e:
                wrong = [f"{type(e).__name__}: {e}"]
        failed += bool(wrong)
        print(f"{name:16} {'the same' if not wrong else f'{len(wrong)} wrong'}", flush=True)
        for line in wrong[:3]:
            print(f"    {line[:300]}")
    print(f"{len(checks)} tokenizers, {failed} read otherwise")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
