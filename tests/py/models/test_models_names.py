"""What a name means, and which file of a repository it chooses. Pure: no hub, no disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from pocketllama.errors import ModelNotFound, UsageError
from pocketllama.models import refs, registry
from pocketllama.models.choose import choose, has_quant, split_parts
from pocketllama.models.refs import EmbeddedRef, HubRef, PathRef, UrlRef, parse


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("tales", EmbeddedRef("tales")),
        ("hf:o/r", HubRef("o/r")),
        ("hf://o/r", HubRef("o/r")),
        ("hf:o/r:Q4_K_M", HubRef("o/r", quant="Q4_K_M")),
        ("hf:o/r@v1.0:Q8_0", HubRef("o/r", "v1.0", quant="Q8_0")),
        ("hf:o/r@refs/pr/7", HubRef("o/r", "refs/pr/7")),
        ("hf:o/r:sub/x.GGUF", HubRef("o/r", file="sub/x.GGUF")),
        ("hf:o/r:ggml-model-q4_0.bin", HubRef("o/r", file="ggml-model-q4_0.bin")),
        ("hf:TheBloke/Llama-2.7_x:q4_0", HubRef("TheBloke/Llama-2.7_x", quant="q4_0")),
        ("https://huggingface.co/o/r", HubRef("o/r")),
        ("https://HuggingFace.co/o/r/blob/main/a%20b.gguf", HubRef("o/r", "main", file="a b.gguf")),
        ("https://example.org/x.gguf?a=1#part", UrlRef("https://example.org/x.gguf?a=1")),
        ("http://127.0.0.1:8000/x.gguf", UrlRef("http://127.0.0.1:8000/x.gguf")),
        ("./x", PathRef(Path("x"), True)),
        ("x.gguf", PathRef(Path("x.gguf"), True)),
        ("C:\\models\\x.gguf", PathRef(Path("C:\\models\\x.gguf"), True)),
        ("something", PathRef(Path("something"), False)),
    ],
)
def test_a_name_means(name: str, meaning: refs.Ref) -> None:
    assert parse(name) == meaning


def test_every_alias_is_sound() -> None:
    for name, alias in registry.aliases().items():
        ref = parse(name)
        assert isinstance(ref, HubRef) and ref.alias == name and ref.repo == alias.repo
        refs.check_repo(alias.repo)
        assert (alias.quant is None) != (alias.file is None)
        assert alias.licence and alias.architecture and alias.good_for and 10**8 < alias.size < 3 * 10**9
    sizes = [alias.size for alias in registry.aliases().values()]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "  ",
        "x" * 5000,
        "a\0b",
        "a\nb.gguf",
        "\x1b[31mred",
        "\ud800",
        "hf:",
        "hf:o",
        "hf:o/r/x",
        "hf:../..",
        "hf:o/..",
        "hf:/etc/passwd",
        "hf:o/-r",
        "hf:o/r.git",
        "hf:o/r--x",
        "hf:o\\r/x",
        "hf:o/r@",
        "hf:o/r@../../x",
        "hf:o/r@.hidden",
        "hf:o/r@a//b",
        "hf:o/r@main.lock",
        "hf:o/r:",
        "hf:o/r:../x.gguf",
        "hf:o/r:/etc/x.gguf",
        "hf:o/r:a/../../x.gguf",
        "hf:o/r:a\\b.gguf",
        "hf:o/r:C:x.gguf",
        "hf:o/r:x/.gguf/",
        "hf:o/r:" + "a" * 300 + ".gguf",
        "hf:o/r:Q4 0",
        "hf:o/r:..",
        "hf:o/r:\u202efugg.gguf",
        "https://",
        "https:///x.gguf",
        "https://exa mple.org/x.gguf",
        "https://user:secret@example.org/x.gguf",
        "https://example.org:99999/x.gguf",
        "https://example.org/a\\..\\b.gguf",
        "https://[::1/x.gguf",
        "https://huggingface.co/o/r/blob/main/../../x.gguf",
        "https://huggingface.co/o/r/blob/main/config.json",
        "ftp://example.org/x.gguf",
        "file:///etc/passwd",
        "s3://bucket/x.gguf",
    ],
)
def test_a_hostile_name(name: str) -> None:
    with pytest.raises(UsageError):
        parse(name)


def test_a_secret_in_an_address_is_not_repeated() -> None:
    with pytest.raises(UsageError) as refusal:
        parse("https://user:secret@example.org/x.gguf")
    assert "secret" not in refusal.value.describe()


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("tale", "tales"), ("qwen-3-0.6b", "qwen3-0.6b"), ("Llama3.2-1B", "llama3.2-1b"), ("phi", "phi4-mini")],
)
def test_a_typo_is_understood(asked: str, meant: str) -> None:
    assert registry.did_you_mean(asked, refs.EMBEDDED)[0] == meant


def test_nonsense_is_not() -> None:
    assert registry.did_you_mean("....") == [] == registry.did_you_mean("zzzzzzzzzz")


FILES = ["README.md", "m-F16.gguf", "m-Q2_K.gguf", "m-Q4_K_M.gguf", "m-Q4_K_S.gguf", "m-Q8_0.gguf"]


@pytest.mark.parametrize(
    ("names", "file", "quant", "chosen"),
    [
        (FILES, None, None, "m-Q4_K_M.gguf"),
        (FILES, None, "q8_0", "m-Q8_0.gguf"),
        (FILES, None, "f16", "m-F16.gguf"),
        (FILES, "m-Q2_K.gguf", None, "m-Q2_K.gguf"),
        (["m.q4_0.gguf", "m.q8_0.gguf"], None, None, "m.q4_0.gguf"),
        (["m_q5_k_m.gguf", "m_q8_0.gguf"], None, None, "m_q8_0.gguf"),
        (["only.gguf"], None, None, "only.gguf"),
        (["m-IQ2_XS.gguf"], None, None, "m-IQ2_XS.gguf"),
        (["m-UD-Q4_K_M.gguf", "m-Q4_K_M.gguf"], None, None, "m-Q4_K_M.gguf"),
        (["sub/m-Q4_K_M.gguf", "m-Q4_K_M.gguf"], None, None, "m-Q4_K_M.gguf"),
        (["mmproj-m-Q4_K_M.gguf", "m-Q8_0.gguf"], None, None, "m-Q8_0.gguf"),
        (["m-mmproj-f16.gguf", "m-f16.gguf"], None, "F16", "m-f16.gguf"),
        (["imatrix.gguf", "lora-Q4_K_M.gguf", "m-Q8_0.gguf"], None, None, "m-Q8_0.gguf"),
        (["m.bin", "m.gguf"], None, None, "m.gguf"),
        (["m.bin", "m.gguf"], "m.bin", None, "m.bin"),
    ],
)
def test_the_file_chosen(names: list[str], file: str | None, quant: str | None, chosen: str) -> None:
    assert choose(names, file=file, quant=quant, where="it") == (chosen,)
    assert choose(reversed(names), file=file, quant=quant, where="it") == (chosen,)


def test_parts_of_a_split_model_come_together_and_in_order() -> None:
    parts = tuple(f"Q8_0/m-Q8_0-0000{n}-of-00003.gguf" for n in (1, 2, 3))
    names = [*reversed(parts), "m-Q2_K.gguf"]
    assert choose(names, file=None, quant=None, where="it") == parts
    assert choose(names, file=parts[1], quant=None, where="it") == parts
    assert choose([*parts[:2], "m-Q2_K.gguf"], file=None, quant=None, where="it") == ("m-Q2_K.gguf",)
    for ask in ({"file": parts[0], "quant": None}, {"file": None, "quant": "Q8_0"}):
        with pytest.raises(ModelNotFound, match=r"m-Q8_0-00003-of-00003\.gguf missing"):
            choose([*parts[:2], "m-Q2_K.gguf"], where="it", **ask)


@pytest.mark.parametrize("name", ["m-00000-of-00003.gguf", "m-00004-of-00003.gguf", "m-00001-of-99999.gguf"])
def test_a_split_name_that_cannot_be(name: str) -> None:
    with pytest.raises(UsageError):
        split_parts(name)
    with pytest.raises(ModelNotFound):
        choose([name], file=None, quant=None, where="it")


def test_several_models_are_not_guessed_at() -> None:
    names = ["small-Q4_K_M.gguf", "large-Q4_K_M.gguf", "large-Q8_0.gguf"]
    with pytest.raises(UsageError, match="several models") as refusal:
        choose(names, file=None, quant=None, where="it")
    assert refusal.value.data["files"] == ["large-Q4_K_M.gguf", "small-Q4_K_M.gguf"]
    assert choose(names, file=None, quant="Q8_0", where="it") == ("large-Q8_0.gguf",)


@pytest.mark.parametrize("file", ["mmproj-m.gguf", "m.imatrix.gguf"])
def test_a_companion_is_refused_even_by_name(file: str) -> None:
    with pytest.raises(UsageError, match="companion"):
        choose([file], file=file, quant=None, where="it")


def test_what_is_not_there_says_what_is() -> None:
    with pytest.raises(ModelNotFound, match=r"has no Q6_K file; it has m-F16\.gguf") as missing:
        choose(FILES, file=None, quant="Q6_K", where="it")
    assert "m-Q8_0.gguf" in missing.value.data["files"]
    with pytest.raises(ModelNotFound) as typo:
        choose(FILES, file="m-Q4_K_X.gguf", quant=None, where="it")
    assert "m-Q4_K_M.gguf" in str(typo.value.remedy)
    with pytest.raises(ModelNotFound, match="no GGUF model"):
        choose(["README.md"], file=None, quant=None, where="it")


@pytest.mark.parametrize(
    ("file", "quant", "has"),
    [
        ("m-Q4_K_M.gguf", "Q4_K", False),
        ("m-Q4_K_M.gguf", "q4_k_m", True),
        ("m-IQ4_K_M.gguf", "Q4_K_M", False),
        ("bf16/m.gguf", "F16", False),
        ("bf16/m.gguf", "BF16", True),
        ("m_q4_0.gguf", "Q4_0", True),
        ("m-Q4_0_4_4.gguf", "Q4_0", False),
        ("m.gguf", ".", False),
    ],
)
def test_a_quantization_is_a_whole_word(file: str, quant: str, has: bool) -> None:
    assert has_quant(file, quant) is has
