"""Decoder-only transformers: configuration, network, checkpoints, tokenizer, adapters."""
