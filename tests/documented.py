"""The commands that documents and help show: found in their text, and read as words for `mpiopt`."""

import re
import shlex
from pathlib import Path

from mpiopt.cli.help import EXAMPLES

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SUPPORT.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / name / "README.md" for name in ("jobs", "data")),
]
WALKS = ("administrator", "analyst", "cluster-user", "researcher")  # pages of the tutorial that are run as a whole
PROGRAMS = "mkdir|sed|python3|mpiopt|mpirun|make|python|pip|pytest|bash|sbatch|srun|kill|lfs|less|tail|cat|git"
SET = r"(?:[A-Z][A-Z0-9_]*=\S+ )*"  # variables before a command
COMMAND = rf"{SET}(?:\.venv/bin/)?(?:{PROGRAMS})\b"


def walk(name):
    """Return all commands of a walk as one script."""
    page = (ROOT / "docs" / "tutorial" / f"{name}.md").read_text()
    return "".join(re.findall(r"^```bash\n(.*?)^```$", page, re.M | re.S))


def blocks(text):
    """Return the commands of blocks, without comments; a here-document is one command."""
    return [line for line in lines_of(text) if re.match(COMMAND, line)]


def lines_of(text):
    """Return the lines of ```bash blocks and of indented blocks, without comments; a here-document is one line."""
    text = re.sub(
        r"^```bash\n(.*?)^```$", lambda block: re.sub("^", "    ", block[1], flags=re.M), text, flags=re.M | re.S
    )
    text = re.sub(r"^(`{3,}|:{3,}).*?^\1$", "", text, flags=re.M | re.S)
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ") and line.strip()]
    found = []
    while lines:
        line = re.sub(r"\s+#.*", "", lines.pop(0))
        if "<<END" in line:
            end = lines.index("END")
            line, lines = "\n".join([line, *lines[: end + 1]]), lines[end + 1 :]
        found.append(line)
    return found


def inline(text):
    """Return the commands between backticks in running text; with a colon it is a message."""
    text = re.sub(r"^    .*$", "", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), flags=re.M)
    parts = [" ".join(part.split()) for part in re.findall(r"`([^`]+)`", text)]
    return [part for part in parts if re.match(COMMAND + " ", part) and ": " not in part and part.split()[1] != "…"]


def shown():
    """Return all commands that are shown whole: in blocks of documents, and as examples of --help."""
    return sorted(
        {c for path in DOCUMENTS for c in blocks(path.read_text())} | {c for e in EXAMPLES.values() for c in e}
    )


def mentioned():
    """Return the commands that are named in running text alone; words may be left out of them."""
    return sorted({c for path in DOCUMENTS for c in inline(path.read_text())} - set(shown()))


def words_of(command):
    """Return (ranks, words of mpiopt), None for other programs; what is optional or left out is dropped."""
    plain = re.sub(r"(?<=\s)\[[^\]]*\](?=\s|$)", "", command).replace(" -n P ", " -n 2 ")
    words = [word for word in shlex.split(plain) if word != "…"]
    ranks = int(words[words.index("-n") + 1]) if words[0] == "mpirun" else 1
    if words[0] == "mpirun":
        words = words[words.index("-n") + 2 :]
        words = words[words.index("mpiopt") + 1 :] if "mpiopt" in words else words
        return ranks, words
    return (ranks, words[1:]) if words[0] == "mpiopt" else None


def program(command):
    """Return the program of a command; `mpiopt` where it is started by mpirun."""
    word = next(word for word in command.split() if not re.match(r"[A-Z][A-Z0-9_]*=", word))
    return "mpiopt" if word == "mpirun" else word
