"""The OpenAI HTTP API over the engine, and the page at `/`. docs/server.md describes it from outside.

A request comes in through `guard` (who may ask) and `body` (how large, how deep), is read by `requests` (what may be
asked), and becomes jobs for the `worker` of its model: one thread that decodes all of them together. What comes of them
flows back through a `ticket` into one answer (`completions`, `chat`, `embeddings`) or a stream of them (`stream`).
"""
