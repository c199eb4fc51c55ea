"""Host settings that undo the switches: traffic class, GID version, DCQCN switches, PCIe width and ACS.

NCCL and the RDMA connection manager choose the traffic class of RoCE packets, the NIC only carries it
out; a class the switches do not treat as lossless turns the whole fabric lossy for that job. A GID of
RoCE v1 cannot be routed and has no DSCP. DCQCN works only if the receiver answers marks (NP) and the
sender obeys (RP) on the priority in use. A NIC faster than its PCIe slot pauses the fabric itself; inside
a virtual machine the reported link may be made up, so that one finding is not certain.
"""

from collections import Counter
from collections.abc import Iterator

from analyzers.audit.common import Remark, Site
from fabric.cables import Port
from fabric.qos import PortQos


def check(site: Site) -> Iterator[Remark]:
    """One remark per host port and setting."""
    said = {q.port: _dscp(q) for q in site.ports if q.role == "host" and _dscp(q) >= 0}
    usual = Counter(said.values()).most_common(1)[0][0] if said else -1
    for qos in site.ports:
        if qos.role != "host":
            continue
        if said.get(qos.port, usual) != usual:
            yield Remark(
                "roce_dscp_differs", "warning", qos.port,
                f"sends RoCE with DSCP {said[qos.port]}, most hosts with {usual}",
                f"Set the traffic class to {usual << 2 | 2} (DSCP {usual}, ECT) here.",
            )  # fmt: skip
        yield from _classes(qos)
        yield from _dcqcn(site, qos)
        if qos.roce.acs_bridges > 0:
            yield Remark(
                "acs_on", "warning", Port(qos.port.device, ""),
                f"has PCIe access control on in {qos.roce.acs_bridges} bridges: GPU and NIC meet in the "
                "root complex instead of their switch",
                "Turn ACS off in the BIOS or with setpci (bare metal), or enable ATS (virtual machines).",
                value=float(qos.roce.acs_bridges), limit=0.0, unit="",
            )  # fmt: skip
        if 0 < qos.roce.pcie_bps < qos.speed_bps:
            yield Remark(
                "pcie_narrow", "warning", qos.port,
                f"is a NIC of {qos.speed_bps / 1e9:g} Gb/s behind a PCIe link that carries "
                f"{qos.roce.pcie_bps / 1e9:.0f} Gb/s",
                "Reseat the card or move it to a wider slot; check the negotiated width.",
                value=float(qos.roce.pcie_bps), limit=float(qos.speed_bps), unit="bit/s",
                confidence=0.8,
            )  # fmt: skip


def _dscp(qos: PortQos) -> int:
    return qos.roce.nccl_tc >> 2 if qos.roce.nccl_tc >= 0 else qos.roce.dscp


def _classes(qos: PortQos) -> Iterator[Remark]:
    roce = qos.roce
    if roce.gid_type and roce.gid_type != "RoCE v2":
        yield Remark(
            "gid_not_v2", "critical", qos.port,
            f"has no GID of RoCE v2 ({roce.gid_type}): its packets cannot be routed",
            "Give the interface an IP address, and choose the index of a RoCE v2 GID "
            "(NCCL_IB_GID_INDEX).",
        )  # fmt: skip
    if roce.nccl_tc >= 0 and roce.dscp >= 0 and roce.nccl_tc >> 2 != roce.dscp:
        yield Remark(
            "nccl_tc_differs", "info", qos.port,
            f"has NCCL use DSCP {roce.nccl_tc >> 2} and everything else {roce.dscp}",
            "Set NCCL_IB_TC and the traffic class of the device to one value.",
        )  # fmt: skip
    if roce.nccl_tc >= 0 and roce.nccl_tc & 3 == 3:
        yield Remark(
            "sent_as_marked", "warning", qos.port,
            f"sends every packet as already congested: NCCL_IB_TC is {roce.nccl_tc}",
            f"Set NCCL_IB_TC to {roce.nccl_tc & ~3 | 2}: the two low bits are ECN.",
        )  # fmt: skip


def _dcqcn(site: Site, qos: PortQos) -> Iterator[Remark]:
    own = [_dscp(qos)] if _dscp(qos) >= 0 else list(site.roce)
    chains = [chain for dscp in own if (chain := qos.chain(dscp))]
    for chain in chains:
        for name, on in (("answers CE with CNPs (NP)", qos.roce.notify),
                         ("slows down on CNPs (RP)", qos.roce.react)):  # fmt: skip
            if on is not None and chain.priority not in on:
                yield Remark(
                    "dcqcn_off", "warning", qos.port,
                    f"never {name} on priority {chain.priority}, which carries RoCE",
                    f"Enable roce_np and roce_rp for priority {chain.priority}.",
                    priority=chain.priority,
                )  # fmt: skip
