"""Appends for ever to the spool in a folder; prints each batch's epoch and numbers once it is taken.

Run by test_spool.py, which kills it: ``python taking_child.py FOLDER``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from skycore.cluster.spool import Spool, next_epoch


def main(folder: Path) -> None:
    epoch = next_epoch(folder, 1)
    spool = Spool(folder, epoch, 64 << 20, segment_bytes=20_000)
    spool.reader("one")
    number = 1
    while True:
        last = number + number % 3
        spool.append(number, last, b"%d:%d:" % (epoch, number) + b"x" * (number * 37 % 3000))
        os.write(1, b"%d %d %d\n" % (epoch, number, last))
        number = last + 1
        if number % 50 == 0:
            spool.sync()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
