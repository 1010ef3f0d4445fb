"""Exact moments by enumeration, and closed forms."""
