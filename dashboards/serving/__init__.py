"""Serving the dashboard: who may ask, what a browser may do with the answer, uploads, jobs."""
