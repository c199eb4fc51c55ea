"""Counters: from what devices and simulators report to COUNTERS."""
