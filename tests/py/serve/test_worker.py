"""The thread of a model: what is cancelled in a prefill, what is too long to look at, what fails."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from pocketllama import LLM, errors
from pocketllama.engine import Completion, Sampling
from pocketllama.serve.answers import ShuttingDown
from pocketllama.serve.ticket import Job, Ticket
from pocketllama.serve.worker import Worker


@pytest.fixture
def llm(settled: dict[str, str], own_home: Any) -> Iterator[LLM]:
    with LLM.from_pretrained("tales", lib=settled["POCKETLLAMA_LIB"], n_seqs=2) as llm:
        yield llm


@pytest.fixture
def worker(llm: LLM) -> Iterator[Worker]:
    ended: list[Completion] = []
    worker = Worker("tales", llm, 2, lambda ticket, completion: ended.append(completion))
    worker.ended = ended  # type: ignore[attr-defined]
    yield worker
    assert worker.close(60)


def text(prompt: str, **values: Any) -> Job:
    return Job(0, prompt=lambda llm: llm.tokenize(prompt), options=Sampling.of(**values))


def test_a_prefill_that_nobody_waits_for_is_given_up(llm: LLM, worker: Worker) -> None:
    llm._chunks.size = llm._chunks.LARGEST = 1  # type: ignore[misc]  # a token at a time
    steps = asyncio.Event()
    evaluate = llm._backend.evaluate_batch

    async def run() -> list[Any]:
        loop = asyncio.get_running_loop()

        def slowly(*args: Any) -> None:
            evaluate(*args)
            loop.call_soon_threadsafe(steps.set)

        llm._backend.evaluate_batch = slowly
        alone = await worker.submit([text("The king", max_tokens=12, seed=1)]).results()
        steps.clear()
        left = worker.submit([text("Once upon a time " * 100, max_tokens=9)])
        await steps.wait()
        left.cancel.set()
        beside = await worker.submit([text("The king", max_tokens=12, seed=1)]).results()
        while worker.load != (0, 0):
            await asyncio.sleep(0.01)
        return [alone[0].text, beside[0].text]

    alone, beside = asyncio.run(run())
    assert alone == beside
    (given_up,) = [end for end in worker.ended if end.finish_reason == "cancelled"]  # type: ignore[attr-defined]
    assert given_up.completion_tokens == 0 and given_up.timings.prompt_tokens_evaluated < given_up.prompt_tokens


def test_the_queue_has_an_end(worker: Worker) -> None:
    async def run() -> None:
        tickets: list[Ticket] = []
        with pytest.raises(errors.Busy) as refused:
            while True:
                tickets.append(worker.submit([text("Once", max_tokens=500, logit_bias={2: -100})]))
        assert len(tickets) >= 4 and refused.value.data["retry_after"] >= 1
        for ticket in tickets:
            ticket.cancel.set()
        while worker.load != (0, 0):
            await asyncio.sleep(0.01)
        worker.cancel_waiting()
        with pytest.raises(ShuttingDown):
            worker.submit([text("Once")])

    asyncio.run(run())


def test_what_fails_fails_alone(llm: LLM, worker: Worker) -> None:
    def broken(llm: Any) -> list[int]:
        raise ZeroDivisionError("swordfish")

    async def run() -> None:
        wrong = worker.submit([Job(0, prompt=broken)])
        with pytest.raises(errors.EngineError) as told:
            await wrong.accepted()
        assert "swordfish" not in str(told.value)
        with pytest.raises(errors.EngineError):
            await worker.submit([Job(0, call=lambda llm, cancel: broken(llm))]).results()
        with pytest.raises(errors.ContextOverflow):
            await worker.submit([text("word " * 600)]).accepted()
        good = await worker.submit([text("Once", max_tokens=3)]).results()
        assert good[0].end.completion_tokens == 3

    asyncio.run(run())


def test_a_native_failure_is_told_to_all_that_were_in_it(llm: LLM, worker: Worker) -> None:
    evaluate = llm._backend.evaluate_batch

    def failing(*args: Any) -> None:
        llm._backend.evaluate_batch = evaluate
        raise errors.EngineError("The library failed.")

    async def run() -> None:
        llm._backend.evaluate_batch = failing
        with pytest.raises(errors.EngineError, match="library failed"):
            await worker.submit([text("Once", max_tokens=3)]).results()
        good = await worker.submit([text("Once", max_tokens=3)]).results()
        assert good[0].end.completion_tokens == 3

    asyncio.run(run())


def test_megabytes_are_not_tokenized_to_be_refused(llm: LLM, worker: Worker) -> None:
    def never(llm: Any) -> list[int]:
        raise AssertionError

    async def run() -> None:
        with pytest.raises(errors.ContextOverflow, match="bytes"):
            await worker.submit([Job(0, text="x" * 4_000_000, prompt=never)]).accepted()

    asyncio.run(run())
