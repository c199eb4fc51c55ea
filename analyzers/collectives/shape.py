"""Shapes of groups of hosts by who sends to whom: ring, tree, all-to-all, many to one.

A ring gives every member one neighbour it sends to and one it receives from; a tree gives edges in
both directions without a cycle; an all-to-all gives every pair; a gather many senders and one receiver.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

Edge = tuple[str, str]


def components(edges: Iterable[Edge]) -> list[list[Edge]]:
    """The edges of each connected group of hosts, direction ignored."""
    neighbours: dict[str, list[Edge]] = defaultdict(list)
    for edge in edges:
        for host in edge:
            neighbours[host].append(edge)
    groups, seen = [], set[str]()
    for root in sorted(neighbours):
        if root in seen:
            continue
        found, stack = dict[Edge, None](), [root]
        while stack:
            host = stack.pop()
            if host in seen:
                continue
            seen.add(host)
            for edge in neighbours[host]:
                found[edge] = None
                stack.extend(edge)
        groups.append(sorted(found))
    return groups


def shape(edges: Sequence[Edge]) -> str:
    """Name of the shape of one connected group of directed edges."""
    hosts = {host for edge in edges for host in edge}
    out, into = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    for src, dst in edges:
        out[src].add(dst)
        into[dst].add(src)
    n, pairs = len(hosts), {frozenset(edge) for edge in edges}
    both = 2 * len(pairs) == len(edges)
    one_each = all(len(out[h]) <= 1 and len(into[h]) <= 1 for h in hosts)
    hubs = [h for h in hosts if len(out[h] | into[h]) == n - 1]
    if len(edges) >= 0.9 * n * (n - 1):
        return "all_to_all"
    if one_each:
        return "ring" if len(edges) == n else "chain"
    if len(pairs) == n - 1 and hubs:
        if both:
            return "star"
        if len(into[hubs[0]]) == n - 1:
            return "many_to_one"
        return "one_to_many" if len(out[hubs[0]]) == n - 1 else "star"
    if both and len(pairs) == n - 1:
        return "tree"
    if both and len(pairs) == n and all(len(out[h]) == 2 for h in hosts):
        return "ring"
    return "mesh"


def in_order(edges: Sequence[Edge]) -> list[str]:
    """Hosts of a group: along the ring or chain where it is one, else by name."""
    after = dict(edges)
    hosts = sorted({host for edge in edges for host in edge})
    if len(after) != len(edges):
        return hosts
    first = next((host for host in hosts if host not in after.values()), hosts[0])
    order = [first]
    while (following := after.get(order[-1], first)) != first and len(order) < len(hosts):
        order.append(following)
    return order if len(order) == len(hosts) else hosts
