"""Evaluates the object-like macros and the enumerators of C headers.

BTF has no macros, and of enumerators only those of types that the kernel's code
uses, so `AF_INET`, `O_CREAT` or `PF_KTHREAD` must come from headers. The compiler
evaluates them: every name becomes one initialiser on a line of its own, lines
that do not compile are dropped, the values are read from the object file.

Result of `evaluate`: {name: (value, header, is_enumerator)}, value a string as
stored: decimal digits, with a `u` behind them for unsigned types, or a C string
literal. An enumerator that is also a macro (`#define X X`) counts as a macro.
"""
import bisect
import os
import re
import struct
import subprocess
import tempfile

DEFINE = re.compile(r"#define ([A-Za-z_]\w*)(?!\()(?:\s+(.*))?$")
UNDEF = re.compile(r"#undef (\w+)")
MARKER = re.compile(r'# \d+ "([^"]*)"')
ENUM = re.compile(r"\benum\b[^;{}()=]*\{([^{}]*)\}")
IDENTIFIER = re.compile(r"\s*([A-Za-z_]\w*)\s*(=|$)")
STRING = re.compile(r'"(?:[^"\\]|\\.)*"(?:\s*"(?:[^"\\]|\\.)*")*$')
ERROR = re.compile(r"^probe\.c:(\d+):\d+: (?:fatal )?error")
# What can be part of an integer expression; braces, statements and strings cannot.
EXPRESSION = re.compile(r"[\w\s()+\-*/%<>&|^~!?:.,='\\]+$")
KEYWORDS = re.compile(r"\b(asm|__asm__|static|extern|inline|return|goto|do|for|while|if|typedef|auto)\b")


def names(compiler, source):
    """{name: (body, header, is_enumerator)} of the object-like macros that survive
    `source`, and of the enumerators it declares, each its own body."""
    text = subprocess.run(
        compiler + ["-E", "-dD", "-x", "c", "-"], input=source, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True).stdout
    found, header = {}, ""
    code, starts, headers = [], [], []
    for line in text.splitlines():
        if line.startswith("# "):
            marker = MARKER.match(line)
            header = marker.group(1) if marker else header
        elif line.startswith("#undef"):
            found.pop(UNDEF.match(line).group(1), None)
        elif line.startswith("#define"):
            define = DEFINE.match(line)
            if define:
                found[define.group(1)] = ((define.group(2) or "").strip(), header, False)
        elif line.strip():
            starts.append(starts[-1] + len(code[-1]) if starts else 0)
            headers.append(header)
            code.append(line + "\n")
    for enum in ENUM.finditer("".join(code)):
        header = headers[bisect.bisect_right(starts, enum.start()) - 1]
        for part in enum.group(1).split(","):
            name = IDENTIFIER.match(part)
            if name:
                found.setdefault(name.group(1), (name.group(1), header, True))
    return found


def is_expression(body):
    balance = 0
    for char in body:
        balance += (char == "(") - (char == ")")
        if balance < 0:
            return False
    return bool(body) and balance == 0 and EXPRESSION.match(body) and not KEYWORDS.search(body)


# Addresses are no constants; NULL is the one pointer that scripts compare with.
PROBE = """
#define BTC_SIZE(x) __builtin_choose_expr(__builtin_classify_type(x) != 5 \\
    || __builtin_types_compatible_p(__typeof__(x), void *), sizeof(x), (void)0)
struct btc_probe { long long value; int size, is_unsigned; };
const struct btc_probe btc_probes[] __attribute__((section("btcprobe"), used)) = {
"""


def integers(compiler, source, names):
    """{name: text} of those names that are integer constants."""
    with tempfile.TemporaryDirectory() as tmp:
        prefix = source + PROBE
        first = prefix.count("\n") + 1
        for attempt in range(6):
            lines = [
                f"{{ __builtin_choose_expr(__builtin_constant_p({n}), (long long)({n}), (void)0),"
                f" BTC_SIZE({n}), ((__typeof__(({n}) + 0))-1 > 0) }},\n" for n in names]
            with open(tmp + "/probe.c", "w") as probe:
                probe.write(prefix + "".join(lines) + "{ 0 } };\n")
            done = subprocess.run(
                compiler + ["-w", "-fmax-errors=0", "-fno-diagnostics-show-caret", "-ftrack-macro-expansion=0",
                            "-c", "probe.c", "-o", "probe.o"],
                cwd=tmp, stderr=subprocess.PIPE, text=True, errors="replace")
            if done.returncode == 0:
                break
            bad = {int(m.group(1)) - first for m in map(ERROR.match, done.stderr.splitlines()) if m}
            kept = [n for i, n in enumerate(names) if i not in bad]
            if len(kept) == len(names):
                print(f"constants: headers do not compile:\n{done.stderr[:2000]}")
                return {}
            names = kept
        else:
            return {}
        subprocess.run(["objcopy", "-O", "binary", "-j", "btcprobe", "probe.o", "probe.bin"], cwd=tmp, check=True)
        with open(tmp + "/probe.bin", "rb") as probe:
            data = probe.read()
    values = {}
    for i, name in enumerate(names):
        value, size, unsigned = struct.unpack_from("<qii", data, 16 * i)
        if unsigned:
            values[name] = f"{value % 2 ** 64}u" if size == 8 else f"{value % 2 ** 32}u"
        else:
            values[name] = str(value)
    return values


def evaluate(compiler, source, roots, own=None):
    """Constants of the headers that `source` includes: of all below one of
    `roots`, or, if `own` is given, only of headers whose path begins with one of it."""
    constants, candidates = {}, []
    for name, (body, header, is_enumerator) in names(compiler, source).items():
        short = shorten(header, roots)
        if short is None or own and not os.path.normpath(header).startswith(tuple(own)):
            continue
        if STRING.match(body):
            constants[name] = (body, short, False)
        elif is_expression(body):
            candidates.append((name, short, is_enumerator))
    values = integers(compiler, source, [name for name, _, _ in candidates])
    for name, short, is_enumerator in candidates:
        if name in values:
            constants[name] = (values[name], short, is_enumerator)
    return constants


def shorten(header, roots):
    """The header as one includes it, or None for the compiler's own."""
    header = os.path.normpath(header)
    for root in roots:
        if header.startswith(root + "/"):
            return header[len(root) + 1:]
    return None
