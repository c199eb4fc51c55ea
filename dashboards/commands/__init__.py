"""The subcommands of fabric, one module each."""
