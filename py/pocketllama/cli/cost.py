"""Commands that tell what quantization costs: perplexity, imatrix, compare-quants."""

from __future__ import annotations

from pathlib import Path

from .. import output
from ..argv import Option, Verb
from .common import JSON, MODEL, THREADS, check_output, print_json, terminated_as_interrupted, write_output

_TEXT = Option("text", ("-f", "--file"), str, "the text, UTF-8", "TEXT")
_CTX = Option("ctx", ("-c", "--ctx"), int, "tokens that are read together (512)", "N")
_LIMIT = Option("limit", ("--contexts",), int, "read only so many contexts of the text", "N")


def _text(path: str | None, verb: str) -> str:
    from ..cost.perplexity import read_text
    from ..errors import UsageError

    if path is None:
        raise UsageError(f"pocketllama {verb} needs a text.", remedy=f"Such as: pocketllama {verb} … -f book.txt")
    return read_text(path)


def perplexity(
    model: str = "tales",
    text: str | None = None,
    ctx: int = 512,
    stride: int | None = None,
    limit: int | None = None,
    kl_base: str | None = None,
    kl: str | None = None,
    threads: int | None = None,
    kv_type: str = "f16",
    as_json: bool = False,
) -> None:
    """How much a text surprises a model."""
    from ..bench import report
    from ..cost import perplexity as cost

    found = _pulled(model)
    words = _text(text, "perplexity")
    with report.bar() as show, terminated_as_interrupted():
        figures = cost.perplexity(
            found,
            words,
            n_ctx=ctx,
            stride=stride,
            limit=limit,
            save_base=Path(kl_base) if kl_base else None,
            base=Path(kl) if kl else None,
            kv_type=kv_type,
            threads=threads,
            progress=show,
        )
    if as_json:
        print_json({"model": model, "text": text, **figures})
    else:
        output.write(cost.render(figures))


def _pulled(model: str) -> Path:
    from .. import models
    from ..models import progress

    with progress.bar() as show:
        return models.pull(model, progress=show).path


def imatrix(
    text: str | None = None,
    out: str = "imatrix.gguf",
    model: str = "tales",
    ctx: int = 512,
    limit: int | None = None,
    threads: int | None = None,
) -> None:
    """Find out which columns of a model's matrices count."""
    from .. import models
    from ..bench import report
    from ..cost.imatrix import imatrix as make
    from ..cost.perplexity import beyond
    from ..engine.files import trained_context

    words = _text(text, "imatrix")
    _pulled(model)
    found = models.find(model)
    with report.bar() as show, terminated_as_interrupted():
        made = make(
            found.files,
            words,
            Path(out),
            n_ctx=ctx,
            limit=limit,
            dataset=Path(str(text)).name,
            threads=threads,
            progress=show,
        )
    output.write(f"{out}: {len(made.sums)} matrices, {made.chunks} contexts of {made.chunk_size} tokens\n")
    if ctx > (trained := trained_context(found.files[0])) > 0:
        output.write(f"  {beyond(trained)}\n")


def compare_quants(
    source: str,
    text: str | None = None,
    types: str = "",
    ctx: int = 512,
    limit: int | None = None,
    imatrix: str | None = None,
    calibrate: str | None = None,
    quality_only: bool = False,
    repeats: int = 3,
    threads: int | None = None,
    folder: str | None = None,
    as_json: bool = False,
    markdown: str | None = None,
    plot: str | None = None,
) -> None:
    """Measure every type of a model."""
    from ..bench import plot as bench_plot
    from ..bench import report
    from ..cost import compare as cost
    from ..cost import plot as picture

    words = _text(text, "compare-quants")
    if plot:
        bench_plot.check(Path(plot))
    if markdown:
        check_output(Path(markdown))
    with report.bar() as show, terminated_as_interrupted():
        figures = cost.compare(
            source,
            words,
            types=[name for name in types.replace(",", " ").split() if name] or cost.DEFAULT_TYPES,
            n_ctx=ctx,
            limit=limit,
            importance=Path(imatrix) if imatrix else None,
            calibration=_text(calibrate, "compare-quants") if calibrate else None,
            speed=not quality_only,
            repeats=repeats,
            threads=threads,
            folder=Path(folder) if folder else None,
            progress=show,
        )
    if markdown:
        write_output(Path(markdown), cost.markdown(figures))
    if plot:
        picture.draw(figures, Path(plot))
    if as_json:
        print_json(figures)
    else:
        output.write(cost.render(figures))


VERBS: dict[str, Verb] = {
    "perplexity": Verb(
        perplexity,
        "Measure how much a text surprises a model, and how far it is from another one.",
        options=(
            MODEL,
            _TEXT,
            _CTX,
            Option("stride", ("--stride",), int, "contexts begin so many tokens apart, and all tokens count", "N"),
            _LIMIT,
            Option(
                "kl_base",
                ("--kl-base",),
                str,
                "keep this model's answers in a file (two bytes for each token × vocabulary)",
                "FILE",
            ),
            Option("kl", ("--kl",), str, "compare with the answers in a file of --kl-base", "FILE"),
            THREADS,
            Option("kv_type", ("--kv-type",), str, "what the cache holds: f16, f32 or q8_0 (f16)", "TYPE"),
            JSON,
        ),
        examples=(
            "pocketllama perplexity -m model-f16.gguf -f book.txt --kl-base f16.logits",
            "pocketllama perplexity -m model-q4_k_m.gguf -f book.txt --kl f16.logits",
        ),
        details=(
            "Without --stride the text is read in contexts that follow one another, and the second half of each is\n"
            "scored: that is what llama.cpp's figures mean. With --stride N they overlap, and every token is scored.\n"
            "Perplexities compare models of one tokenizer on one text, and nothing else. ± is one standard error."
        ),
    ),
    "imatrix": Verb(
        imatrix,
        "Find out on a text which columns of a model's matrices count, for quantize --imatrix.",
        options=(
            MODEL,
            _TEXT,
            Option("out", ("-o", "--out"), str, "the file to write (imatrix.gguf)", "FILE"),
            _CTX,
            _LIMIT,
            THREADS,
        ),
        examples=("pocketllama imatrix -m model-f16.gguf -f calibration.txt -o model.imatrix.gguf",),
        details="Some hundred contexts of text like that which the model is meant for are enough.",
    ),
    "compare-quants": Verb(
        compare_quants,
        "Make every type of a model in a temporary place, and measure what each costs and gains.",
        ("source",),
        options=(
            _TEXT,
            Option("types", ("--types",), str, "which ones (Q8_0,Q6_K,Q5_K_M,Q4_K_M,Q4_0,IQ4_XS,Q3_K_M,Q2_K)", "T,…"),
            _CTX,
            _LIMIT,
            Option("imatrix", ("--imatrix",), str, "quantize all with this importance matrix", "FILE"),
            Option("calibrate", ("--calibrate",), str, "… or with one that is made of this text", "TEXT"),
            Option("quality_only", ("--quality-only",), bool, "leave out speed and memory"),
            Option("repeats", ("-r", "--repeats"), int, "how often speed is measured (3)", "N"),
            THREADS,
            Option("folder", ("--temp",), str, "where the temporary files go", "DIR"),
            JSON,
            Option("markdown", ("--markdown",), str, "write the table as Markdown as well", "FILE"),
            Option("plot", ("--plot",), str, "draw it: out.png, .svg or .pdf (needs matplotlib)", "FILE"),
        ),
        examples=(
            "pocketllama compare-quants model-f16.gguf -f book.txt --markdown table.md --plot quants.png",
            "pocketllama compare-quants ./llama-7b -f book.txt --types Q4_0,Q4_K_M,IQ4_XS --calibrate other.txt",
        ),
        details=(
            "SOURCE is a model or a checkpoint's folder (then F16 is the base). Perplexity and KL divergence are on\n"
            "the same tokens for all; prefill is a prompt of --ctx tokens, decode 64 tokens one by one, as in bench."
        ),
    ),
}
