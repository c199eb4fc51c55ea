"""What a page asks: small queries over the tables, each giving a frame that is ready to be shown."""
