"""Policies: a softmax bandit and a tabular sequence model, both finite, a transformer, and models of your own."""

from gradvar.policies.bandit import Bandit as Bandit
from gradvar.policies.own import Own as Own
from gradvar.policies.own import OwnFinite as OwnFinite
from gradvar.policies.own_models import from_equinox as from_equinox
from gradvar.policies.own_models import from_nnx as from_nnx
from gradvar.policies.part import Part as Part
from gradvar.policies.part import last_layers as last_layers
from gradvar.policies.part import lora as lora
from gradvar.policies.rope import Rope as Rope
from gradvar.policies.tabular import Tabular as Tabular
from gradvar.policies.tokenizer import Tokenizer as Tokenizer
from gradvar.policies.transformer import Pretrained as Pretrained
from gradvar.policies.transformer import Transformer as Transformer
from gradvar.policies.transformer_config import TransformerConfig as TransformerConfig
