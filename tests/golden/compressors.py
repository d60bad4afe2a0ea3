"""Write the golden bytes of compressors that have none: python -m tests.golden.compressors. Others are kept.

A wire format never changes; a compressor that needs another one gets another name.
"""

import json
import zlib
from pathlib import Path

import numpy as np

PATH = Path(__file__).with_suffix(".json")
SEED = 2**62 + 12345
D = 37


def vector():
    """Return D numbers of many sizes, exact on every machine."""
    i = np.arange(D)
    return (i * 37 % 101 - 50) * 2.0 ** (i % 7 - 3) / 3


def record(compressor):
    """Return the bytes of the compressed vector, and a checksum of the decoded one."""
    payload = compressor.encode(vector(), SEED)
    return {"wire": payload.tobytes().hex(), "decoded": zlib.crc32(compressor.decode(payload, D).tobytes())}


def main():
    from tests.laws.test_compressors import members

    golden = json.loads(PATH.read_text()) if PATH.exists() else {}
    new = {param.id: record(param.values[0]) for param in members() if param.id not in golden}
    PATH.write_text(json.dumps(golden | new, indent=0, sort_keys=True) + "\n")
    print(f"{len(new)} written, {len(golden)} kept")


if __name__ == "__main__":
    main()
