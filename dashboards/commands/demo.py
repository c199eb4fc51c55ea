"""``fabric demo``: the whole chain on one machine, with faults that come and go.

A simulated fabric is served over gNMI by one process, collected into a store by a second, diagnosed by
a third that the second starts, and shown by this one. The third is given the store and the topology and nothing else: what it
says is read from counters, not from the scenario.
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from socket import socket

    from dashboards.serving.serve import Serving

SCENARIO: Final = Path(__file__).with_name("demo.toml")
PATHS: Final = (
    "/interfaces/interface[name=*]/state/counters",
    "/interfaces/interface[name=*]/ethernet",
    "/qos/interfaces/interface[interface-id=*]",
)
START_S: Final = 120.0  # how long the chain may take until the first readings are in the store
END_S: Final = 10.0
LOOK_S: Final = 0.5
BOUNDED_S: Final = 120.0  # where nobody watches, at the longest


def demo(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port.")] = 8050,
    scenario: Annotated[Path, typer.Option(help="Another fabric with other faults.")] = SCENARIO,
    speed: Annotated[
        float, typer.Option(min=0.1, max=50, help="Readings per second of ours.")
    ] = 2.0,
    seconds: Annotated[
        float,
        typer.Option(
            min=0,
            help="End after so long; 0: at Ctrl-C, or, where nobody watches, once a cause came and went.",
        ),
    ] = 0.0,
) -> int:
    """Start a simulated fabric, collector, store, diagnosis and dashboard on this machine.

    Example: fabric demo --port 8080
    """
    from dashboards.serving.serve import Serving, listen

    if not scenario.is_file():
        raise FileNotFoundError(f"{scenario}: no such scenario file")
    serving = Serving(port=port)
    taken = listen(serving)
    limit_s = seconds or (0.0 if sys.stdout.isatty() else BOUNDED_S)
    with ExitStack() as stack:
        stack.callback(taken.close)
        folder = Path(stack.enter_context(_folder()))
        _say("simulating the fabric")
        run = _simulated(folder, scenario)
        _start_chain(stack, folder, run, speed)
        return _show(stack, folder, serving, taken, limit_s, brief=not seconds)


@contextmanager
def _folder() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="fabric-demo-", ignore_cleanup_errors=True) as folder:
        yield folder


def _simulated(folder: Path, scenario: Path) -> Path:
    """A run of the scenario, and beside it the topology alone, for those who may know no more."""
    run = folder / "run"
    _once("simulate", str(scenario), "--out", str(run))
    _once("topology", "import", str(run / "topology.json"), "--out", str(folder / "topology.yaml"))
    return run


def _start_chain(stack: ExitStack, folder: Path, run: Path, speed: float) -> None:
    """Replay, collector and diagnosis as processes of their own."""
    from dashboards.commands.values import NANOSECONDS

    targets = folder / "targets.toml"
    interval_s = 50 * NANOSECONDS["us"] / NANOSECONDS["s"]
    replay = ["replay", str(run), "--loop", "--listen", "127.0.0.1:0", "--targets", str(targets),
              "--speed", f"{interval_s * speed:.9f}"]  # fmt: skip
    stack.enter_context(_running(*replay))
    _wait(targets.exists, "the simulated devices")
    config = folder / "collect.toml"
    config.write_text(_collector(targets, 1 / speed))
    stack.enter_context(_running("collect", str(config)))
    log = folder / "store/counters/_delta_log"
    _wait(lambda: log.is_dir() and (folder / "store/state.sqlite").exists(), "the store")


def _collector(targets: Path, every_s: float) -> str:
    """Configuration of the collector: the production one, on the replayed targets."""
    lines = [
        'folder = "records"', 'name = "demo"', f"targets_files = [{json.dumps(targets.name)}]",
        "[defaults]", 'subscriptions = ["everything"]', 'platform = "openconfig"',
        "[subscriptions.everything]", f"paths = {json.dumps(PATHS)}", 'mode = "target_defined"',
        "[store]", 'url = "store"',
        "[diagnose]", 'topology = ["topology.yaml"]', f'every = "{every_s:.3f}s"',
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _show(
    stack: ExitStack,
    folder: Path,
    serving: "Serving",
    taken: "socket",
    limit_s: float,
    *,
    brief: bool,
) -> int:
    """Serve the dashboard on the store; in the terminal, say what is found as it comes and goes.

    With a limit and ``brief`` the first cause that is over ends it; none at all is a failure.
    """
    import threading

    from analyzers.state import State
    from dashboards.commands.dashboard import ready
    from dashboards.commands.interrupt import interruptible
    from dashboards.serving.serve import stop
    from dashboards.store_reader import StoreReader
    from fabric.inventory import load

    reader = StoreReader(
        folder / "store", load([folder / "topology.yaml"]), folder / "records/status.json"
    )
    running, url = ready(reader, serving, taken, folder / "state")
    interruptible()
    stack.callback(stop, running)
    threading.Thread(target=running.run, daemon=True).start()
    _say(f"open {url} (Ctrl-C ends)")
    state = stack.enter_context(State(folder / "store/state.sqlite"))
    told: dict[str, str] = {}
    end = time.monotonic() + limit_s if limit_s else None
    while end is None or time.monotonic() < end:
        for one in reversed(state.incidents()):
            if told.get(one.id) != one.state:
                told[one.id] = one.state
                roots = ", ".join(one.body["roots"])
                _say(
                    f"{one.state}: {one.cls} at {roots}, {one.body['confidence'] * 100:.0f} % sure"
                )
        if brief and end and "over" in told.values():
            return 0
        time.sleep(LOOK_S)
    if not told:
        raise OSError(f"no cause was named within {limit_s:.0f} s")
    return 0


def _once(*arguments: str) -> None:
    """Run one of our commands to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "dashboards.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ValueError(done.stderr.strip().removeprefix("fabric: ") or f"{arguments[0]} failed")


@contextmanager
def _running(*arguments: str) -> Iterator[None]:
    """One of our commands in the background, ended with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dashboards.cli", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(ready: object, what: str) -> None:
    assert callable(ready)
    end = time.monotonic() + START_S
    while not ready():
        if time.monotonic() > end:
            raise OSError(f"{what} did not come up within {START_S:.0f} s")
        time.sleep(0.1)


def _say(text: str) -> None:
    typer.echo(f"demo: {text}")
    sys.stdout.flush()
