"""From the bytes of a capture file to columns."""
