"""A real Slurm of virtual nodes on one machine, for as long as a program runs: `python -m tests.slurm.cluster bash`.

A node is a slurmd with a host name, process table, /dev/shm and /etc/hosts of its own: killing it kills all that runs
there, as when a host crashes. Everything lives in namespaces of one process and dies with it, however that one ends:
there is nothing to clean up but a folder. Needs root, and the packages of `PACKAGES` (Debian's names).
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PACKAGES = "slurmctld slurmd slurm-client munge libpmix-dev"  # -dev: Slurm loads libpmix.so, a link that only it has
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged", "unshare", "setpriv", "mount", "hostname")
APART = ["unshare", "--pid", "--mount", "--fork", "--kill-child=KILL", "--mount-proc", "--propagation", "private"]
# bash is the node's first process: it reaps what Slurm leaves behind.
NODE = """hostname "$1"
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount --bind "$2/hosts" /etc/hosts
slurmd -D -N "$1" -f "$2/slurm.conf" & wait $!"""


def obstacle() -> str | None:
    """Return the reason why this machine cannot run the cluster, in one line, or None."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"no {', '.join(missing)} on this machine (Debian: apt-get install {PACKAGES})"
    if os.geteuid():
        return f"virtual nodes want root, this is user {os.geteuid()}"
    done = subprocess.run([*APART, "--uts", "true"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        return f"namespaces are not permitted here: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}"
    return None


class Cluster:
    """A running cluster, from outside; its nodes are n1, n2, …, each with `cpus` (that no core need stand behind)."""

    def __init__(self, nodes: int = 4, cpus: int = 4) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mpiopt-slurm-", dir="/tmp"))  # short: sockets have < 108 letters
        words = [*APART, sys.executable, __file__, "--inside", str(self.folder), str(nodes), str(cpus)]
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()

    @property
    def environment(self) -> dict[str, str]:
        """What sbatch, squeue … need to find this cluster."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def kill(self, node: str) -> None:
        """Kill a node and all that runs on it; Slurm takes some 25 s to see it."""
        self._tell(f"kill {node}")

    def start(self, node: str) -> None:
        """Start a killed node; return when it takes jobs."""
        self._tell(f"start {node}")

    def stop(self) -> None:
        """End everything at once, and remove the folder."""
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _tell(self, line: str) -> None:
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> None:
        told = self._process.stdout.readline().strip()
        if told != "done":
            self.stop()
            raise OSError(f"the cluster does not work: {told or 'it ended'}")


class Inside:
    """The cluster's first process: starts the daemons and does what it reads, until its input ends."""

    def __init__(self, folder: Path, nodes: int, cpus: int) -> None:
        self.folder, self.names = folder, [f"n{k}" for k in range(1, nodes + 1)]
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}
        os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
        folder.chmod(0o755)
        (folder / "state").mkdir()
        (folder / "key").touch(0o600)
        (folder / "key").write_bytes(os.urandom(1024))
        told = "".join(f"127.0.0.1 {name}\n" for name in self.names)
        (folder / "hosts").write_text(Path("/etc/hosts").read_text() + told)
        port = free_ports(nodes + 1)
        conf = Path(__file__).with_name("slurm.conf").read_text()
        fields = {
            "folder": folder,
            "port": port,
            "first": port + 1,
            "last": port + nodes,
            "nodes": nodes,
            "cpus": cpus,
        }
        (folder / "slurm.conf").write_text(conf.format(**fields))

    def start(self) -> None:
        """Start all daemons."""
        at, sock = self.folder, f"{self.folder}/munge.socket"
        files = [f"--{kind}-file={at}/munge.{kind}" for kind in ("pid", "seed", "log")]
        self.daemon("munged", "munged", "-F", "--force", f"--socket={sock}", f"--key-file={at}/key", *files)
        wait("munge", lambda: succeeds("sh", "-c", f"munge -n -S {sock} | unmunge -S {sock}"))
        self.daemon("slurmctld", "slurmctld", "-D", "-f", f"{at}/slurm.conf")
        wait("slurmctld", lambda: "UP" in output("scontrol", "ping"))
        for name in self.names:
            self.launch(name)
        for name in self.names:
            wait(name, lambda name=name: self.idle(name))

    def launch(self, name: str) -> None:
        """Start one node."""
        for kind in ("spool", "tmp"):
            (self.folder / f"{kind}-{name}").mkdir(exist_ok=True)
        self.nodes[name] = self.daemon(name, *APART, "--uts", "bash", "-c", NODE, "node", name, str(self.folder))

    def idle(self, name: str) -> bool:
        """Return whether a node takes jobs."""
        return output("sinfo", "-h", "-p", "main", "-n", name, "-o", "%T") == "idle"

    def obey(self, line: str) -> None:
        """Do one command: `kill n2` or `start n2`."""
        verb, name = line.split()
        if verb == "kill":
            self.nodes[name].kill()
            self.nodes[name].wait()
        else:
            self.launch(name)
            wait(name, lambda: self.idle(name))

    def daemon(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        """Start a program that stays."""
        with (self.folder / f"{name}.out").open("ab") as log:
            return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def free_ports(count: int) -> int:
    """Return the first of `count` consecutive free ports, below those that the system assigns itself."""
    while True:
        first = random.randrange(20000, 32000)
        if all(map(free, range(first, first + count))):
            return first


def free(port: int) -> bool:
    """Return whether the port is free."""
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def output(*words: str) -> str:
    """Return what a program prints."""
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=20)
    return done.stdout.strip()


def succeeds(*words: str) -> bool:
    """Return whether a program ends with 0."""
    return subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL, timeout=20).returncode == 0


def wait(what: str, ready: Callable[[], bool], seconds: float = 60.0) -> None:
    """Return when `ready` says so; TimeoutError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not start in {seconds:g} s")
        time.sleep(0.05)


def inside(folder: str, nodes: str, cpus: str) -> None:
    """Be the first process: its end is the cluster's."""
    try:
        cluster = Inside(Path(folder), int(nodes), int(cpus))
        cluster.start()
        print("done", flush=True)
        for line in sys.stdin:
            cluster.obey(line)
            print("done", flush=True)
    except (OSError, KeyError, ValueError) as error:
        print(" ".join(str(error).split()), flush=True)


def main(words: list[str]) -> int:
    """Run a program on a cluster that exists as long as it runs."""
    reason = obstacle() if words else "name a program to run: python -m tests.slurm.cluster bash"
    if reason:
        print(f"cluster: {reason}", file=sys.stderr)
        return 2
    cluster = Cluster()
    try:
        return subprocess.run(words, env=os.environ | cluster.environment).returncode
    finally:
        cluster.stop()


if __name__ == "__main__":
    sys.exit(inside(*sys.argv[2:]) if sys.argv[1:2] == ["--inside"] else main(sys.argv[1:]))
