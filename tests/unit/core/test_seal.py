"""The seal: every damage is noticed before HDF5 opens the file."""

import numpy as np
import pytest

from mpiopt.core.hdf5 import open_read
from mpiopt.core.hdf5_skeleton import Skeleton, SparseMemory
from mpiopt.core.seal import Part, check_seal, gaps, seal, sealed, without_seal

CONTENT = bytes(range(256)) * 4


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x"


def test_a_seal_comes_back_and_is_cut_off_again(path):
    path.write_bytes(sealed(CONTENT))
    assert check_seal(path)
    assert without_seal(path.read_bytes()) == CONTENT
    path.write_bytes(CONTENT)
    assert not check_seal(path)
    assert without_seal(CONTENT) == CONTENT


def test_every_flipped_bit_is_noticed(path):
    whole = sealed(CONTENT[:64])
    for bit in range(8 * len(whole)):
        raw = bytearray(whole)
        raw[bit // 8] ^= 1 << bit % 8
        path.write_bytes(raw)
        with pytest.raises(ValueError, match="x: is damaged"):
            check_seal(path)


@pytest.mark.parametrize("length", [16, 64, 512])
def test_every_zeroed_block_is_noticed(path, length):
    whole = sealed(CONTENT)
    for start in range(0, len(whole) - length, 13):
        raw = bytearray(whole)
        raw[start : start + length] = bytes(length)
        if raw != whole:
            path.write_bytes(raw)
            with pytest.raises(ValueError, match="x: is damaged"):
                check_seal(path)


def test_every_cut_is_noticed_or_leaves_a_file_without_a_seal(path):
    whole = sealed(CONTENT)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        if length < len(CONTENT) + 16:  # HDF5 notices that the content itself is cut off
            assert not check_seal(path)
        else:
            with pytest.raises(ValueError, match="x: is damaged"):
                check_seal(path)


def test_only_what_is_covered_is_checked(path):
    content = bytearray(CONTENT)
    path.write_bytes(CONTENT + seal(len(CONTENT), [Part(0, CONTENT[:100]), Part(900, CONTENT[900:])]))
    whole = path.read_bytes()
    content[500] ^= 1
    path.write_bytes(bytes(content) + without(whole))
    assert check_seal(path)
    content[950] ^= 1
    path.write_bytes(bytes(content) + without(whole))
    with pytest.raises(ValueError, match=r"the checksum of bytes 900 to 1,024 is wrong"):
        check_seal(path)


def without(whole):
    return whole[len(CONTENT) :]


def test_gaps_between_reserved_ranges():
    assert gaps(10, [(4, 6), (0, 2)]) == [(2, 4), (6, 10)]
    assert gaps(3, [(0, 3)]) == []
    assert gaps(2, []) == [(0, 2)]


def test_memory_that_keeps_what_was_written():
    memory, plain = SparseMemory(), bytearray(20_000)
    rng = np.random.default_rng(0)
    for _ in range(50):
        at, content = int(rng.integers(12_000)), rng.bytes(int(rng.integers(1, 8_000)))
        memory.seek(at)
        memory.write(content)
        plain[at : at + len(content)] = content
    memory.seek(0)
    assert memory.read(memory.size) == plain[: memory.size]


def test_a_skeleton_with_its_numbers_is_an_hdf5_file(path):
    skeleton = Skeleton()
    values = {"state/a": np.arange(12.0).reshape(3, 4), "b": np.array([True, False]), "state/empty": np.zeros((0, 3))}
    places = {name: skeleton.reserve(name, value.shape, value.dtype) for name, value in values.items()}
    skeleton.file.attrs["text"] = "λ" * 3000
    layout = skeleton.close()
    with open(path, "wb") as file:
        for part in layout.all_parts:
            file.seek(part.start)
            file.write(part.content)
        for name, value in values.items():
            file.seek(places[name])
            file.write(value.tobytes())
    with open_read(path) as f:
        for name, value in values.items():
            np.testing.assert_array_equal(f[name][()], value, strict=True)
        assert f.attrs["text"] == "λ" * 3000
