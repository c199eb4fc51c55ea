"""Uploads: the bytes of a file by PUT, straight to the disk.

Not through a callback, which would hold them in memory as base64 twice over.
"""

from flask import Flask, Response, request

from dashboards.serving.places import Places


def routes(server: Flask, places: Places) -> None:
    """Add ``PUT /upload/<name>``: 201 and the name it got, or 4xx and one line."""

    @server.put("/upload/<name>")
    def upload(name: str) -> Response:
        try:
            kept = places.receive(name, request.stream, request.content_length)
        except ValueError as error:
            return Response(f"{error}\n", 400, mimetype="text/plain")
        except OSError as error:
            return Response(f"{name}: {error.strerror or error}\n", 507, mimetype="text/plain")
        return Response(kept, 201, mimetype="text/plain")
