"""Congestion control seen from outside: what senders must have concluded from the marks they were told."""
