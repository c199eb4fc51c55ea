"""Figures: plain dictionaries for Plotly and Cytoscape, made from frames that are ready."""
