"""Theorems that a proof kernel (Coq, or Rocq as it is called now) checks, and their bridge to the code that ships."""
