"""What every communicator must do; each case is called on all ranks."""

import time

import numpy as np
import pytest

from mpiopt.comm.reduction import SMALL


def vector(rank, n, dtype=np.float64):
    """Numbers of many magnitudes, so that another order of adding gives other bits."""
    rng = np.random.default_rng(1000 + rank)
    return (rng.standard_normal(n) * 10.0 ** rng.integers(-12, 12, n)).astype(dtype)


def expected_sum(size, n, dtype=np.float64):
    """Add neighbours, then their sums, and so on."""
    parts = [vector(rank, n, dtype) for rank in range(size)]
    while len(parts) > 1:
        parts = [sum(parts[i + 1 : i + 2], parts[i]) for i in range(0, len(parts), 2)]
    return parts[0]


LENGTHS = [0, 1, 3, 1000, SMALL // 8, SMALL // 8 + 1, SMALL // 4 + 5]


def sum_is_pairwise(comm):
    for n in LENGTHS:
        for dtype in (np.float64, np.float32, np.int64):
            x = vector(comm.rank, n, dtype) if dtype != np.int64 else np.arange(n) + comm.rank
            kept = x.copy()
            want = (
                expected_sum(comm.size, n, dtype)
                if dtype != np.int64
                else sum(np.arange(n) + r for r in range(comm.size))
            )
            got = comm.sum(x)
            assert got.dtype == dtype
            assert got.tobytes() == want.tobytes(), (n, dtype)
            assert x.tobytes() == kept.tobytes()


def sum_keeps_the_shape(comm):
    x = vector(comm.rank, 24).reshape(2, 3, 4)
    assert comm.sum(x).shape == (2, 3, 4)
    assert comm.sum(x.T).tobytes() == np.ascontiguousarray(comm.sum(x).T).tobytes()
    assert comm.start_sum(x.T).wait().shape == (4, 3, 2)
    assert comm.sum(np.array(1.5)).shape == ()
    assert comm.sum(np.array(1.5)) == 1.5 * comm.size


def started_sum_is_the_sum(comm):
    for n in LENGTHS:
        x = vector(comm.rank, n)
        pending = comm.start_sum(x)
        x[...] = np.nan  # `send` has copied it
        while comm.rank % 2 and not pending.poll():
            pass
        got = pending.wait()
        assert got.tobytes() == expected_sum(comm.size, n).tobytes()
        assert pending.poll()
        assert pending.wait() is got


def sums_under_way_may_mix_with_other_calls(comm):
    """Ranks poll at different times and in different orders; nothing else may notice."""
    lengths = (5, SMALL, 100, SMALL // 2)
    pending = [comm.start_sum(vector(comm.rank, n)) for n in lengths]
    if comm.rank == 0:
        pending[-1].poll()
    assert comm.max(np.array([float(comm.rank)]))[0] == comm.size - 1
    big = comm.sum(vector(comm.rank, SMALL))
    if comm.rank == comm.size - 1:
        pending[2].wait()
    comm.barrier()
    order = range(len(lengths)) if comm.rank % 2 else reversed(range(len(lengths)))
    for i in order:
        assert pending[i].wait().tobytes() == expected_sum(comm.size, lengths[i]).tobytes()
    assert big.tobytes() == expected_sum(comm.size, SMALL).tobytes()


def max_is_elementwise_and_nan_wins(comm):
    x = np.array([float(comm.rank), -float(comm.rank), np.nan if comm.rank == comm.size - 1 else 1.0])
    got = comm.max(x)
    np.testing.assert_array_equal(got, [comm.size - 1, 0.0, np.nan])


def allgather_takes_any_length(comm):
    for tail, dtype in (((), np.float64), ((3,), np.float32), ((2, 2), np.int32), ((), np.bool_)):
        x = np.full((comm.rank * 2 % 5, *tail), comm.rank, dtype)
        got = comm.allgather(x)
        assert [len(p) for p in got] == [r * 2 % 5 for r in range(comm.size)]
        assert all(p.dtype == dtype and p.shape[1:] == tail and np.all(p == dtype(r)) for r, p in enumerate(got))
    for part in comm.allgather(np.arange(3.0)):
        part += 1  # the receiver's own
    strided = comm.allgather(np.arange(10.0)[::2])
    assert all(np.array_equal(p, [0, 2, 4, 6, 8]) for p in strided)


def alltoall_takes_any_length(comm):
    for tail, dtype in (((), np.float64), ((4,), np.float32), ((), [("a", "<i4"), ("b", "<f8")])):
        parts = [np.zeros(((comm.rank + 2 * r) % 4, *tail), dtype) for r in range(comm.size)]
        for r, part in enumerate(parts):
            part.view(np.uint8)[...] = 16 * comm.rank + r
        got = comm.alltoall(parts)
        assert [len(p) for p in got] == [(r + 2 * comm.rank) % 4 for r in range(comm.size)]
        for r, part in enumerate(got):
            assert part.dtype == np.dtype(dtype)
            assert part.shape[1:] == tail
            assert np.all(part.view(np.uint8) == 16 * r + comm.rank)
    parts = [np.arange(3.0) for _ in range(comm.size)]
    got = comm.alltoall(parts)
    got[comm.rank] += 1
    assert parts[comm.rank][0] == 0.0


def broadcast_tells_shape_and_type(comm):
    history = np.zeros(3, [("round", "<i8"), ("objective", "<f8"), ("certificate", "<f8")])
    history["round"] = 7
    for x in (np.arange(6.0).reshape(2, 3), np.array(2.5), np.empty((0, 4), np.int32), history, np.arange(8)[::2]):
        for root in {0, comm.size - 1}:
            got = comm.broadcast(x if comm.rank == root else None, root)
            assert got.dtype == x.dtype
            assert got.shape == x.shape
            assert np.array_equal(got, x)
    with pytest.raises(RuntimeError, match="no array"):
        comm.broadcast(None)


def agreed_errors_are_everywhere_the_same(comm):
    comm.agree(None)
    last = comm.size - 1
    for error, kind in (
        (ValueError("a.svm:3: bad number 'x'"), ValueError),
        (FileNotFoundError(2, "No such file or directory", "a.svm"), FileNotFoundError),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), ValueError),
        (KeyError("w"), RuntimeError),
        (MemoryError("ä" * 10000), MemoryError),
    ):
        with pytest.raises(kind) as caught:
            comm.agree(error if comm.rank == last else None)
        assert type(caught.value) is kind
        assert str(caught.value).startswith(f"rank {last}: " if comm.size > 1 else "")
        assert len(str(caught.value)) < 9000
    with pytest.raises(ValueError, match=r"^all alike$"):
        comm.agree(ValueError("all alike"))
    with pytest.raises(OSError, match=r"^rank 0: full on 0$" if comm.size > 1 else r"^full on 0$"):
        comm.agree(OSError(f"full on {comm.rank}"))
    comm.agree(None)


def what_is_sent_is_received(comm):
    """Over all ranks every byte sent has been received, by the ranks for which it was meant."""
    for call in (
        lambda: comm.sum(np.zeros(10)),
        lambda: comm.sum(np.zeros(SMALL + 3)),
        lambda: comm.start_sum(np.zeros(7)).wait(),
        lambda: comm.max(np.zeros(2)),
        lambda: comm.allgather(np.zeros(comm.rank)),
        lambda: comm.alltoall([np.zeros(r + comm.rank) for r in range(comm.size)]),
        lambda: comm.broadcast(np.zeros(5), comm.size - 1),
    ):
        sent, received = comm.bytes_sent, comm.bytes_received
        call()
        counts = comm.bytes_sent - sent, comm.bytes_received - received
        every = np.array([part for part in comm.allgather(np.array([counts]))]).reshape(-1, 2)
        assert every[:, 0].sum() == every[:, 1].sum()
        assert comm.size == 1 or every[:, 1].sum() > 0


def what_is_sent_is_counted(comm):
    def sent(call):
        bytes_before, messages_before = comm.bytes_sent, comm.messages
        call()
        return comm.bytes_sent - bytes_before, comm.messages - messages_before

    others = comm.size - 1
    assert sent(lambda: comm.sum(np.zeros(10))) == (80 * others, others)
    assert sent(lambda: comm.allgather(np.zeros(3))) == (24 * others, others)
    assert sent(comm.barrier) == (0, 0)
    # this rank gets nothing, itself is not counted
    parts = [np.zeros(0 if r == comm.rank else 2) for r in range(comm.size)]
    assert sent(lambda: comm.alltoall(parts)) == (16 * others, others)
    root = comm.rank == 0
    assert sent(lambda: comm.broadcast(np.zeros(5) if root else None)) == ((40 * others, others) if root else (0, 0))
    n = SMALL * comm.size  # a multiple of size: slices are equal
    for call in (comm.sum, lambda x: comm.start_sum(x).wait()):
        expected = (8 * n * others, others) if comm.size == 1 else (2 * 8 * n // comm.size * others, 2 * others)
        assert sent(lambda call=call: call(np.zeros(n))) == expected


def payload_of(source, to, number):
    """A payload that differs for every sender, receiver and number; its length is 0 to some hundred bytes."""
    rng = np.random.default_rng([source, to, number])
    return rng.integers(0, 256, 0 if number % 5 == 3 else int(rng.integers(1, 300)), np.uint8)


def await_messages(comm, count):
    """Receive until `count` messages are here; return their payloads by source."""
    found = {source: [] for source in range(comm.size)}
    late = time.monotonic() + 20.0
    while sum(map(len, found.values())) < count:
        assert time.monotonic() < late
        for source, payload in comm.receive_available():
            found[source].append(payload)
    return found


def messages_keep_their_order_between_two_ranks_and_none_is_lost(comm):
    count = 40
    for number in range(count):
        for to in range(comm.size):
            payload = payload_of(comm.rank, to, number)
            comm.send(payload, to)
            payload[...] = 0  # `send` has copied it
    found = await_messages(comm, count * comm.size)
    for source, payloads in found.items():
        assert [w.tobytes() for w in payloads] == [payload_of(source, comm.rank, n).tobytes() for n in range(count)]
        assert all(w.dtype == np.uint8 for w in payloads)
    assert comm.drain() == []


def a_long_message_arrives(comm):
    n = 200_000
    to = (comm.rank + 1) % comm.size
    comm.send(vector(comm.rank, n // 8).view(np.uint8), to)
    comm.send(np.array([comm.rank], np.uint8), to)
    before = (comm.rank - 1) % comm.size
    first, second = await_messages(comm, 2)[before]
    assert first.tobytes() == vector(before, n // 8).tobytes()
    assert second[0] == before


def nothing_is_under_way_after_drain(comm):
    for number in range(1 + comm.rank):
        for to in range(comm.size):
            comm.send(payload_of(comm.rank, to, number), to)
    early = comm.receive_available() if comm.rank % 2 else []
    found = {source: [] for source in range(comm.size)}
    for source, payload in [*early, *comm.drain()]:
        found[source].append(payload.tobytes())
    for source, payloads in found.items():
        assert payloads == [payload_of(source, comm.rank, n).tobytes() for n in range(1 + source)]
    comm.barrier()
    assert comm.receive_available() == []
    assert comm.drain() == []


def messages_do_not_meet_collective_calls(comm):
    pending = comm.start_sum(vector(comm.rank, SMALL))
    for to in range(comm.size):
        comm.send(payload_of(comm.rank, to, 7), to)
    parts = comm.alltoall([np.arange(5.0) + comm.rank] * comm.size)
    assert comm.sum(np.array(1.0)) == comm.size
    assert all(np.array_equal(part, np.arange(5.0) + r) for r, part in enumerate(parts))
    found = await_messages(comm, comm.size)
    assert all(payloads[0].tobytes() == payload_of(r, comm.rank, 7).tobytes() for r, payloads in found.items())
    assert pending.wait().tobytes() == expected_sum(comm.size, SMALL).tobytes()


def a_rank_that_does_not_receive_delays_no_other(comm):
    """`send` returns though the last rank receives nothing, and a sum that it has not started delays no message."""
    last = comm.size - 1
    for _ in range(10):
        comm.send(np.zeros(20_000, np.uint8), last)
    if comm.rank != last:
        pending = comm.start_sum(np.ones(3))
        if comm.rank == 0:
            assert not pending.poll()
        for to in range(last):
            comm.send(payload_of(comm.rank, to, 0), to)
        found = await_messages(comm, last)
        assert all(found[source][0].tobytes() == payload_of(source, comm.rank, 0).tobytes() for source in range(last))
        comm.send(np.array([comm.rank], np.uint8), last)
    else:
        await_messages(comm, 10 * comm.size + last)
        pending = comm.start_sum(np.ones(3))
    assert np.array_equal(pending.wait(), np.full(3, float(comm.size)))
    assert comm.drain() == []


def messages_are_counted(comm):
    before = comm.bytes_sent, comm.messages
    for to in range(comm.size):
        comm.send(np.zeros(11, np.uint8), to)
    others = comm.size - 1
    assert (comm.bytes_sent - before[0], comm.messages - before[1]) == (11 * others, others)
    received = comm.bytes_received
    assert len(comm.drain()) == comm.size
    assert comm.bytes_received - received == 11 * others


def an_error_in_a_block_is_raised_on_all_ranks(comm):
    with comm.agree_on_errors():
        result = comm.rank
    assert result == comm.rank

    def fail(error):
        with comm.agree_on_errors():
            if comm.rank == comm.size - 1:
                raise error

    for error, kind in ((FileNotFoundError("missing"), FileNotFoundError), (EOFError("cut off"), ValueError)):
        with pytest.raises(kind, match=str(error)):
            fail(error)


CASES = [
    an_error_in_a_block_is_raised_on_all_ranks,
    messages_keep_their_order_between_two_ranks_and_none_is_lost,
    a_long_message_arrives,
    nothing_is_under_way_after_drain,
    messages_do_not_meet_collective_calls,
    a_rank_that_does_not_receive_delays_no_other,
    messages_are_counted,
    sum_is_pairwise,
    sum_keeps_the_shape,
    started_sum_is_the_sum,
    sums_under_way_may_mix_with_other_calls,
    max_is_elementwise_and_nan_wins,
    allgather_takes_any_length,
    alltoall_takes_any_length,
    broadcast_tells_shape_and_type,
    agreed_errors_are_everywhere_the_same,
    what_is_sent_is_counted,
    what_is_sent_is_received,
]
MISMATCHES = {
    "other type in allgather": lambda comm: comm.allgather(np.zeros(2, np.float32 if comm.rank else np.float64)),
    "other shape in allgather": lambda comm: comm.allgather(np.zeros((2, 3 if comm.rank else 4))),
    "other type in alltoall": lambda comm: comm.alltoall(
        [np.zeros(2, np.int32 if comm.rank else np.int64) for _ in range(comm.size)]
    ),
    "too few parts": lambda comm: comm.alltoall([np.zeros(1)] * (comm.size - 1)),
}
