"""The ledger's claims, read once for all tests of a process: two seconds, while tests are collected."""

from gradvar.symbolic import load, proofs_folder

CLAIMS = load(proofs_folder())
