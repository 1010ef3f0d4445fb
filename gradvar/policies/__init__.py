"""Policies: a softmax bandit and a tabular sequence model, both finite, a transformer, models of your own; engines."""

from gradvar.policies.bandit import Bandit as Bandit
from gradvar.policies.from_logits.modules import from_equinox as from_equinox
from gradvar.policies.from_logits.modules import from_nnx as from_nnx
from gradvar.policies.from_logits.policy import FiniteLogitsPolicy as FiniteLogitsPolicy
from gradvar.policies.from_logits.policy import LogitsPolicy as LogitsPolicy
from gradvar.policies.sampler_tokens import min_p as min_p
from gradvar.policies.sampler_tokens import noise as noise
from gradvar.policies.sampler_tokens import temperature as temperature
from gradvar.policies.sampler_tokens import top_k as top_k
from gradvar.policies.sampler_tokens import top_p as top_p
from gradvar.policies.sampler_weights import bfloat16_weights as bfloat16_weights
from gradvar.policies.sampler_weights import fp8_weights as fp8_weights
from gradvar.policies.sampler_weights import int8_weights as int8_weights
from gradvar.policies.sampler_weights import merged_adapter as merged_adapter
from gradvar.policies.sampler_weights import other_template as other_template
from gradvar.policies.sampler_weights import stale as stale
from gradvar.policies.tabular import Tabular as Tabular
from gradvar.policies.transformer.adapters import PartialTransformer as PartialTransformer
from gradvar.policies.transformer.adapters import last_layers as last_layers
from gradvar.policies.transformer.adapters import lora as lora
from gradvar.policies.transformer.config import TransformerConfig as TransformerConfig
from gradvar.policies.transformer.policy import Pretrained as Pretrained
from gradvar.policies.transformer.policy import Transformer as Transformer
from gradvar.policies.transformer.rope import Rope as Rope
from gradvar.policies.transformer.tokenizer import Tokenizer as Tokenizer
