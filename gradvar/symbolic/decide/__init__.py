"""Decisions about formulas: equality, solvers, regions, enumeration."""
