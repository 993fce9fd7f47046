#!/usr/bin/env python3
"""Makes the files of data/ anew from Debian's packages.

    stdlib/reference/regenerate.py [--work DIR] [--vm COMMAND]

Fetches the current kernel of the suite below with this machine's own apt
configuration (a Debian mirror, nothing is installed), boots it once in a virtual
machine to read the formats of its tracepoints, and writes

    data/btf.pack          BTF of the kernel and of the modules in modules.list
    data/names.pack        which module has a type, function or enumerator
    data/tracepoints.pack  tracepoint formats by category, and system calls
    data/constants.pack    macros and enumerators of the kernel's, the uapi and C's
                           headers, without the enumerators in the kernel's BTF
    data/VERSION           the packages they come from

Needs root (for the virtual machine), python3, gcc, binutils, xz, zstd, busybox and
what tests/vm/vm needs. Takes about ten minutes and 2 GB of disk in DIR, where
downloads are kept for the next run. The same packages give the same files.
"""
import argparse
import glob
import lzma
import os
import re
import shutil
import struct
import subprocess
import sys

import constants
import pack

HERE = os.path.dirname(os.path.abspath(__file__))
SUITE, ARCH = "trixie", "amd64"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

# Kinds of BTF records, and the bytes per member and otherwise behind their 12.
FUNC, NAMED_TYPES, ENUMS = 12, {4, 5, 6, 8, 19}, {6: 8, 19: 12}
BODY = {1: (0, 4), 3: (0, 12), 4: (12, 0), 5: (12, 0), 6: (8, 0), 13: (8, 0), 14: (0, 4), 15: (12, 0),
        17: (0, 4), 19: (12, 0)}

# Headers of C's library that say what the kernel's do, under other names.
LIBC_HEADERS = """
errno.h fcntl.h signal.h time.h limits.h stdint.h dirent.h poll.h sched.h stdio.h stdlib.h unistd.h utime.h
netdb.h arpa/inet.h net/if.h netinet/icmp6.h netinet/if_ether.h netinet/in.h netinet/ip.h
netinet/ip_icmp.h netinet/tcp.h netinet/udp.h netpacket/packet.h
sys/epoll.h sys/eventfd.h sys/fanotify.h sys/file.h sys/inotify.h sys/ioctl.h sys/ipc.h sys/mman.h
sys/mount.h sys/msg.h sys/prctl.h sys/ptrace.h sys/reboot.h sys/resource.h sys/sem.h sys/shm.h
sys/signalfd.h sys/socket.h sys/stat.h sys/statfs.h sys/statvfs.h sys/swap.h sys/syscall.h sys/time.h
sys/timerfd.h sys/types.h sys/uio.h sys/un.h sys/vfs.h sys/wait.h sys/xattr.h
""".split()

# Numbers of other ABIs' system calls.
FOREIGN_HEADERS = {"asm/unistd_32.h", "asm/unistd_x32.h", "asm-generic/unistd.h"}

# System calls whose tracepoint is named after the kernel's function instead.
SYSCALL_EVENTS = {
    "stat": "newstat", "fstat": "newfstat", "lstat": "newlstat", "uname": "newuname",
    "sendfile": "sendfile64", "umount2": "umount", "_sysctl": "sysctl",
}


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


class Apt:
    """A private apt world: own sources and lists, the machine's mirror."""

    def __init__(self, root):
        self.root = root
        for part in ("etc/parts", "state/lists/partial", "cache/archives/partial", "debs"):
            os.makedirs(f"{root}/{part}", exist_ok=True)
        with open(f"{root}/etc/sources.list", "w") as sources:
            sources.write(f"deb [arch={ARCH} signed-by={KEYRING}] {mirror()} {SUITE} main\n")
        open(f"{root}/state/status", "w").close()
        settings = {
            "Dir::Etc::sourcelist": f"{root}/etc/sources.list", "Dir::Etc::sourceparts": f"{root}/etc/parts",
            "Dir::Etc::preferences": "/dev/null", "Dir::Etc::preferencesparts": f"{root}/etc/parts",
            "Dir::State": f"{root}/state", "Dir::State::Lists": f"{root}/state/lists",
            "Dir::State::status": f"{root}/state/status", "Dir::Cache": f"{root}/cache",
            "APT::Architecture": ARCH, "APT::Architectures": ARCH, "APT::Sandbox::User": "root",
            "Acquire::Languages": "none", "Acquire::Retries": "3",
            "APT::Update::Post-Invoke-Success": "/bin/true",
        }
        self.options = [f"-o{key}={value}" for key, value in settings.items()]
        run("apt-get", *self.options, "-qq", "update")

    def field(self, package, field):
        text = run("apt-cache", *self.options, "show", "--no-all-versions", package)
        found = re.search(rf"^{field}: (.*)$", text, re.M)
        return found.group(1) if found else ""

    def depends(self, package, pattern):
        """Names of the dependencies that match."""
        names = re.split(r"\s*[,|]\s*", self.field(package, "Depends"))
        return [n for n in (re.sub(r"[ (].*", "", name) for name in names) if re.match(pattern, n)]

    def unpack(self, packages, into):
        for package in packages:
            if not glob.glob(f"{self.root}/debs/{package}_*.deb"):
                run("apt-get", *self.options, "-qq", "download", package, cwd=f"{self.root}/debs")
            (deb,) = glob.glob(f"{self.root}/debs/{package}_*.deb")
            run("dpkg-deb", "-x", deb, into)


def mirror():
    """The mirror that this machine's apt gets its own release from."""
    codename = run("sh", "-c", ". /etc/os-release; printf %s \"$VERSION_CODENAME\"")
    targets = run("apt-get", "indextargets", "--no-release-info", "--format",
                  "$(REPO_URI) $(RELEASE) $(COMPONENT) $(CREATED_BY)")
    names = (codename, "oldoldstable", "oldstable", "stable", "testing", "unstable", "sid")
    for line in targets.splitlines():
        uri, release, component, kind = line.split()
        if kind == "Packages" and component == "main" and release in names:
            return uri
    sys.exit("no Debian mirror in apt's configuration")


def elf_sections(data):
    """(name, bytes) of a 64-bit ELF file's sections."""
    table = struct.unpack_from("<Q", data, 0x28)[0]
    count, strings = struct.unpack_from("<HH", data, 0x3C)
    headers = [struct.unpack_from("<IIQQQQIIQQ", data, table + 64 * i) for i in range(count)]
    for header in headers:
        name = headers[strings][4] + header[0]
        content = b"" if header[1] == 8 else data[header[4]:header[4] + header[5]]
        yield data[name:data.index(b"\0", name)].decode(), content


class Modules:
    """The kernel's modules: which have BTF to keep, which have tracepoints."""

    def __init__(self, root):
        self.traced, self.btf = [], []
        wanted, dropped = module_rules()
        found = [(os.path.relpath(os.path.dirname(path), root),
                  os.path.basename(path)[:-len(".ko.xz")].replace("-", "_"), path)
                 for path in glob.glob(root + "/**/*.ko.xz", recursive=True)]
        for directory, name, path in sorted(found):
            with lzma.open(path) as file:
                sections = dict(elf_sections(file.read()))
            place = directory + "/"
            traced = bool(sections.get("_ftrace_events"))
            if traced:
                self.traced.append(name)
            keep = traced or name in wanted or any(place.startswith(w) for w in wanted if w.endswith("/"))
            if keep and name not in dropped and sections.get(".BTF"):
                self.btf.append((name, sections[".BTF"]))


def module_rules():
    with open(HERE + "/modules.list") as rules:
        lines = [line.strip() for line in rules if line.strip() and line[0] != "#"]
    return ({line for line in lines if line[0] != "!"}, {line[1:] for line in lines if line[0] == "!"})


def write_btf(kernel_btf, modules):
    # Modules of one directory share types and strings, so they share groups.
    pack.write(HERE + "/data/btf.pack", [("vmlinux", kernel_btf)] + modules.btf, 512 << 10)


def strings_of(data):
    strings, string_len = struct.unpack_from("<II", data, 16)
    return data[24 + strings:24 + strings + string_len]


def btf_names(data, base_strings):
    """(class, name) of what BTF defines: `t`ypes, `f`unctions, `e`numerators."""
    types, type_len = struct.unpack_from("<II", data, 8)
    own = strings_of(data)

    def string(at):
        text, at = (base_strings, at) if at < len(base_strings) else (own, at - len(base_strings))
        return text[at:text.index(b"\0", at)].decode()

    at, end = 24 + types, 24 + types + type_len
    while at < end:
        name, info, _ = struct.unpack_from("<III", data, at)
        kind, count = info >> 24 & 31, info & 0xFFFF
        if kind == FUNC:
            yield "f", string(name)
        elif name and kind in NAMED_TYPES:
            yield "t", string(name)
        if kind in ENUMS:
            for i in range(count):
                yield "e", string(struct.unpack_from("<I", data, at + 12 + ENUMS[kind] * i)[0])
        per_member, fixed = BODY.get(kind, (0, 0))
        at += 12 + per_member * count + fixed


def write_names(kernel_btf, modules):
    """One entry per class and first letter; the first module that has a name counts."""
    owners = {}
    for module, data in modules.btf:
        for key in btf_names(data, strings_of(kernel_btf)):
            owners.setdefault(key, module)
    entries = {}
    for kind, name in sorted(owners):
        entries.setdefault(f"{kind}/{name[0]}", []).append(f"{name}\t{owners[kind, name]}\n")
    pack.write(HERE + "/data/names.pack",
               [(key, "".join(lines).encode()) for key, lines in entries.items()], 128 << 10)


def boot(work, release, unpacked, traced, vm):
    """Formats of all tracepoints, from the kernel itself; see collect.py."""
    kernel, out = f"{work}/kernel", f"{work}/out"
    shutil.rmtree(kernel, ignore_errors=True)
    os.makedirs(kernel + "/lib/modules")
    shutil.copytree(f"{unpacked}/usr/lib/modules/{release}", f"{kernel}/lib/modules/{release}", symlinks=True)
    shutil.copy(f"{unpacked}/boot/vmlinuz-{release}", f"{kernel}/vmlinuz")
    shutil.copy(f"{unpacked}/boot/config-{release}", f"{kernel}/config")
    with open(f"{kernel}/release", "w") as file:
        file.write(release + "\n")
    run("busybox", "depmod", "-b", kernel, release)
    run(vm, "-k", kernel, "-w", out, "-t", "1800", "-m", "2G", "--",
        "python3", HERE + "/collect.py", out, *traced)
    with open(out + "/formats.txt") as formats:
        return formats.read()


def write_tracepoints(formats, numbers):
    categories, fields = {}, {}
    for event in ("\n" + formats).split("\nevent ")[1:]:
        header, *lines = event.splitlines()
        category, name, klass = header.split()
        lines = [line.strip() for line in lines]
        categories.setdefault(category, []).append("\n".join([f"event {name} {klass}", *lines, ""]))
        if category == "syscalls" and name.startswith("sys_enter_"):
            # The first five fields are common to all, the sixth is the number.
            fields[name[len("sys_enter_"):]] = [re.match(r"field:(.*?);", l).group(1) for l in lines[5:]]
    table = []
    for name, number in sorted(numbers.items(), key=lambda item: item[1]):
        event = SYSCALL_EVENTS.get(name, name)
        known = event in fields
        table.append("\t".join([name, str(number), event if known else "-", *fields.get(event, [])]) + "\n")
    entries = [(category, "".join(events).encode()) for category, events in sorted(categories.items())]
    entries.append(("/syscalls", "".join(table).encode()))
    pack.write(HERE + "/data/tracepoints.pack", entries, 128 << 10)


def kernel_constants(unpacked, release):
    """Macros of the kernel's own headers, as its modules see them."""
    flavour = f"{unpacked}/usr/src/linux-headers-{release}"
    common = re.sub(r"-amd64$", "-common", flavour)
    plain = [common + "/arch/x86/include", flavour + "/arch/x86/include/generated",
             common + "/include", flavour + "/include"]
    uapi = [common + "/arch/x86/include/uapi", flavour + "/arch/x86/include/generated/uapi",
            common + "/include/uapi", flavour + "/include/generated/uapi"]
    builtin = run("gcc", "-print-file-name=include").strip()
    compiler = ["gcc", "-nostdinc", "-isystem", builtin, *("-I" + i for i in plain + uapi)]
    for header in ("compiler-version.h", "kconfig.h", "compiler_types.h"):
        compiler += ["-include", f"{common}/include/linux/{header}"]
    compiler += ["-D__KERNEL__", "-DMODULE", '-DKBUILD_MODNAME="btc"', '-DKBUILD_BASENAME="btc"',
                 "-DCC_USING_FENTRY", "-std=gnu11", "-O2", "-mcmodel=kernel", "-fno-pie", "-fshort-wchar",
                 "-mno-sse", "-w"]
    with open(HERE + "/kernel-headers.list") as listed:
        headers = [line.strip() for line in listed if line.strip() and line[0] != "#"]
    source = "".join(f"#include <{header}>\n" for header in headers)
    # The configuration is the target's own matter.
    found = constants.evaluate(compiler, source, uapi + plain)
    return {n: v for n, v in found.items() if not n.startswith(("CONFIG_", "KBUILD_"))}


def user_constants(unpacked):
    """(name, value, header, is_enumerator) of what the uapi headers and C's library define."""
    include = f"{unpacked}/usr/include"
    roots = [f"{include}/x86_64-linux-gnu", include]
    builtin = run("gcc", "-print-file-name=include").strip()
    compiler = ["gcc", "-nostdinc", "-isystem", builtin, *("-I" + r for r in roots), "-D_GNU_SOURCE", "-w"]
    uapi = []
    for root in roots:
        for directory in ("asm", "asm-generic", "linux", "scsi", "sound", "drm", "rdma", "mtd", "video", "xen"):
            for path in glob.glob(f"{root}/{directory}/**/*.h", recursive=True):
                uapi.append(os.path.relpath(path, root))
    for header in sorted(set(uapi) - FOREIGN_HEADERS) + LIBC_HEADERS:
        prelude = "#include <sys/types.h>\n#include <stdint.h>\n" if header in LIBC_HEADERS else ""
        for before in (prelude, "#include <stdint.h>\n#include <sys/socket.h>\n#include <linux/types.h>\n"):
            source = f"{before}#include <{header}>\n"
            tried = subprocess.run(compiler + ["-fsyntax-only", "-x", "c", "-"], input=source, text=True,
                                   stderr=subprocess.DEVNULL)
            if tried.returncode == 0:
                # C's headers take their values from others; those count as theirs.
                own = roots if header in LIBC_HEADERS else [f"{r}/{header}" for r in roots]
                found = constants.evaluate(compiler, source, roots, own)
                yield from ((name, value, header, enum) for name, (value, _, enum) in found.items())
                break


def write_constants(kernel, user, headers, in_btf):
    """One entry per first letter: NAME, VALUE and the headers, by their numbers in
    /headers. The kernel's value of a name comes first. Enumerators that BTF has
    are left out, as from there they are relocated on the target, unless they are
    macros too, as those of the uapi are, which never change."""
    table = {}
    for name, value, header, is_enumerator in [(n, *v) for n, v in kernel.items()] + user:
        if is_enumerator and name in in_btf:
            continue
        known = table.setdefault(name, {}).setdefault(value, [])
        if header not in known:
            known.append(header)
    names = sorted(set(headers) | {h for values in table.values() for hs in values.values() for h in hs})
    numbers = {header: i for i, header in enumerate(names)}
    entries = {"/headers": ["".join(h + "\n" for h in names)]}
    for name in sorted(table):
        # Include guards are no constants; reserved names belong to the compiler.
        if name.startswith("__") and not name.startswith("__NR_"):
            continue
        for value, where in table[name].items():
            where = ",".join(str(numbers[h]) for h in where)
            entries.setdefault(name[0], []).append(f"{name}\t{value}\t{where}\n")
    pack.write(HERE + "/data/constants.pack",
               [(key, "".join(lines).encode()) for key, lines in sorted(entries.items())], 128 << 10)


def all_headers(unpacked, release):
    """Every header that a script may include for its types."""
    flavour = f"{unpacked}/usr/src/linux-headers-{release}"
    common = re.sub(r"-amd64$", "-common", flavour)
    roots = [common + "/include", common + "/include/uapi", common + "/arch/x86/include",
             common + "/arch/x86/include/uapi", f"{unpacked}/usr/include"]
    kept = ("linux/", "net/", "asm", "uapi/", "scsi/", "sound/", "trace/", "vdso/", "crypto/", "drm/", "rdma/",
            "kvm/", "xen/", "acpi/", "math-emu/", "media/", "misc/", "mtd/", "video/", "target/")
    headers = set(LIBC_HEADERS)
    for root in roots:
        for path in glob.glob(root + "/**/*.h", recursive=True):
            name = os.path.relpath(path, root)
            if name.startswith(kept):
                headers.add(name)
    return headers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", default=os.path.expanduser("~/.cache/btc-reference"))
    parser.add_argument("--vm", default=os.path.normpath(HERE + "/../../tests/vm/vm"))
    options = parser.parse_args()
    work = os.path.abspath(options.work)
    unpacked = f"{work}/unpacked"
    os.makedirs(unpacked, exist_ok=True)
    os.makedirs(HERE + "/data", exist_ok=True)

    apt = Apt(f"{work}/apt")
    (image,) = apt.depends(f"linux-image-{ARCH}", "linux-image-")
    release = image[len("linux-image-"):]
    headers = f"linux-headers-{release}"
    packages = [image, *apt.depends(image, f"linux-(binary|modules)-{re.escape(release)}$"), headers,
                *apt.depends(headers, "linux-headers-.*-common"), "linux-libc-dev", "libc6-dev"]
    apt.unpack(packages, unpacked)
    with open(HERE + "/data/VERSION", "w") as version:
        version.writelines(f"{p} {apt.field(p, 'Version')}\n" for p in packages)

    modules = Modules(f"{unpacked}/usr/lib/modules/{release}/kernel")
    with open(f"{unpacked}/usr/src/{headers}/vmlinux", "rb") as stub:
        kernel_btf = dict(elf_sections(stub.read()))[".BTF"]
    write_btf(kernel_btf, modules)
    write_names(kernel_btf, modules)

    kernel = kernel_constants(unpacked, release)
    user = list(user_constants(unpacked))
    in_btf = {name for data, base in [(kernel_btf, b""), *((d, strings_of(kernel_btf)) for _, d in modules.btf)]
              for kind, name in btf_names(data, base) if kind == "e"}
    write_constants(kernel, user, all_headers(unpacked, release), in_btf)

    numbers = {n[len("__NR_"):]: int(v) for n, v, h, _ in user
               if h == "asm/unistd_64.h" and n.startswith("__NR_")}
    write_tracepoints(boot(work, release, unpacked, modules.traced, options.vm), numbers)


if __name__ == "__main__":
    main()
