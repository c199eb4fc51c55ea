"""``make bench``: every benchmark in turn; each prints its ratios against something else in the same run."""

from benchmarks import (
    bench_analyze,
    bench_collect,
    bench_dashboard,
    bench_decode,
    bench_diagnosis,
    bench_simulator,
    bench_telemetry,
    bench_topology,
)

for benchmark in (
    bench_decode,
    bench_analyze,
    bench_topology,
    bench_simulator,
    bench_telemetry,
    bench_collect,
    bench_diagnosis,
    bench_dashboard,
):
    print(f"\n== {benchmark.__name__}: {(benchmark.__doc__ or '').splitlines()[0]}", flush=True)
    benchmark.main()
