"""Holds what we render to Hugging Face's `apply_chat_template` on the templates of a hundred models' GGUF files, which
the npm package @huggingface/ollama-utils carries (a development tool; nothing of it is copied here).

    python -m tests.py.chat.real_templates

needs `transformers`, `jinja2`, Node, and `npm ci` done. Prints how many texts are the same; a difference is an error.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from pocketllama.chat import Facts, Template
from pocketllama.errors import PocketllamaError

from .cases import CONVERSATIONS, TOKENS

REPO = Path(__file__).resolve().parents[3]
PACKAGE = REPO / "node_modules" / "@huggingface" / "ollama-utils" / "dist" / "index.js"
# The package keeps its table to itself.
PROGRAM = """
const code = require("fs").readFileSync(process.argv[1], "utf8") + "\\n;return OLLAMA_CHAT_TEMPLATE_MAPPING;";
const table = new Function("require", "module", "exports", code)(require, { exports: {} }, {});
process.stdout.write(JSON.stringify(table.map(({ model, gguf }) => [model, gguf])));
"""


def sources() -> list[tuple[str, str]]:
    done = subprocess.run(["node", "-e", PROGRAM, str(PACKAGE)], capture_output=True, check=True)
    return [(model, source) for model, source in json.loads(done.stdout)]


def main() -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2}, unk_token="<unk>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, **TOKENS)
    counts: Counter[str] = Counter()
    for model, source in sources():
        template = Template(model, source, "model")
        for case, (messages, tools, variables) in CONVERSATIONS.items():
            if (tools or "call" in case) and not template.takes_tools:
                continue  # Hugging Face would not tell the model of them
            options = {"add_generation_prompt": True, **variables}
            theirs: str | None = None
            ours: str | None = None
            try:
                given = copy.deepcopy(messages)
                theirs = tokenizer.apply_chat_template(
                    given, tools=tools, chat_template=source, tokenize=False, **options
                )
            except Exception:  # noqa: S110  # of any kind: what a template does not take, it fails on
                pass
            try:
                ours = template.render(messages, tools, facts=Facts(tokens=TOKENS), **options).text
            except PocketllamaError:
                pass
            if theirs is None:
                counts["refused by both" if ours is None else "taken by us alone"] += 1
            elif ours == theirs:
                counts["the same"] += 1
            else:
                counts["different"] += 1
                print(f"{model}, {case}:\n  theirs {theirs!r}\n  ours   {ours!r}")
    print(", ".join(f"{n} {what}" for what, n in counts.most_common()))
    if counts["different"] or counts["the same"] < 500:
        sys.exit(1)


if __name__ == "__main__":
    main()
