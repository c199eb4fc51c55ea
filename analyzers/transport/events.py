"""EVENTS rows from the tracker's ring, with the argument for each verdict in one sentence."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analyzers.frames import schema
from analyzers.transport.verdicts import EventKind, Place, Verdict
from fabric.schema import EVENTS

FRAMES = ("frame", "original_frame", "reply_frame", "resend_frame")
TIMES = ("delay_ns", "limit_ns")


def events_frame(ring: NDArray[np.void], first_flow: int, points: Sequence[str]) -> pl.DataFrame:
    """EVENTS of ``ring`` (dtype EVENT).

    ``first_flow`` is added to serials to make flow numbers; ``points`` names the interfaces, its last
    entry those that have no name of their own.
    """
    plain = ("ts", "end", "psn", "psns", "resent", "extent", *TIMES, *FRAMES)
    place = np.minimum(ring["iface"].astype(np.int64), len(points) - 1)
    frame = pl.DataFrame(
        {name: np.ascontiguousarray(ring[name]) for name in plain}
        | {
            "flow": ring["serial"] + first_flow,
            "kind": np.ascontiguousarray(ring["kind"]),
            "verdict": np.ascontiguousarray(ring["verdict"]),
            "place": np.ascontiguousarray(ring["place"]),
            "point": pl.Series(points, dtype=pl.String)[place],
        }
    )
    named = frame.with_columns(
        _named("kind", EventKind),
        _named("verdict", Verdict),
        _named("place", Place),
        *(pl.when(pl.col(name) > 0).then(pl.col(name)).alias(name) for name in FRAMES),
        *(pl.when(pl.col(name) >= 0).then(pl.col(name)).alias(name) for name in TIMES),
    )
    return named.with_columns(proof=proof()).select(
        pl.col(name).cast(kind) for name, kind in schema(EVENTS).items()
    )


def _named(column: str, names: type[IntEnum]) -> pl.Expr:
    """A code as its name in lower case; NOWHERE is empty."""
    texts = {member.value: member.name.lower() for member in names}
    texts = {code: "" if text == "nowhere" else text for code, text in texts.items()}
    return pl.col(column).replace_strict(texts, return_dtype=pl.String)


def _text(template: str, *columns: str) -> pl.Expr:
    """A sentence; missing numbers are said to be missing."""
    return pl.format(template, *(pl.col(c).cast(pl.String).fill_null("-") for c in columns))


def _then(column: str, template: str, otherwise: str) -> pl.Expr:
    """A sentence where the frame is known, another where it is not."""
    return (
        pl.when(pl.col(column).is_not_null())
        .then(_text(template, column))
        .otherwise(pl.lit(otherwise))
    )


def _span() -> pl.Expr:
    """``PSN 77`` or ``PSNs 77 and the 3 after it``."""
    one = _text("PSN {}", "psn")
    more = pl.format("PSN {} and the {} after it", "psn", pl.col("psns") - 1)
    return pl.when(pl.col("psns") <= 1).then(one).otherwise(more)


def proof() -> pl.Expr:
    """The argument in one sentence, out of the columns of the event."""
    kind, verdict, place = pl.col("kind"), pl.col("verdict"), pl.col("place")
    span = _span()
    seen = _then(
        "original_frame", "the original passed here in frame {}", "no original passed here"
    )
    asked = _then(
        "reply_frame", "frame {} asks for it", "the request to send again was not captured"
    )
    again = _then("resend_frame", "frame {} is sent again", "no packet sent again was captured")
    silence = pl.format("after {} us of silence", pl.col("delay_ns").fill_null(0) // 1000)
    argument = {
        ("loss", "lost"): pl.format("{}: {}, {}, {}", span, seen, asked, again),
        ("loss", "undetermined"): pl.format(
            "{} never passed here and {}; the tap lost packets too", span, again
        ),
        ("capture_loss", "capture_loss"): pl.format(
            "{}: {}, which this tap did not see", span,
            _then("reply_frame", "frame {} acknowledges them", "an answer acknowledges them"),
        ),
        ("reorder", "reordered"): pl.format(
            "{} arrived in frame {}, {} packets late and before it could be asked for again", span,
            pl.coalesce(pl.col("original_frame"), pl.col("frame")).cast(pl.String).fill_null("-"),
            "extent",
        ),
        ("retransmission", "spurious"): pl.format("{}: {} and {}; nothing was lost", span, seen, again),
        ("retransmission", "undetermined"): pl.format(
            "{}: {}, and no NAK or silence explains it", span, again
        ),
        ("timeout", "tail_loss"): pl.format("{}: {} {}, {}", span, again, silence, seen),
        ("timeout", "ack_lost"): pl.format(
            "{}: {} {}, but {}: it had arrived", span, again, silence,
            _then("reply_frame", "frame {} acknowledges it", "it was acknowledged"),
        ),
        ("timeout", "undetermined"): pl.format(
            "{}: {} {}; a lost packet and a lost acknowledgement look alike here", span, again, silence
        ),
    }  # fmt: skip
    sentence: Any = pl.when(pl.lit(value=False)).then(pl.lit(""))  # two private types in turn
    for (what, told), text in argument.items():
        sentence = sentence.when((kind == what) & (verdict == told)).then(text)
    waited = pl.format(
        "frame {} says the receiver is not ready for {}: {} us asked for, {} us waited",
        pl.coalesce("reply_frame", "frame"), span, pl.col("limit_ns").fill_null(0) // 1000,
        pl.col("delay_ns").fill_null(0) // 1000,
    )  # fmt: skip
    whole: pl.Expr = (
        sentence.when((kind == "rnr") & (verdict == "no_resend"))
        .then(_text("frame {} says the receiver is not ready; nothing was sent again", "frame"))
        .when(kind == "rnr")
        .then(waited)
        .when(kind == "nak")
        .then(pl.format("frame {} refuses {} for good: {}", "frame", span, verdict))
        .when(kind == "gap")
        .then(pl.format("{} missing from frame {} on; nothing seen later decides", span, "frame"))
        .when(kind == "hole")
        .then(_text("silence before frame {} long enough for the PSNs to wrap", "frame"))
        .when(kind == "qpn_reuse")
        .then(
            _text("frame {} begins a new life of the queue pair number, at PSN {}", "frame", "psn")
        )
        .otherwise(pl.format("{}: {} {}", kind, verdict, place))
    )
    return whole
