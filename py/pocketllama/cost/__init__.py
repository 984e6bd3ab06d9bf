"""What quantization costs: `pocketllama perplexity`, `imatrix` and `compare-quants`.

windows      how a text is cut into contexts, and which of its tokens are scored
perplexity   a model's losses on a text, alone or beside a base model's
logits_file  the base model's answers, kept for that
imatrix      what a model's matrices are multiplied by on a text
compare      every type of one model: size, perplexity, divergence, speed, memory
table, plot  show that
"""
