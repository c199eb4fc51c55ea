"""Parameter sets of DCQCN. None is a default of nature: the half-life of alpha differs 69-fold.

Names as in Zhu et al., "Congestion Control for Large-Scale RDMA Deployments", SIGCOMM 2015, section 5;
``nic`` has the firmware defaults of NVIDIA's NICs (DOCA, "DCQCN RP" parameters), ``ns3`` what the scripts
of the public HPCC model give plain DCQCN. A NIC's own settings replace single values.
"""

from typing import Final, NamedTuple


class Profile(NamedTuple):
    """Parameters; times in ns, rates in bit/s."""

    g: float  # weight of the newest mark in alpha
    alpha_ns: int  # alpha decays once in this time without a CNP
    cut_ns: int  # at most one cut in this time
    rise_ns: int  # timer of the increase
    rise_bytes: int  # byte counter of the increase; 0 none
    fast: int  # steps of fast recovery before additive increase
    ai_bps: float
    hai_bps: float
    min_bps: float
    clamp: bool  # every cut lowers the goal; else only the first one after an increase
    periodic: bool  # NICs look at the end of a period whether a CNP came; the paper acts at once


PROFILES: Final[dict[str, Profile]] = {
    "paper": Profile(1 / 256, 55_000, 0, 55_000, 10_000_000, 5, 40e6, 200e6, 100e6, True, False),
    "nic": Profile(5 / 1024, 1_000, 4_000, 300_000, 32_767 * 64, 1, 5e6, 50e6, 1e6, False, True),
    "ns3": Profile(1 / 256, 1_000, 4_000, 300_000, 0, 1, 20e6, 200e6, 1e9, False, True),
}
