"""Policies made from your own model's logits."""
