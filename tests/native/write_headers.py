"""The headers of the table's models, for the fuzz target that makes up the rest (native/fuzz/model_fuzz.cc):

python -m tests.native.write_headers FOLDER
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from pocketllama import gguf

from .cases import CASES


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        for name, case in CASES.items():
            file = case.write(Path(temporary) / "model.gguf")
            with gguf.read(file) as model:
                (folder / name).write_bytes(file.read_bytes()[: model.data_offset])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
