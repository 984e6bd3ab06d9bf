"""Which file of a repository is the model. Pure: from a list of names to the names that make one model.

Never a vision projector, an importance matrix, an adapter or one part of a split file by itself; never a pickle:
a `.bin` is only taken where its own name was asked for (GGML files of 2023 are called so).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from pocketllama.errors import ModelNotFound, UsageError

PREFERENCE = ("Q4_K_M", "Q4_0", "Q8_0", "Q5_K_M", "Q4_K_S", "Q5_0", "Q6_K", "Q5_K_S", "IQ4_NL", "IQ4_XS", "Q4_1", "F16")

_SPLIT = re.compile(r"(?P<stem>.+)-(?P<part>\d{5})-of-(?P<total>\d{5})(?P<suffix>\.gguf)", re.IGNORECASE)
_NEVER = re.compile(r"(?:^|[-_./])(?:mmproj|imatrix)(?:[-_.]|$)", re.IGNORECASE)
_UNLESS_ASKED = re.compile(r"(?:^|[-_./])(?:lora|adapter|vocab|projector|clip)s?(?:[-_.]|$)", re.IGNORECASE)
# Marks of a quantizer's variant in front of the quantization; the model is the same one.
_VARIANT = re.compile(r"[-._](?:ud|i1|imat|im)$", re.IGNORECASE)


@dataclass(frozen=True)
class _Whole:
    """A model in a listing: its parts in order (one, where it is not split)."""

    stem: str  # the name without -0000N-of-0000M
    files: tuple[str, ...]


def split_parts(file: str) -> tuple[str, ...] | None:
    """Every part's name of a split GGUF, given any of them; None where `file` is no part of one."""
    match = _SPLIT.fullmatch(file)
    if match is None:
        return None
    part, total = int(match["part"]), int(match["total"])
    if not 1 <= part <= total <= 999:  # 999 parts of 50 GB are enough; a hostile name may say 99999
        raise UsageError(f"{file!r} cannot be part {part} of {total}")
    return tuple(f"{match['stem']}-{n:05}-of-{match['total']}{match['suffix']}" for n in range(1, total + 1))


def choose(names: Iterable[str], *, file: str | None, quant: str | None, where: str) -> tuple[str, ...]:
    """The files of the model asked for, parts in order.

    `names` are the files there are, `where` says of what (for messages). ModelNotFound where there is none,
    UsageError where several different models answer, or what was asked for is no language model.
    """
    there = list(dict.fromkeys(names))
    if file is not None:
        return _exactly(file, there, where)
    models = _models(there)
    if not models:
        raise ModelNotFound(
            f"{where} holds no GGUF model",
            remedy="look for a repository whose name ends in -GGUF",
            data={"files": there[:50]},
        )
    whole = [model for model in models if set(there).issuperset(model.files)]
    if quant is not None:
        found = [model for model in whole if has_quant(model.stem, quant)]
        for model in models if not found else ():
            if has_quant(model.stem, quant):
                _missing(model.files, set(there))
        return _one_of(found, quant, whole, where).files
    if not whole:
        _missing(models[0].files, set(there))
    for preferred in PREFERENCE:
        if found := [model for model in whole if has_quant(model.stem, preferred)]:
            return _one_of(found, preferred, whole, where).files
    return _one_of(whole, "", whole, where).files


def is_model(file: str) -> bool:
    """Whether a file's name is that of a language model, and no companion's."""
    return file.lower().endswith(".gguf") and not _NEVER.search(file) and not _UNLESS_ASKED.search(file)


def has_quant(file: str, quant: str) -> bool:
    """Whether `file` (or its folder) carries `quant` as a whole word: Q4_K is not in Q4_K_M."""
    return re.search(rf"(?<![A-Za-z0-9]){re.escape(quant)}(?![A-Za-z0-9_])", file, re.IGNORECASE) is not None


def _models(names: list[str]) -> list[_Whole]:
    """Every model among the files, once each, whether all of its parts are there or not."""
    models: dict[str, _Whole] = {}
    for name in names:
        if not is_model(name):
            continue
        try:
            parts = split_parts(name)
        except UsageError:
            continue
        stem = name if parts is None else _SPLIT.sub(r"\g<stem>\g<suffix>", parts[0])
        key = name if parts is None else parts[0]
        models.setdefault(key, _Whole(stem, parts or (name,)))
    return list(models.values())


def _exactly(file: str, there: list[str], where: str) -> tuple[str, ...]:
    if _NEVER.search(file):
        raise UsageError(f"{file!r} is a companion file (a vision projector or an importance matrix), not a model")
    parts = split_parts(file) or (file,)
    if file not in there:
        close = get_close_matches(file, there, n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(close)}?" if close else None
        raise ModelNotFound(f"{where} holds no file {file!r}", remedy=hint, data={"files": there[:50]})
    _missing(parts, set(there))
    return parts


def _missing(parts: tuple[str, ...], present: set[str]) -> None:
    gone = [part for part in parts if part not in present]
    if gone:
        more = f" and {len(gone) - 3} more" if len(gone) > 3 else ""
        raise ModelNotFound(
            f"a split model is incomplete: {', '.join(gone[:3])}{more} missing (of {len(parts)} parts)",
            data={"missing": gone[:50]},
        )


def _one_of(found: list[_Whole], quant: str, models: list[_Whole], where: str) -> _Whole:
    if not found:
        names = sorted(model.files[0] for model in models)
        raise ModelNotFound(
            f"{where} has no {quant} file; it has {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}",
            remedy="name one of them after the last ':'",
            data={"files": names[:50]},
        )
    if len({_base(model.stem, quant) for model in found}) > 1:
        names = sorted(model.files[0] for model in found)
        raise UsageError(
            f"{where} holds several models: {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}",
            remedy="name one of these files after the last ':'",
            data={"files": names[:50]},
        )
    # Variants of one model: the plainest, which is the shortest name nearest the top.
    return min(found, key=lambda model: (model.stem.count("/"), len(model.stem), model.stem))


def _base(stem: str, quant: str) -> str:
    """The model's own name in a file name: no folder, no quantization, no variant's mark, no suffix."""
    name = stem.rpartition("/")[2].lower().removesuffix(".gguf")
    if quant:
        name = re.sub(rf"(?<![a-z0-9]){re.escape(quant.lower())}(?![a-z0-9_])", "", name)
    name = name.rstrip("-._ ")
    return _VARIANT.sub("", name).rstrip("-._ ")
