"""The weights of a folder in Hugging Face's layout: one file or several, safetensors or torch's.

A single file has all tensors; of several, an index says which has which:
    model.safetensors       model.safetensors.index.json      {"weight_map": {tensor: file}}
    pytorch_model.bin       pytorch_model.bin.index.json
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from ..errors import ModelInvalid, ModelNotFound, UnsafeFile
from .config import read_json, shown
from .pth import StoredTensor, TorchFile
from .safetensors import SafeTensor, SafeTensors

_MAX_FILES = 1000
# In this order: safetensors cannot hold a program.
_NAMES = (("model", "safetensors"), ("pytorch_model", "bin"))


class Weights:
    """The open files: `tensors` maps names to tensors, in the files' order. Use it in a `with`."""

    def __init__(self, folder: Path, names: Iterable[tuple[str, str]] = _NAMES) -> None:
        self._files: list[SafeTensors | TorchFile] = []
        self.tensors: dict[str, SafeTensor | StoredTensor] = {}
        try:
            for stem, kind in names:
                index = folder / f"{stem}.{kind}.index.json"
                if (folder / f"{stem}.{kind}").is_file():
                    self._add(folder / f"{stem}.{kind}")
                elif index.is_file():
                    self._add_indexed(folder, index)
                elif shards := sorted(folder.glob(f"{stem}-?????-of-?????.{kind}")):
                    self._add_unindexed(shards)
                else:
                    continue
                return
            listed = " or ".join(f"{stem}.{kind}" for stem, kind in names)
            raise ModelNotFound(
                f"{folder} has no {listed}, and no index of several such files.", remedy="Download the weights too."
            )
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for file in self._files:
            file.__exit__(None, None, None)

    def __enter__(self) -> Weights:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _add(self, path: Path, wanted: set[str] | None = None) -> None:
        file = SafeTensors(path) if path.suffix == ".safetensors" else TorchFile(path)
        self._files.append(file)
        found = {name: t for name, t in file.tensors.items() if wanted is None or name in wanted}
        if missing := sorted((wanted or set()) - set(found)):
            raise ModelInvalid(f"{path.name} has no tensor {missing[0][:80]!r}, which the index says is in it.")
        if twice := sorted(set(found) & set(self.tensors)):
            raise ModelInvalid(f"The tensor {twice[0][:80]!r} is in {path.name} and in a file before it.")
        self.tensors |= found

    def _add_indexed(self, folder: Path, index: Path) -> None:
        table = read_json(index).get("weight_map")
        if not isinstance(table, dict) or not table or not all(type(name) is str for name in table.values()):
            raise ModelInvalid(f"{index.name} has no weight_map of tensors and files.")
        files: dict[str, set[str]] = {}
        for tensor, file in table.items():
            files.setdefault(file, set()).add(tensor)
        for file in sorted(files)[:_MAX_FILES]:
            if Path(file).name != file or "\\" in file or ":" in file:
                raise UnsafeFile(f"{index.name} is refused: it names the file {shown(file)}, outside of its folder.")
            if not (folder / file).is_file():
                raise ModelNotFound(
                    f"{folder} has no {file}, which {index.name} names.", remedy="Download the rest of the checkpoint."
                )
            self._add(folder / file, files[file])

    def _add_unindexed(self, shards: list[Path]) -> None:
        """Named as NAME-00001-of-00003.KIND: all of them, or none counts."""
        total = int(shards[0].stem[-5:]) if shards[0].stem[-5:].isdigit() else 0
        if total != len(shards):
            raise ModelNotFound(
                f"Of {total} files as {shards[0].name} {len(shards)} are there.",
                remedy="Download the rest of the checkpoint.",
            )
        for path in shards:
            self._add(path)
