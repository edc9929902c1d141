"""Starts Ray on the members of a cluster, so that the user's Ray code finds it."""

from __future__ import annotations

PORT = 6379
DASHBOARD_PORT = 8265
START_SECONDS = 180.0

_WAIT = """import sys, time, ray
ray.init(address=sys.argv[1], logging_level="ERROR")
until = time.monotonic() + float(sys.argv[3])
while (there := sum(node["Alive"] for node in ray.nodes())) < int(sys.argv[2]):
    if time.monotonic() > until:
        sys.exit(f"ray: {there} of {sys.argv[2]} members came")
    time.sleep(0.5)
has = ray.cluster_resources()
print(f"ray: {there} members, {has.get('GPU', 0):g} GPUs, {has.get('CPU', 0):g} CPUs")
"""


def start(options: str) -> str:
    """Return the command that starts Ray on a rank: the head on the first, which the others look for."""
    more = f" {options}" if options else ""
    return (
        f'if [ "$NODE_RANK" = 0 ]; then ray start --head --disable-usage-stats --node-ip-address="$NODE_ADDR" '
        f"--port={PORT} --dashboard-host=127.0.0.1 --dashboard-port={DASHBOARD_PORT}{more}; "
        f'else for _ in $(seq 60); do ray start --address="$PRIMARY_ADDR:{PORT}" --disable-usage-stats '
        f'--node-ip-address="$NODE_ADDR"{more} && exit 0; sleep 1; done; exit 1; fi'
    )


def wait(address: str, nodes: int, seconds: float) -> str:
    """Return the command, for the first rank, that waits until every member has joined and prints the resources."""
    return f"python3 - {address} {nodes} {seconds:g} <<'RPD_RAY'\n{_WAIT}RPD_RAY"
