"""Damaged files without end: the collection's files with bytes changed, cut, doubled, exchanged.

`python tests/images/fuzzing.py 20000` decodes as many in processes of their own, so that even a crash of a decoder
is told with the file; `--seed 7` takes others. It prints the slowest and the hungriest, and ends with 1 on a fault.
"""

import argparse
import multiprocessing
import random
import resource
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from dirty_files import dirty_files

from regraft.images.decoding import UnreadableImageError, decode

LIMIT_S = 5.0  # of processor time for one file of a few kilobytes
LIMIT_BYTES = 2**31
_EDGES = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)
_PER_PROCESS = 500


def damaged_files(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """As many damaged files, each with the name of what it was made from; the same for a seed."""
    generator = random.Random(seed)
    originals = [file for file in dirty_files() if 0 < len(file.data) < 2**16]
    for _ in range(count):
        original = generator.choice(originals)
        data = bytearray(original.data)
        for _ in range(generator.choice((1, 1, 1, 2, 8))):
            data = _damage(data, generator, generator.choice(originals).data)
        yield original.name, bytes(data)


def _damage(data: bytearray, generator: random.Random, other: bytes) -> bytearray:
    """One change; half of them among the first bytes, which are headers."""
    if len(data) < 4:
        return data + other[:64]
    reach = min(len(data), generator.choice((64, 700, len(data), len(data))))
    at = generator.randrange(reach)
    kind = generator.randrange(7)
    if kind == 0:
        data[at] = generator.choice(_EDGES)
    elif kind == 1:
        data[at] ^= 1 << generator.randrange(8)
    elif kind == 2:  # a length, an offset or a count
        number = generator.choice((0, 1, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, generator.randrange(2**20)))
        packed = struct.pack(generator.choice("<>") + "I", number)
        data[at : at + generator.choice((2, 4))] = packed[: generator.choice((2, 4))]
    elif kind == 3:
        del data[at:]
    elif kind == 4:
        del data[at : at + generator.randrange(1, 64)]
    elif kind == 5:
        part = data[at : at + generator.randrange(1, 512)]
        data[at:at] = part * generator.choice((1, 2, 50))
    else:
        start = generator.randrange(len(other))
        part = other[start : start + generator.randrange(1, 256)]
        data[at : at + len(part)] = part
    return data


def fault_of(data: bytes) -> tuple[str | None, str, float]:
    """What is wrong with how a file is met (None: nothing), the outcome, and the seconds of processor time."""
    start = time.process_time()
    try:
        image = decode(data).image
        outcome = "read"
        fault = (
            None if image.mode == "RGB" and min(image.size) > 0 else f"mode {image.mode}, size {image.size}"
        )
    except UnreadableImageError as error:
        outcome, fault = "refused", None
        if not 0 < len(error.reason) < 200 or "0x" in error.reason or "\n" in error.reason:
            fault = f"the reason {error.reason!r}"
    except BaseException as error:
        outcome, fault = "crashed", f"{type(error).__name__}: {error}"
    seconds = time.process_time() - start
    if fault is None and seconds > LIMIT_S:
        fault = f"{seconds:.1f} s"
    return fault, outcome, seconds


def _decode_some(seed: int, first: int, pipe: "multiprocessing.connection.Connection") -> None:
    """Decode `_PER_PROCESS` files from the first on; every file is told before and after."""
    for number, (name, data) in enumerate(damaged_files(seed + first, _PER_PROCESS)):
        pipe.send((number, name, data, None))
        pipe.send((number, name, None, fault_of(data)))
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, help="folder for files that showed a fault")
    arguments = parser.parse_args()
    outcomes: Counter[str] = Counter()
    faults, slowest, most_bytes = [], 0.0, 0
    for first in range(0, arguments.count, _PER_PROCESS):
        receiver, sender = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.Process(target=_decode_some, args=(arguments.seed * 10**9, first, sender))
        process.start()
        sender.close()
        last, is_whole = ("", b""), False
        while True:
            try:
                message = receiver.recv()
            except EOFError:
                break
            if isinstance(message, int):
                most_bytes, is_whole = max(most_bytes, message), True
                continue
            _, name, data, result = message
            if result is None:
                last = (name, data)
                continue
            fault, outcome, seconds = result
            outcomes[outcome] += 1
            slowest = max(slowest, seconds)
            if fault:
                faults.append((*last, fault))
        process.join()
        if not is_whole:
            faults.append((*last, f"the process ended with {process.exitcode}"))
    for number, (name, data, fault) in enumerate(faults):
        sys.stdout.write(f"FAULT {name}: {fault}\n")
        if arguments.save:
            arguments.save.mkdir(parents=True, exist_ok=True)
            (arguments.save / f"{number}_{Path(name).name}").write_bytes(data)
    sys.stdout.write(
        f"{sum(outcomes.values()):,} files: {dict(outcomes)}, {len(faults)} faults; slowest {slowest:.2f} s, "
        f"most memory {most_bytes / 2**20:.0f} MiB\n"
    )
    return 1 if faults or most_bytes > LIMIT_BYTES else 0


if __name__ == "__main__":
    raise SystemExit(main())
