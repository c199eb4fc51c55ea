"""What understands: bytes become tables, tables become findings."""
