"""The makers: one function per capture, gathered by theme; ``captures.make`` lists them."""
