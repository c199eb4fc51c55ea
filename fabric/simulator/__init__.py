"""A packet-level twin of a lossless fabric: known causes to practise on.

Only the command line and the tests import it; no detector ever sees a scenario or a label.
"""
