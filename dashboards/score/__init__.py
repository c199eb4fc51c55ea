"""Accuracy on labelled runs: what the diagnosis says of runs whose cause is known."""
