"""Runs inside the virtual machine; see regenerate.py.

usage: collect.py OUT MODULE...

Loads the modules and writes OUT/formats.txt: for every event, a line
`event CATEGORY NAME CLASS` and the format file's fields. CLASS is the name X of
the event's struct trace_event_raw_X, `-` where it is unknown: the kernel does
not show it, but its data does, as struct trace_event_call points to its
struct trace_event_class.
"""
import glob
import os
import struct
import subprocess
import sys

EVENTS = "/sys/kernel/tracing/events"
# struct trace_event_call begins with a list_head, then the pointer to its class.
CLASS_AT = 16


def load(modules):
    for module in modules:
        done = subprocess.run(["/run/vm/modprobe", module], stderr=subprocess.PIPE, text=True)
        if done.returncode:
            print(f"{module} does not load: {done.stderr.strip()}")


def symbols():
    """Addresses of event calls by event, names of classes by address."""
    calls, classes = {}, {}
    with open("/proc/kallsyms") as lines:
        for line in lines:
            address, _, name = line.split()[:3]
            address = int(address, 16)
            if name.startswith("event_class_"):
                classes[address] = name[len("event_class_"):]
            elif name.startswith("event_"):
                calls.setdefault(name[len("event_"):], []).append(address)
    return calls, classes


class Core:
    """/proc/kcore: kernel memory as an ELF file."""

    def __init__(self):
        self.file = open("/proc/kcore", "rb", buffering=0)
        header = self.file.read(64)
        phoff, count = struct.unpack_from("<Q", header, 32)[0], struct.unpack_from("<H", header, 56)[0]
        self.file.seek(phoff)
        table = self.file.read(56 * count)
        self.segments = []
        for i in range(count):
            kind, _, offset, address, _, size = struct.unpack_from("<IIQQQQ", table, 56 * i)
            if kind == 1:
                self.segments.append((address, size, offset))

    def word(self, address):
        for start, size, offset in self.segments:
            if start <= address < start + size:
                self.file.seek(offset + address - start)
                data = self.file.read(8)
                return struct.unpack("<Q", data)[0] if len(data) == 8 else 0
        return 0


def main():
    out, modules = sys.argv[1], sys.argv[2:]
    load(modules)
    calls, classes = symbols()
    core = Core()
    with open(os.path.join(out, "formats.txt"), "w") as formats:
        for path in sorted(glob.glob(EVENTS + "/*/*/format")):
            category, name = path.split("/")[-3:-1]
            found = {classes.get(core.word(a + CLASS_AT)) for a in calls.get(name, [])} - {None}
            formats.write(f"event {category} {name} {found.pop() if len(found) == 1 else '-'}\n")
            with open(path) as lines:
                formats.writelines(line for line in lines if line.startswith("\tfield:"))


main()
