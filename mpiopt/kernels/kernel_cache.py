"""The cache of compiled kernels on disk: safe where several processes, machines and versions share a folder.

numba's own cache names data files by numbers. Two processes that compile forms of one kernel at the same time (the
ranks of two jobs, or machines with different processors and one home folder) can take the same number, and one of
them is then given the other's machine code. It looks at the file of a kernel alone, stops the program where a folder
is full, and refuses to import where no folder can be written. Here the name of a data file is made from all that
decides its content: the types, the processor, numba's version and the source of the kernel and of what it calls.

The folder is the first of these that can be written: NUMBA_CACHE_DIR, `__pycache__` beside the kernel, the user's
folder for caches (XDG_CACHE_HOME or ~/.cache), a folder of the user's below the temporary one. Kernels are also read
from `__pycache__` where it cannot be written: an administrator may compile for a node whose file system is read-only.
"""

# mypy: disallow-subclassing-any=False, disallow-untyped-calls=False
# The classes of numba that are extended here have no types.

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import re
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numba
from numba.core import config
from numba.core import event as numba_event
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, _CacheLocator
from numba.core.ccallback import CFunc
from numba.core.runtime.nrt import rtsys

_TEMPORARY = "mpiopt-kernels-"  # beginning of the name of a folder in that for temporary files
PACKAGE = Path(__file__).parents[1]
# Imports inside the package of a file with kernels: what it may call.
_IMPORT = re.compile(r"^from mpiopt\.(kernels|objective\.losses)(?:\.(\w+))? import (.*)$", re.MULTILINE)
_DAMAGED = (OSError, EOFError, ValueError, pickle.UnpicklingError, AttributeError, ImportError, IndexError, KeyError)


if TYPE_CHECKING:
    from numba import njit as njit
else:

    def njit(
        *,
        cache: bool = False,
        nogil: bool = False,
        fastmath: bool | set[str] = False,
        inline: str = "never",
        error_model: str = "python",
    ) -> Callable[[Callable[..., Any]], Any]:
        """Return a decorator like numba's `njit`, whose `cache=True` is the cache of this file."""
        compiled = numba.njit(nogil=nogil, fastmath=fastmath, inline=inline, error_model=error_model)

        def decorate(function: Callable[..., Any]) -> Any:
            dispatcher = compiled(function)
            if cache and _is_ours(function):
                dispatcher._cache = KernelCache(function)
            return dispatcher

        return decorate


def _is_ours(function: Callable[..., Any]) -> bool:
    """Return whether a function is of this package: what others depend on is not known, so they are compiled."""
    if getattr(numba, "__sphinx_mock__", False):  # the site is built without numba
        return False
    return Path(function.__code__.co_filename).is_relative_to(PACKAGE)


def cfunc(signature: Any, function: Callable[..., Any], fastmath: set[str], error_model: str) -> Any:
    """Compile a function that C may call, or read it from the cache; `address` of the result is its address."""
    options = {"fastmath": fastmath, "error_model": error_model}
    callback: Any = CFunc(function, (signature.args, signature.return_type), locals={}, options=options)
    if _is_ours(function):
        callback._cache = KernelCache(function)
    callback.compile()
    return callback


def compile_seconds() -> float:
    """Return how long this thread has compiled kernels, read them from the cache or waited for another's, so far."""
    return _watch.seconds()


def cache_folder() -> str:
    """Return the folder to which compiled kernels of this package are written."""
    return str(_folder(str(PACKAGE / "kernels")))


def cache_lasts() -> bool:
    """Return whether the folder is another one than that for want of a folder that can be written."""
    return not any(part.startswith(_TEMPORARY) for part in Path(cache_folder()).parts)


class _CompileWatch(numba_event.Listener):
    """Sums the time that each thread holds, or waits for, numba's lock of the compiler."""

    def __init__(self) -> None:
        self._of = threading.local()

    def on_start(self, event: Any) -> None:
        of = self._of
        of.depth = getattr(of, "depth", 0) + 1
        if of.depth == 1:
            of.began = time.perf_counter()

    def on_end(self, event: Any) -> None:
        of = self._of
        of.depth -= 1
        if of.depth == 0:
            of.total = getattr(of, "total", 0.0) + time.perf_counter() - of.began

    def seconds(self) -> float:
        return float(getattr(self._of, "total", 0.0))


_watch = _CompileWatch()
numba_event.register("numba:compiler_lock", _watch)


class _KernelLocator(_CacheLocator):
    """Says where the compiled forms of one function are, and what they were compiled from."""

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self._py_file, self._line = file, function.__code__.co_firstlineno

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _KernelLocator:
        return cls(py_func, py_file)

    def ensure_cache_path(self) -> None:
        """Do nothing: `KernelCacheFile.save` goes on where the folder cannot be written."""

    def get_cache_path(self) -> str:
        return str(_folder(os.path.dirname(os.path.abspath(self._py_file))))

    def get_source_stamp(self) -> str:
        return source_stamp(Path(self._py_file))

    def get_disambiguator(self) -> str:
        return str(self._line)


class _KernelCacheImpl(CompileResultCacheImpl):
    _locator_classes = [_KernelLocator]  # noqa: RUF012  numba's attribute


class KernelCache(FunctionCache):
    """The cache of one kernel; where it cannot be read or written, the kernel is compiled all the same."""

    _impl_class = _KernelCacheImpl

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        locator, base = self._impl.locator, self._impl.filename_base
        stamp = locator.get_source_stamp()
        beside = os.path.join(os.path.dirname(os.path.abspath(locator._py_file)), "__pycache__")
        self._cache_file = KernelCacheFile(self._cache_path, base, stamp)
        if beside != self._cache_path:
            self._cache_file.shipped = KernelCacheFile(beside, base, stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return a compiled form, without what only a compilation needs: numba itself loads all of its typing first.

        That is half of a process's first short fit. numba does it again where it compiles.
        """
        rtsys.initialize(target_context)  # the memory of arrays that a kernel makes
        return self._load_overload(sig, target_context)


class KernelCacheFile(IndexDataCacheFile):
    """The data files of one kernel, each named by all that decides its content: numba's index is not needed."""

    shipped: KernelCacheFile | None = None  # what was compiled beside the source, to be read alone

    def save(self, key: Any, data: Any) -> None:
        """Write the data; without effect if the folder cannot be written, is full or over quota."""
        try:
            os.makedirs(self._cache_path, exist_ok=True)
            self._save_data(self.name_of(key), data)
        except OSError:
            return

    def load(self, key: Any) -> Any:
        """Return the data of a key; None if there is none that can be read."""
        try:
            found = self._load_data(self.name_of(key))
        except _DAMAGED:
            found = None
        return self.shipped.load(key) if found is None and self.shipped is not None else found

    def name_of(self, key: Any) -> str:
        """Return the name of the data file of a key."""
        decides = repr((key, self._source_stamp, self._version)).encode()
        return f"{self._index_name.removesuffix('.nbi')}.{hashlib.sha256(decides).hexdigest()[:24]}.nbc"


@functools.cache
def source_stamp(file: Path) -> str:
    """Return a hash of a file with kernels and of the files of this package that it imports kernels from."""
    found: set[Path] = set()
    left = [file]
    while left:
        one = left.pop()
        if one not in found and one.is_file():
            found.add(one)
            left += _imported(one.read_text(encoding="utf-8"))
    digest = hashlib.sha256()
    for one in sorted(found, key=str):
        digest.update(one.name.encode() + b"\0" + one.read_bytes())
    return digest.hexdigest()


def _imported(source: str) -> list[Path]:
    files = []
    for room, module, names in _IMPORT.findall(source):
        folder = PACKAGE.joinpath(*room.split("."))
        files += [folder / f"{one}.py" for one in ([module] if module else re.findall(r"\w+", names))]
    return files


@functools.cache
def _folder(beside: str) -> Path:
    """Return the folder for the kernels of the files in `beside`."""
    short = f"{os.path.basename(beside)}_{hashlib.sha256(beside.encode()).hexdigest()[:16]}"
    own = f"{_TEMPORARY}{os.getuid()}"
    asked = getattr(config, "CACHE_DIR", "")
    choices = [Path(asked) / short] if asked else []
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    choices += [Path(beside) / "__pycache__", Path(home) / "mpiopt" / short]
    for folder in filter(Path.is_absolute, choices):
        if _can_be_written(folder):
            return folder
    temporary = Path(tempfile.gettempdir()) / own
    return temporary / short if _is_private(temporary) else Path(tempfile.mkdtemp(prefix=own)) / short


def _can_be_written(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _is_private(folder: Path) -> bool:
    """Make a folder that nobody else can write; False if another user has one of that name: code is read from it."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
