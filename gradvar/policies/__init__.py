"""Policies: a softmax bandit and a tabular sequence model, both finite, a transformer, and models of your own."""

from gradvar.policies.bandit import Bandit as Bandit
from gradvar.policies.from_logits.modules import from_equinox as from_equinox
from gradvar.policies.from_logits.modules import from_nnx as from_nnx
from gradvar.policies.from_logits.policy import FiniteLogitsPolicy as FiniteLogitsPolicy
from gradvar.policies.from_logits.policy import LogitsPolicy as LogitsPolicy
from gradvar.policies.tabular import Tabular as Tabular
from gradvar.policies.transformer.adapters import PartialTransformer as PartialTransformer
from gradvar.policies.transformer.adapters import last_layers as last_layers
from gradvar.policies.transformer.adapters import lora as lora
from gradvar.policies.transformer.config import TransformerConfig as TransformerConfig
from gradvar.policies.transformer.policy import Pretrained as Pretrained
from gradvar.policies.transformer.policy import Transformer as Transformer
from gradvar.policies.transformer.rope import Rope as Rope
from gradvar.policies.transformer.tokenizer import Tokenizer as Tokenizer
