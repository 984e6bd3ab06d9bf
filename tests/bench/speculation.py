"""What guessing ahead brings: a model decodes the same texts with speculation and without, in turn, in one sitting.

    PYTHONPATH=py python -m tests.bench.speculation 1b-q4_0.gguf --threads 2 --out spec

A model of random weights neither edits nor quotes, and by itself it soon goes round in circles, which would flatter
every guess. So the texts are given: each token is evaluated and chosen as ever, and then the text's own one stands in
its place. What is measured is everything but the model's taste. The prompt is a story that tales tells. The texts:

    copy       the story again
    words      the story with about one word in twenty left out, doubled or replaced
    names      "king" is "emperor" throughout, and "said" is "cried"
    lines      every third sentence is another one
    prose      another story: nothing is copied but phrases
    noise      tokens of the prompt in any order: pairs of them occur again, and mislead

First comes what evaluating n tokens together takes, in evaluations of one: that decides what a guess costs.
With --draft tales, or any model of tales' vocabulary, that model guesses; with --own, the model at hand tells
stories by itself, greedily and at a temperature.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

from pocketllama import LLM
from pocketllama.engine import Sampling
from pocketllama.engine.ngram import Ngrams
from pocketllama.engine.pace import MOST

SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 24, MOST + 1)
Clock = Callable[[], float]
DEPTH = 256  # tokens before those whose evaluation is timed


def story(teller: LLM, prompt: str, n: int, seed: int) -> list[int]:
    """`n` tokens of a story."""
    options = Sampling(max_tokens=n, temperature=0.8, seed=seed, context_shift=True, logit_bias=((2, -100.0),))
    return list(teller.complete(prompt, options).result().tokens)


def texts(teller: LLM, n: int) -> tuple[list[int], dict[str, list[int]]]:
    """A prompt of about `n` tokens, and texts behind it."""
    first, second = (story(teller, "Once upon a time", n, seed) for seed in (7, 11))
    told = str(teller.detokenize(first))
    other = str(teller.detokenize(second))
    chance = random.Random(3)

    def word(w: str) -> str:
        return w if chance.random() > 0.05 else chance.choice(["", f"{w} {w}", "not", w.upper()])

    sentences, others = told.split(". "), other.split(". ")
    lines = [others[i % len(others)] if i % 3 == 2 else s for i, s in enumerate(sentences)]
    edits = {
        "copy": told,
        "words": " ".join(map(word, told.split(" "))),
        "names": told.replace("king", "emperor").replace(" said", " cried"),
        "lines": ". ".join(lines),
        "prose": other,
    }
    cases = {name: teller.encode(text) for name, text in edits.items()}
    cases["noise"] = [chance.choice(first) for _ in range(n)]
    return [*teller.tokenize("The story: "), *first, *teller.encode("\nThe same, edited: ")], cases


@contextmanager
def scripted(llm: LLM, n_prompt: int, text: Sequence[int]) -> Iterator[None]:
    """Whatever is chosen behind the prompt is `text`."""
    backend: Any = llm._backend
    choose = backend.choose

    def instead(sampler: Any, context: Sequence[int], row: int = -1) -> int:
        choose(sampler, context, row)
        return text[len(context) - n_prompt]

    backend.choose = instead
    try:
        yield
    finally:
        del backend.choose


def decode(llm: LLM, prompt: list[int], text: Sequence[int], how: str, clock: Clock) -> tuple[float, int, int]:
    """Tokens a second behind the prompt, and the guesses: drafted, accepted."""
    llm.complete(prompt, max_tokens=0).text()  # it is in the cache then, and no part of what is timed
    options = Sampling(max_tokens=len(text), temperature=0, speculate=how)
    with scripted(llm, len(prompt), text):
        started = clock()
        result = llm.complete(prompt, options).result()
        seconds = clock() - started
    assert result.tokens == tuple(text)
    return len(text) / seconds, result.timings.drafted_tokens, result.timings.accepted_tokens


def costs(llm: LLM, tokens: list[int], rounds: int, clock: Clock = time.perf_counter) -> dict[int, float]:
    """What evaluating so many tokens together takes, with the logits of each, in evaluations of one: medians."""
    backend: Any = llm._backend
    backend.evaluate(tokens[:DEPTH], 0, llm.threads)
    seconds: dict[int, list[float]] = {n: [] for n in SIZES}
    for _ in range(rounds):
        for n in SIZES:
            items = [(tokens[DEPTH + i], 0, DEPTH + i, True) for i in range(n)]
            started = clock()
            backend.evaluate_items(items, llm.threads)
            seconds[n].append(clock() - started)
    llm.reset()
    return {n: median(found) / median(seconds[1]) for n, found in seconds.items()} | {0: median(seconds[1])}


def compare(
    llm: LLM, prompt: list[int], cases: dict[str, list[int]], how: str, rounds: int, clock: Clock = time.perf_counter
) -> dict[str, Any]:
    """Each text, without guesses and with them: the ratio of the round, and its median over the rounds. Printed, too,
    as they come."""
    found: dict[str, Any] = {}
    for name, text in cases.items():
        pairs = [[decode(llm, prompt, text, each, clock) for each in ("off", how)] for _ in range(rounds)]
        found[name] = {
            "tokens": len(text),
            "plain": median(plain[0] for plain, _ in pairs),
            "guessed": median(guessed[0] for _, guessed in pairs),
            "ratio": median(guessed[0] / plain[0] for plain, guessed in pairs),
            "ratios": [guessed[0] / plain[0] for plain, guessed in pairs],
            "drafted": median(guessed[1] for _, guessed in pairs),
            "accepted": median(guessed[2] for _, guessed in pairs),
        }
        print(row(name, found[name]), flush=True)
    return found


def own_stories(llm: LLM, prompt: str, rounds: int, n: int) -> dict[str, Any]:
    """The model's own texts, which are checked to be the same."""
    found: dict[str, Any] = {}
    for temperature, penalty in ((0.0, 1.0), (0.0, 1.1), (0.8, 1.0)):
        values: dict[str, Any] = {"max_tokens": n, "temperature": temperature, "repetition_penalty": penalty, "seed": 1}
        ratios = []
        for _ in range(rounds):
            plain = llm.complete(prompt, **values, speculate="off").result()
            guessed = llm.complete(prompt, **values, speculate="ngram").result()
            assert plain.tokens == guessed.tokens
            ratios.append(guessed.timings.tokens_per_second / plain.timings.tokens_per_second)
        name = f"temperature {temperature}, penalty {penalty}"
        found[name] = {"tokens": len(plain.tokens), "ratio": median(ratios)}
        print(row(name, found[name]), flush=True)
    return found


def index_seconds(tokens: Sequence[int], n: int = 100_000) -> float:
    """What the index takes for each token of a long text."""
    long = (list(tokens) * (n // len(tokens) + 1))[:n]
    started = time.perf_counter()
    Ngrams(long)
    return (time.perf_counter() - started) / n


def head(report: dict[str, Any]) -> str:
    sizes = list(report["costs"])
    lines = [f"{report['model']}, {report['threads']} threads: {report['one_ms']:.1f} ms a token at depth {DEPTH}.", ""]
    lines += ["| tokens | " + " | ".join(map(str, sizes)) + " |", "|---|" + "---|" * len(sizes)]
    lines += ["| evaluations of one | " + " | ".join(f"{report['costs'][n]:.2f}" for n in sizes) + " |", ""]
    lines += [
        "| text | tokens | plain, tokens/s | guessed | ratio | accepted of drafted |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join(lines)


def row(name: str, of: dict[str, Any]) -> str:
    if "plain" not in of:
        return f"| own, {name} | {of['tokens']} | | | {of['ratio']:.2f} | |"
    speeds = f"{of['plain']:.1f} | {of['guessed']:.1f} | {of['ratio']:.2f}"
    return f"| {name} | {of['tokens']} | {speeds} | {of['accepted']:.0f} of {of['drafted']:.0f} |"


def markdown(report: dict[str, Any]) -> str:
    rows = {**report["texts"], **report.get("own", {})}
    return "\n".join([head(report), *(row(*found) for found in rows.items())]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="What guessing ahead brings.")
    parser.add_argument("model")
    parser.add_argument("--draft", help="a model of tales' vocabulary that guesses, in place of the n-grams")
    parser.add_argument("--own", action="store_true", help="also what the model itself says")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=300, help="of the story, and about of each text")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--cpu", action="store_true", help="processor time, of one thread: for a machine that is not idle"
    )
    parser.add_argument("--only", default="", help="texts, separated by commas")
    parser.add_argument("--out", type=Path, help="write OUT.md and OUT.json")
    args = parser.parse_args()
    with LLM.from_pretrained("tales") as teller:
        prompt, cases = texts(teller, args.tokens)
    if args.only:
        cases = {name: cases[name] for name in args.only.split(",")}
    clock = time.process_time if args.cpu else time.perf_counter
    config = {"context_length": 2048, "threads": 1 if args.cpu else args.threads or -1}
    with LLM.from_pretrained(args.model, draft=args.draft, **config) as llm:
        measured = costs(llm, list(islice(cycle(prompt), DEPTH + MOST + 1)), 3 * args.rounds, clock)
        report: dict[str, Any] = {
            "model": Path(args.model).name,
            "threads": llm.threads,
            "draft": args.draft,
            "one_ms": measured.pop(0) * 1e3,
            "costs": measured,
            "index_us_per_token": index_seconds(prompt) * 1e6,
        }
        print(head(report), flush=True)
        report["texts"] = compare(llm, prompt, cases, "draft" if args.draft else "ngram", args.rounds, clock)
        if args.own:
            report["own"] = own_stories(llm, "Once upon a time", args.rounds, args.tokens)
    if args.out:
        args.out.with_suffix(".md").write_text(markdown(report))
        args.out.with_suffix(".json").write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
