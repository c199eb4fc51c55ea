"""From decoded rows to flows, sequence events, messages and windows."""
