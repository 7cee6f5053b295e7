"""bpf(2) of the machine for differential tests: JSON lines in, JSON lines out, one list of commands and results a line.

Touches nothing but the maps and programs that it makes; they die with the process. Commands:
  create   {type, key, value, max, flags, inner?, extra?}     -> {ret: fd or -errno}
  elem     {cmd, fd, key: hex|null, value: hex, out: bytes, flags, repeat?} -> {ret, out: hex}
  close    {fd}
  snprintf {fmt: hex, args: [number | {str: hex}], size}      -> {load: -errno} or {ret, out: hex}
  helper   {type, id, args, data: hex}                        -> {load: -errno, log} or {ret, bufs: [hex], out: hex}
           args: number, {buf: hex}, {const: hex} (read-only string), {fd: map} or {ctx: true}
  ring     {fd, size, consume: position|null}                 -> {producer, consumer, out: hex of the data area}
"""
import ctypes, errno, json, mmap, os, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
BPF = 321  # x86-64
MAP_CREATE, LOOKUP, UPDATE, DELETE, NEXT, PROG_LOAD, TEST_RUN, LOOKUP_DELETE, FREEZE = 0, 1, 2, 3, 4, 5, 10, 21, 22


def bpf(cmd, attr):
    buf = ctypes.create_string_buffer(attr.ljust(160, b"\0"), 160)
    ret = libc.syscall(BPF, cmd, buf, 160)
    return (-ctypes.get_errno() if ret < 0 else ret), buf


def create(type, key, value, max, flags=0, inner=0, extra=0):
    attr = struct.pack("<7I", type, key, value, max, flags, inner, 0).ljust(64, b"\0") + struct.pack("<Q", extra)
    return bpf(MAP_CREATE, attr)[0]


def elem(cmd, fd, key, value=b"", out=0, flags=0):
    k = ctypes.create_string_buffer(key, len(key)) if key is not None else None
    size = len(value) if len(value) > out else out
    v = ctypes.create_string_buffer(value.ljust(size, b"\0"), size) if size else None
    addr = lambda b: ctypes.addressof(b) if b is not None else 0
    ret, _ = bpf(cmd, struct.pack("<IIQQQ", fd, 0, addr(k), addr(v), flags))
    return ret, (v.raw[:out] if v is not None else b"")


def load(insns, type=1):
    code = ctypes.create_string_buffer(insns, len(insns))
    license = ctypes.create_string_buffer(b"GPL")
    log = ctypes.create_string_buffer(65536)
    attr = struct.pack("<IIQQIIQ", type, len(insns) // 8, ctypes.addressof(code), ctypes.addressof(license), 1, 65536, ctypes.addressof(log))
    ret, _ = bpf(PROG_LOAD, attr)
    return ret, log.value.decode("latin1")


def run(fd, data):
    src = ctypes.create_string_buffer(data, len(data))
    dst = ctypes.create_string_buffer(len(data) + 16384)
    attr = struct.pack("<IIIIQQII", fd, 0, len(data), len(data) + 16384, ctypes.addressof(src), ctypes.addressof(dst), 1, 0)
    ret, buf = bpf(TEST_RUN, attr)
    retval, _, out = struct.unpack_from("<III", buf.raw, 4)
    return ret, retval, dst.raw[:out]


def insn(code, dst=0, src=0, off=0, imm=0):
    return struct.pack("<BBhi", code, dst | src << 4, off, imm)


def value_addr(reg, fd, off):
    return insn(0x18, reg, 2, 0, fd) + insn(0, 0, 0, 0, off)


def snprintf(fmt, args, size):
    strings, at = b"", 1024
    for a in args:
        if isinstance(a, dict):
            strings += bytes.fromhex(a["str"]) + b"\0"
    fds = []
    try:
        fmt_fd = create(2, 4, len(fmt) + 1, 1, 1 << 7)
        fds.append(fmt_fd)
        elem(UPDATE, fmt_fd, b"\0" * 4, fmt + b"\0")
        bpf(FREEZE, struct.pack("<I", fmt_fd))
        ret_at, args_at = 512, 520
        total = 1024 + len(strings) + 8
        data_fd = create(2, 4, total, 1)
        fds.append(data_fd)
        init = bytearray(total)
        init[:512] = b"\xaa" * 512
        init[1024 : 1024 + len(strings)] = strings
        code = b""
        for i, a in enumerate(args):
            if isinstance(a, dict):
                code += value_addr(1, data_fd, at) + value_addr(2, data_fd, args_at + 8 * i) + insn(0x7B, 2, 1)
                at += len(bytes.fromhex(a["str"])) + 1
            else:
                struct.pack_into("<Q", init, args_at + 8 * i, int(a) & (2**64 - 1))
        elem(UPDATE, data_fd, b"\0" * 4, bytes(init))
        code += value_addr(1, data_fd, 0) + insn(0xB7, 2, 0, 0, size) + value_addr(3, fmt_fd, 0)
        code += value_addr(4, data_fd, args_at) + insn(0xB7, 5, 0, 0, 8 * len(args)) + insn(0x85, imm=165)
        code += value_addr(1, data_fd, ret_at) + insn(0x7B, 1, 0) + insn(0xB7) + insn(0x95)
        prog, log = load(code)
        if prog < 0:
            return {"load": prog, "log": log[-300:]}
        fds.append(prog)
        run(prog, b"\0" * 64)
        _, out = elem(LOOKUP, data_fd, b"\0" * 4, out=total)
        return {"ret": struct.unpack_from("<q", out, ret_at)[0], "out": out[:size].hex()}
    finally:
        for fd in fds:
            if fd >= 0:
                os.close(fd)


def helper(type, id, args, data):
    bufs = [bytes.fromhex(a["buf"]) for a in args if isinstance(a, dict) and "buf" in a]
    offsets, at = [], 8
    for b in bufs:
        offsets.append(at)
        at += (len(b) + 7) // 8 * 8
    fds = []
    try:
        fd = create(2, 4, at + 8, 1)
        fds.append(fd)
        init = bytearray(at + 8)
        for o, b in zip(offsets, bufs):
            init[o : o + len(b)] = b
        elem(UPDATE, fd, b"\0" * 4, bytes(init))
        code, places = insn(0xBF, 6, 1), iter(offsets)
        for reg, a in enumerate(args, 1):
            if not isinstance(a, dict):
                v = int(a) & (2**64 - 1)
                low, high = struct.unpack("<ii", struct.pack("<Q", v))
                code += insn(0x18, reg, 0, 0, low) + insn(0, 0, 0, 0, high)
            elif "fd" in a:
                code += insn(0x18, reg, 1, 0, a["fd"]) + insn(0, 0, 0, 0, 0)
            elif "ctx" in a:
                code += insn(0xBF, reg, 6)
            elif "const" in a:
                text = bytes.fromhex(a["const"]) + b"\0"
                const = create(2, 4, len(text), 1, 1 << 7)
                fds.append(const)
                elem(UPDATE, const, b"\0" * 4, text)
                bpf(FREEZE, struct.pack("<I", const))
                code += value_addr(reg, const, 0)
            else:
                code += value_addr(reg, fd, next(places))
        code += insn(0x85, imm=id) + value_addr(1, fd, 0) + insn(0x7B, 1, 0) + insn(0xB7, imm=2 if type == 6 else 0) + insn(0x95)
        prog, log = load(code, type)
        if prog < 0:
            return {"load": prog, "log": log[-600:]}
        fds.append(prog)
        err, _, packet = run(prog, data)
        _, out = elem(LOOKUP, fd, b"\0" * 4, out=at + 8)
        return {
            "err": err,
            "ret": struct.unpack_from("<q", out, 0)[0],
            "bufs": [out[o : o + len(b)].hex() for o, b in zip(offsets, bufs)],
            "out": packet.hex(),
        }
    finally:
        for f in fds:
            if f >= 0:
                os.close(f)


def ring(fd, size, consume):
    page = mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    rest = mmap.mmap(fd, 4096 + size, mmap.MAP_SHARED, mmap.PROT_READ, offset=4096)
    try:
        if consume is not None:
            struct.pack_into("<Q", page, 0, consume)
        consumer, producer = struct.unpack_from("<Q", page)[0], struct.unpack_from("<Q", rest)[0]
        return {"producer": producer, "consumer": consumer, "out": rest[4096 : 4096 + size].hex()}
    finally:
        page.close()
        rest.close()


def command(c):
    op = c["op"]
    if op == "create":
        return {"ret": create(c["type"], c["key"], c["value"], c["max"], c.get("flags", 0), c.get("inner", 0), c.get("extra", 0))}
    if op == "elem":
        key = None if c["key"] is None else bytes.fromhex(c["key"])
        ret, out = elem(c["cmd"], c["fd"], key, bytes.fromhex(c.get("value", "")), c.get("out", 0), c.get("flags", 0))
        return {"ret": ret, "out": out.hex() if ret >= 0 else ""}
    if op == "close":
        os.close(c["fd"])
        return {}
    if op == "snprintf":
        return snprintf(bytes.fromhex(c["fmt"]), c["args"], c["size"])
    if op == "helper":
        return helper(c["type"], c["id"], c["args"], bytes.fromhex(c["data"]))
    if op == "ring":
        return ring(c["fd"], c["size"], c.get("consume"))
    return {"error": "unknown op " + op}


os.sched_setaffinity(0, {0})
probe = create(2, 4, 4, 1)
if probe < 0:
    print(json.dumps({"unavailable": "bpf(2): " + errno.errorcode.get(-probe, str(-probe))}), flush=True)
    sys.exit(0)
os.close(probe)
with open("/sys/devices/system/cpu/possible") as f:
    last = f.read().strip().split("-")[-1]
print(json.dumps({"cpus": int(last) + 1, "release": os.uname().release}), flush=True)
for line in sys.stdin:
    print(json.dumps([command(c) for c in json.loads(line)]), flush=True)
