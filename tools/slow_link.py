"""Simulate several hosts on a slow network on one machine: `python -m tools.slow_link -n 4 PROGRAM …`.

A host is a network namespace with its own host name. A veth pair connects it to a bridge; both ends of the pair are
limited to `--rate` Mbit/s by tc's token bucket. Open MPI's mpirun runs on the first host and starts daemons on the
others by an "ssh" that enters their namespaces. Ranks fill the hosts in turn. Ranks of one host use shared memory,
ranks of different hosts use TCP.

The hosts are in namespaces of the first process. However that process ends, the kernel then ends all processes in the
namespaces and removes the network. So nothing needs to be cleaned up, and several simulations may run at once.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

NETWORK = "10.77.0."
FOLDER = "/run/netns"  # where `ip` keeps its names; covered by a new file system
PRIVATE = ["--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
NEEDED = ("ip", "tc", "unshare", "setpriv", "mount", "hostname")


@dataclass(frozen=True)
class Link:
    """A network of `hosts`; each can send and receive `rate` Mbit/s; 0: not limited."""

    hosts: int = 2
    rate: float = 100.0

    def __post_init__(self) -> None:
        if not 1 <= self.hosts <= 250:
            raise ValueError(f"hosts must be 1 to 250, not {self.hosts}")
        if not 0.0 <= self.rate < 1e6:
            raise ValueError(f"rate must be 0 (not shaped) to 1e6 Mbit/s, not {self.rate:g}")


def command(link: Link, ranks: int, words: list[str]) -> list[str]:
    """Return the command that builds the network and runs `words` on `ranks`; killing its process ends everything."""
    inside = [sys.executable, str(Path(__file__).resolve()), "--inside", "--hosts", str(link.hosts)]
    inside += ["--rate", repr(link.rate), "-n", str(ranks)]
    return ["setpriv", "--pdeathsig", "KILL", "unshare", *PRIVATE, *inside, *words]


def obstacle() -> str | None:
    """Try to build a network; return the reason, in one line, why this machine cannot, or None."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        return f"no {', '.join(missing)} on this machine (Debian: iproute2, util-linux, hostname)"
    if os.geteuid():
        return f"network namespaces need root; this is user {os.geteuid()}"
    done = subprocess.run(command(Link(), 0, []), capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"code {done.returncode}"]
        return f"network namespaces are not permitted here: {lines[-1]}"
    return None


def build(link: Link) -> None:
    """Build the network; call this only inside new namespaces."""
    Path(FOLDER).mkdir(parents=True, exist_ok=True)
    for folder in (FOLDER, "/dev/shm"):
        tool(f"mount -t tmpfs tmpfs {folder}")
    tool("ip link add switch type bridge")
    tool("ip link set switch up")
    for k in range(1, link.hosts + 1):
        tool(f"ip netns add node{k}")
        tool(f"ip link add port{k} type veth peer name eth0 netns node{k}")
        tool(f"ip link set port{k} master switch up")
        tool(f"ip -n node{k} addr add {NETWORK}{k}/24 dev eth0")
        for device in ("eth0", "lo"):
            tool(f"ip -n node{k} link set {device} up")
        if link.rate:
            tool(f"tc qdisc add dev port{k} {bucket(link.rate)}")
            tool(f"tc -n node{k} qdisc add dev eth0 {bucket(link.rate)}")


def bucket(rate: float) -> str:
    """Return tc's token bucket; the kernel fills it once a tick, so it must hold more than the bytes of one tick."""
    burst = max(256_000, int(rate * 1e6 / 8 * 0.005))
    return f"root tbf rate {int(rate * 1e6)}bit burst {burst} latency 50ms"


def tool(line: str) -> None:
    """Run a system command; OSError with its message if it fails."""
    done = subprocess.run(line.split(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{line}: {' '.join(done.stderr.split()) or f'code {done.returncode}'}")


def launch(link: Link, ranks: int, words: list[str]) -> int:
    """Run mpirun on the first host and return its exit code."""
    Path(FOLDER, "tmp").mkdir()
    agent, hosts = Path(FOLDER, "agent"), Path(FOLDER, "hosts")
    agent.write_text(AGENT)
    agent.chmod(0o755)
    slots = -(-ranks // link.hosts)
    hosts.write_text("".join(f"{NETWORK}{k} slots={slots}\n" for k in range(1, link.hosts + 1)))
    start = [launcher(), "--hostfile", str(hosts), "--bind-to", "none", "-n", str(ranks), *words]
    line = [str(agent), f"{NETWORK}1", shlex.join(start)]
    return subprocess.run(line, env=environment(agent), stdin=subprocess.DEVNULL).returncode


AGENT = """#!/bin/sh
# ssh ADDRESS COMMAND: run the command on the host with that address.
node=node${1##*.}
shift
exec ip netns exec "$node" unshare --uts sh -c "hostname $node; $*"
"""


def launcher() -> str:
    """Return the mpirun beside this Python, or the one in PATH."""
    beside = Path(sys.executable).with_name("mpirun")
    found = str(beside) if beside.exists() else shutil.which("mpirun")
    if found is None:
        raise OSError("no mpirun beside this Python or in PATH")
    return found


def environment(agent: Path) -> dict[str, str]:
    """Return the variables for Open MPI 5: daemons are started by our agent, hosts are connected by TCP."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PMIX_", "PMI_", "OMPI_COMM_", "OMPI_MCA_"))}
    return kept | {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_pml": "ob1",
        "OMPI_MCA_btl": "self,sm,tcp",
        "OMPI_MCA_btl_tcp_if_include": f"{NETWORK}0/24",
        "OMPI_MCA_mpi_yield_when_idle": "1",
        "PRTE_MCA_plm_ssh_agent": str(agent),
        "PRTE_MCA_prte_tmpdir_base": f"{FOLDER}/tmp",
        "PRTE_MCA_prte_if_include": f"{NETWORK}0/24",
        "OMP_NUM_THREADS": "1",
    }


def main() -> int:
    """Run a program, or (inside the namespaces) build the network and launch it."""
    parser = argparse.ArgumentParser(prog="slow_link", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hosts", type=int, default=2)
    parser.add_argument("--rate", type=float, default=100.0, help="Mbit/s of each host; 0: not limited")
    parser.add_argument("-n", dest="ranks", type=int, default=2)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="PROGRAM …")
    asked = parser.parse_args()
    try:
        link = Link(asked.hosts, asked.rate)
        if asked.inside:
            build(link)
            return launch(link, asked.ranks, asked.words) if asked.words else 0
        reason = obstacle()
    except (ValueError, OSError) as error:
        reason = str(error)
    if reason is not None:
        print(f"slow_link: {reason}", file=sys.stderr)
        return 2
    try:
        return subprocess.run(command(link, asked.ranks, asked.words)).returncode
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
