"""Findings and readings folded to causes: signals, pause graph, rules, incidents."""
