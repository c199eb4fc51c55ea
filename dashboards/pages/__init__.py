"""The pages, one module each: PATH, NAME, ``layout(desk, state)`` and ``register(app, desk)``."""
