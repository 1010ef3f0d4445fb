"""Policies: a softmax bandit and a tabular sequence model, both finite, and a transformer."""

from gradvar.policies.bandit import Bandit as Bandit
from gradvar.policies.tabular import Tabular as Tabular
from gradvar.policies.transformer import Transformer as Transformer
from gradvar.policies.transformer_config import TransformerConfig as TransformerConfig
