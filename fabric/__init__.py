"""What a lossless fabric is: protocol numbers, wire layouts, table schemas, topology, routing, QoS."""

__version__ = "0.1.0"
