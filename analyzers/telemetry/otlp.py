"""OpenTelemetry metrics: SONiC's high-frequency telemetry, Cumulus and NVOS.

A data point is ``/otlp/METRIC[attribute=value]...``. The device is what the resource calls its host,
or the sender's address. Histograms are left out: their buckets are no counters of ours.
"""

from collections.abc import Iterable
from typing import Any, Final

from google.protobuf.message import DecodeError

from analyzers.telemetry.dictionary import Dictionary
from analyzers.telemetry.readings import VendorReading
from collectors.messages import Elem
from collectors.vendors import Otlp

# opentelemetry semantic conventions: resource/host, resource/device; what exporters of switches use
HOSTS: Final = ("host.name", "net.host.name", "device.id", "hostname", "service.instance.id")


def otlp(payload: bytes, _: Dictionary) -> Iterable[VendorReading]:
    """Readings of an ExportMetricsServiceRequest; ValueError where it is none."""
    try:
        request = Otlp.ExportMetricsServiceRequest.FromString(payload)
    except DecodeError as error:
        raise ValueError("no ExportMetricsServiceRequest") from error
    for resource in request.resource_metrics:
        about = _attributes(resource.resource.attributes)
        device = next((about[name] for name in HOSTS if about.get(name)), "")
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                which = metric.WhichOneof("data")
                if which not in ("gauge", "sum"):
                    continue
                name = metric.name.decode(errors="replace")
                for point in getattr(metric, which).data_points:
                    value = point.WhichOneof("value")
                    if value is None:
                        continue
                    told = _attributes(point.attributes)
                    elems: tuple[Elem, ...] = (("otlp", {}), (name, told))
                    ts = point.time_unix_nano & (1 << 63) - 1
                    yield VendorReading(device, ts, elems, getattr(point, value))


def _attributes(pairs: Any) -> dict[str, str]:
    found = {}
    for pair in pairs:
        which = pair.value.WhichOneof("value")
        if which in ("string_value", "bytes_value"):
            found[pair.key.decode(errors="replace")] = getattr(pair.value, which).decode(
                errors="replace"
            )
        elif which in ("int_value", "bool_value", "double_value"):
            found[pair.key.decode(errors="replace")] = str(getattr(pair.value, which))
    return found
