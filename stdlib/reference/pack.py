"""Packs named texts and blobs into one file that can be read piece by piece.

Layout, little endian:

    8 bytes   magic "btcpack1"
    u32       length of the compressed index
    index     zstd; one line per entry, sorted by name:
              NAME TAB GROUP-OFFSET TAB GROUP-LENGTH TAB OFFSET TAB LENGTH
    groups    zstd frames of several entries each

GROUP-OFFSET counts from the end of the index and GROUP-LENGTH is compressed;
OFFSET and LENGTH are the entry's place in the decompressed group. Entries that
are alike and small share a group, so that they compress well and a reader still
decompresses little. The reader is compiler/src/btf/reference.rs.
"""
import struct
import subprocess

MAGIC = b"btcpack1"


def compress(data):
    """One zstd frame; level 19 without the long-window extras, so that readers
    need no more memory than the data."""
    return subprocess.run(
        ["zstd", "-q", "-19", "--no-check", f"--stream-size={len(data)}", "-c"], input=data, stdout=subprocess.PIPE, check=True
    ).stdout


def groups(entries, limit):
    """Entries in order, cut into runs of at most `limit` bytes."""
    run, size = [], 0
    for name, data in entries:
        if run and size + len(data) > limit:
            yield run
            run, size = [], 0
        run.append((name, data))
        size += len(data)
    if run:
        yield run


def write(path, entries, limit):
    """Writes (name, bytes) pairs; neighbours share groups of up to `limit` bytes."""
    body, lines, place = [], [], 0
    for run in groups(entries, limit):
        frame = compress(b"".join(data for _, data in run))
        offset = 0
        for name, data in run:
            lines.append(f"{name}\t{place}\t{len(frame)}\t{offset}\t{len(data)}\n")
            offset += len(data)
        body.append(frame)
        place += len(frame)
    index = compress("".join(sorted(lines, key=lambda l: l.split("\t")[0])).encode())
    with open(path, "wb") as out:
        out.write(MAGIC + struct.pack("<I", len(index)) + index)
        out.writelines(body)
