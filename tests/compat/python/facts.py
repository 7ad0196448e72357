"""What the Python programs share: a line a check, the records to send, and how to compare them."""

import random
import sys
import time

RECORDS = [(b"key-%d" % (i % 50), b"value-%d" % i) for i in range(500)]
HEADERS = [("first", b"1"), ("second", b"\x00\xff"), ("first", b"again")]
EDGES = {
    "null values": [(b"k", None), (None, b"v")],
    "empty records": [(b"", b""), (b"k", b"")],
    "900 kB records": [(b"k", random.Random(1).randbytes(900_000))],
}
CODECS = ["gzip", "snappy", "lz4", "zstd"]
# Records at known times: record i of a topic of one partition was made at MADE + i seconds.
MADE = int(time.time() - 3600) * 1000
TIMED = [(b"k", b"value-%d" % i) for i in range(10)]
LATE = (b"k", b"made while a consumer waits at the end")
PATIENCE = 60


class Facts:
    def __init__(self, client, version):
        self.client = client
        print(f"{client}: version: {version}")

    def check(self, what, ok, seen=None):
        print(f"{self.client}: {'ok' if ok else 'FAILED'}: {what}")
        if not ok:
            sys.exit(f"saw {str(seen)[:2000]}")

    def none(self, what):
        print(f"{self.client}: none: {what}")


def by_key(pairs):
    keys = {}
    for key, value in pairs:
        keys.setdefault(key, []).append(value)
    return keys


def same(got, wanted):
    return by_key(got) == by_key(wanted)


def within(seconds=PATIENCE):
    """Turns until the time is over."""
    end = time.time() + seconds
    while time.time() < end:
        yield
