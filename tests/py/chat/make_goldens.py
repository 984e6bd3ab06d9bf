"""Writes goldens.json: what Hugging Face's `apply_chat_template` makes of each case, or null where it refuses.

    python -m tests.py.chat.make_goldens [--check]

needs `transformers` and `jinja2`. With --check nothing is written, and a difference is an error.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path

from .cases import CONVERSATIONS, TOKENS, templates

FILE = Path(__file__).with_name("goldens.json")


def render() -> dict[str, dict[str, str | None]]:
    import jinja2
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2}, unk_token="<unk>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, **TOKENS)
    made: dict[str, dict[str, str | None]] = {}
    for name, source in templates().items():
        made[name] = {}
        for case, (messages, tools, variables) in CONVERSATIONS.items():
            options = {"add_generation_prompt": True, **variables}
            try:
                text = tokenizer.apply_chat_template(
                    copy.deepcopy(messages), tools=tools, chat_template=source, tokenize=False, **options
                )
            except (jinja2.TemplateError, TypeError):
                text = None
            made[name][case] = text
    return made


def main() -> None:
    made = json.dumps(render(), ensure_ascii=False, indent=1) + "\n"
    if "--check" not in sys.argv:
        FILE.write_text(made, encoding="utf-8")
    elif made != FILE.read_text(encoding="utf-8"):
        sys.exit(f"{FILE} is not what transformers makes of these cases")


if __name__ == "__main__":
    main()
