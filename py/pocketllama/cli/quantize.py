"""Commands that make smaller files of models: quantize."""

from __future__ import annotations

from pathlib import Path

from .. import output
from ..argv import Option, Verb
from ..errors import UsageError
from .common import JSON, THREADS, print_json, terminated_as_interrupted


def quantize(
    source: str,
    out: str,
    type: str,
    imatrix: str | None = None,
    tensor_type: list[str] | None = None,
    pure: bool = False,
    again: bool = False,
    threads: int | None = None,
    dry_run: bool = False,
    as_json: bool = False,
) -> None:
    """Make a smaller file of a model."""
    from .. import models
    from ..models import progress
    from ..quantize import parse_rule
    from ..quantize import quantize as make
    from ..quantize.report import render

    if Path(source).is_dir():
        raise UsageError(
            f"{source} is a folder, and quantize starts from a GGUF file.",
            remedy=f"Of a checkpoint, this does both: pocketllama convert {source} -o {out} --type {type}",
        )
    rules = [parse_rule(text) for text in tensor_type or []]
    with progress.bar() as show, terminated_as_interrupted():
        result = make(
            models.find(source).files,
            out,
            type,
            importance=imatrix,
            rules=rules,
            pure=pure,
            again=again,
            threads=threads,
            progress=lambda name, done, total: show(progress.ProgressEvent(type, done, total)),
            dry_run=dry_run,
        )
    if as_json:
        print_json(result.as_json())
    else:
        output.write(render(result, dry_run))


VERBS: dict[str, Verb] = {
    "quantize": Verb(
        quantize,
        "Make a smaller file of a model: fewer bits for each weight.",
        ("source", "out", "type"),
        options=(
            Option("imatrix", ("--imatrix",), str, "which columns count, from pocketllama imatrix", "FILE"),
            Option(
                "tensor_type",
                ("--tensor-type",),
                list,
                "matrices whose name has the pattern become this type; may be given several times",
                "REGEX=TYPE",
            ),
            Option("pure", ("--pure",), bool, "all matrices in the one type, without the mixture"),
            Option("again", ("--again",), bool, "even of a file that is quantized to less than eight bits"),
            THREADS,
            Option("dry_run", ("--dry-run",), bool, "only say what would be written"),
            JSON,
        ),
        examples=(
            "pocketllama quantize model-f16.gguf model-q4_k_m.gguf Q4_K_M",
            "pocketllama quantize model-f16.gguf small.gguf IQ4_XS --imatrix model.imatrix.gguf",
            r"pocketllama quantize model-f16.gguf mine.gguf Q4_K_M --tensor-type 'ffn_down\.weight=q6_k'",
        ),
        details=(
            "SOURCE is a GGUF of F32, F16, BF16 or Q8_0; pocketllama convert makes them of a checkpoint. TYPE is\n"
            "  F32 F16 BF16 Q8_0 Q6_K Q5_K_M Q5_K_S Q5_1 Q5_0 Q4_K_M Q4_K_S Q4_1 Q4_0 IQ4_NL IQ4_XS\n"
            "  Q3_K_L Q3_K_M Q3_K_S Q2_K Q2_K_S\n"
            "or rather the mixture of types that people know by that name. Matrices whose rows a type's blocks\n"
            "do not divide get the nearest type that fits, and the command says which. What each costs: the README,\n"
            '"What do four bits cost?", and pocketllama compare-quants for a model of yours.'
        ),
    ),
}
