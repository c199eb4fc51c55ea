"""OpenTelemetry metrics over gRPC: SONiC's high-frequency telemetry, Cumulus and NVOS exports.

An export is answered when it is on disk; where that fails the sender is told that it may try again
(OTLP specification, "Failures": UNAVAILABLE is retryable).
"""

from typing import Any, Final

import grpc

from collectors.dialout import address, short
from collectors.health import Board
from collectors.recorder import Recorder
from collectors.records import Method
from collectors.safety import safe

EXPORT: Final = "metricsservice/export"


class Otlp:
    """The metrics service of a listener."""

    def __init__(self, recorder: Recorder, board: Board) -> None:
        self.recorder, self.board = recorder, board

    def handler(self, path: str) -> Any:
        """What serves a path; None where it is not OTLP's."""
        if short(path) != EXPORT:
            return None
        return grpc.unary_unary_rpc_method_handler(self.export)

    async def export(self, raw: bytes, context: Any) -> bytes:
        """Record an ExportMetricsServiceRequest; the answer has no fields where all was taken."""
        peer = address(context.peer())
        health = self.board.of("otlp", peer, peer)
        health.turn("streaming")
        health.took(len(raw))
        if raw:
            ticket = self.recorder.record(peer, Method.OTLP, raw)
            try:
                await safe(self.recorder, [ticket])
            except OSError as error:
                health.faults += 1
                await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        return b""
