"""Findings and tables as text, JSON and HTML."""
