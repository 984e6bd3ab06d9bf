"""The table: what a config's model_type is in GGUF, and of which parts it is made.

To add an architecture: a function from its `Config` to a `Model` in one of the files beside this one, and its row here.
"""

from __future__ import annotations

from collections.abc import Callable

from ..config import Config
from . import llama, mixtures, older, others, qwen
from .parts import Model, Part, Source

# model_type of config.json → the function that reads it.
FAMILIES: dict[str, Callable[[Config], Model]] = {
    "llama": llama.llama,
    "mistral": llama.llama,
    "yi": llama.llama,
    "Yi": llama.llama,
    "aquila": llama.llama,
    "internlm": llama.llama,
    "internlm3": llama.llama,
    "mixtral": llama.mixtral,
    "ministral3": llama.ministral3,
    "internlm2": llama.internlm2,
    "baichuan": llama.baichuan,
    "xverse": llama.xverse,
    "exaone": llama.exaone,
    "exaone4": llama.exaone4,
    "minicpm": llama.minicpm,
    "granite": llama.granite,
    "granitemoe": llama.granitemoe,
    "granitemoeshared": llama.granitemoe,
    "granitemoehybrid": llama.granitemoe,
    "smollm3": llama.smollm3,
    "arcee": llama.arcee,
    "seed_oss": llama.seed_oss,
    "hunyuan_v1_dense": llama.hunyuan,
    "glm": llama.glm,
    "glm4": llama.glm,
    "chatglm": llama.chatglm,
    "ernie4_5": llama.ernie,
    "ernie4_5_moe": mixtures.ernie_moe,
    "qwen2": qwen.qwen2,
    "qwen2_vl": qwen.qwen2vl,
    "qwen2_vl_text": qwen.qwen2vl,
    "qwen2_5_vl": qwen.qwen2vl,
    "qwen2_5_vl_text": qwen.qwen2vl,
    "qwen2_moe": qwen.qwen2moe,
    "qwen3": qwen.qwen3,
    "qwen3_moe": qwen.qwen3moe,
    "qwen3_vl_text": qwen.qwen3vl,
    "qwen3_vl_moe_text": qwen.qwen3vlmoe,
    "dots1": qwen.dots1,
    "glm4_moe": qwen.glm4moe,
    "deepseek_v2": mixtures.deepseek2,
    "deepseek_v3": mixtures.deepseek2,
    "olmoe": mixtures.olmoe,
    "gpt_oss": mixtures.gpt_oss,
    "gemma": others.gemma,
    "gemma2": others.gemma2,
    "gemma3": others.gemma3,
    "gemma3_text": others.gemma3,
    "olmo": others.olmo,
    "olmo2": others.olmo2,
    "olmo3": others.olmo2,
    "phi": others.phi2,
    "phi3": others.phi3,
    "stablelm": others.stablelm,
    "stablelm_epoch": others.stablelm,
    "nemotron": others.nemotron,
    "cohere": others.cohere,
    "cohere2": others.cohere,
    "starcoder2": others.starcoder2,
    "gpt2": older.gpt2,
    "gpt_bigcode": older.starcoder,
    "gptj": older.gptj,
    "mpt": older.mpt,
    "bloom": older.bloom,
    "gpt_neox": older.gptneox,
    "falcon": older.falcon,
    "RefinedWeb": older.falcon,
    "RefinedWebModel": older.falcon,
}

# What transformers takes where a config does not say: those of models that see leave out what is usual.
_LLAMA = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32}
_GEMMA3 = {"num_attention_heads": 8, "num_key_value_heads": 4, "max_position_embeddings": 131072}
DEFAULTS: dict[str, dict[str, int]] = {
    "llama": {**_LLAMA, "intermediate_size": 11008},
    "mistral": {**_LLAMA, "intermediate_size": 14336, "num_key_value_heads": 8, "max_position_embeddings": 131072},
    "gemma3": {**_GEMMA3, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26},
    "gemma3_text": {**_GEMMA3, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26},
}

__all__ = ["DEFAULTS", "FAMILIES", "Model", "Part", "Source"]
