"""The plainest gNMI client: real grpc over loopback, and a run served until all of it is delivered."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Self

import grpc

from collectors import messages as gnmi
from collectors.server import Options, serving
from collectors.timeline import Timeline

PATIENCE_S = 30
METHODS = {
    "Capabilities": ("unary_unary", gnmi.CapabilityResponse),
    "Get": ("unary_unary", gnmi.GetResponse),
    "Subscribe": ("stream_stream", gnmi.SubscribeResponse),
}


class Client:
    """One connection to one target."""

    def __init__(self, address: str, credentials: Any = None, metadata: Any = ()) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        if credentials is None:
            self.channel = grpc.insecure_channel(address, options)
        else:
            self.channel = grpc.secure_channel(address, credentials, options)
        self.metadata = tuple(metadata)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def call(self, method: str, request: Any) -> Any:
        shape, answer = METHODS[method]
        stub = getattr(self.channel, shape)(
            f"/{gnmi.SERVICE}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return stub(request, timeout=PATIENCE_S, metadata=self.metadata)


def asking(
    *subscriptions: Any,
    mode: int = gnmi.ListMode.STREAM,
    encoding: int = gnmi.Encoding.PROTO,
    target: str = "",
    **more: Any,
) -> Any:
    """A SubscribeRequest."""
    listed = gnmi.SubscriptionList(
        prefix=gnmi.Path(target=target), subscription=subscriptions, mode=mode, encoding=encoding, **more
    )  # fmt: skip
    return gnmi.SubscribeRequest(subscribe=listed)


def sample(path: str, interval_ns: int = 0, **more: Any) -> Any:
    return gnmi.Subscription(
        path=gnmi.path(path), mode=gnmi.SubscriptionMode.SAMPLE, sample_interval=interval_ns, **more
    )


def on_change(path: str, **more: Any) -> Any:
    return gnmi.Subscription(path=gnmi.path(path), mode=gnmi.SubscriptionMode.ON_CHANGE, **more)


def streamed(
    timelines: Sequence[Timeline], options: Options, requests: dict[str, Any], **how: Any
) -> dict[str, list[Any]]:
    """Responses of one STREAM per device, all at once, from the start of the run to its end."""
    clients: dict[str, Client] = {}
    with ThreadPoolExecutor(len(requests)) as pool:
        with serving(timelines, replace(options, wait=len(requests))) as replay:
            addresses = dict(replay.endpoints)
            clients = {device: Client(addresses[device], **how) for device in requests}
            futures = {
                device: pool.submit(list, client.call("Subscribe", iter([requests[device]])))
                for device, client in clients.items()
            }
            replay.done.result(PATIENCE_S)
        found = {device: future.result(PATIENCE_S) for device, future in futures.items()}
    for client in clients.values():
        client.channel.close()
    return found
