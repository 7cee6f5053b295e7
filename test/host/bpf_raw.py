"""bpf(2) of the machine, raw: one JSON request a line on the FIFO argv[1], one answer a line on argv[2].

{"cmd": n, "attr": hex, "bufs": [hex], "ptrs": [[offset in attr, index in bufs]], "nested"?} -> {"ret": fd or -errno, "attr": hex, "bufs": [hex]}
{"close": fd}, {"unlink": path}, {"mkdir": path}, {"readdir": path}, {"link": [from, to]}, {"symlink": [target, path]} -> {"ret"}
{"perf": hex of perf_event_attr, "pid": n, "cpu": n} -> {"ret": fd}
{"socketpair": prog_fd} -> {"ret": fd}: a socket of our own with the program as its filter

Runs in mount and network namespaces of its own: a bpffs on argv[3], a veth pair t0/t1. All ends with the process.
"""
import ctypes, json, os, socket, struct, subprocess, sys

libc = ctypes.CDLL(None, use_errno=True)


def fail():
    return -ctypes.get_errno()


def bpf(request):
    bufs = [ctypes.create_string_buffer(bytes.fromhex(b), max(1, len(b) // 2)) for b in request["bufs"]]
    attr = bytearray.fromhex(request["attr"])
    # Pointers inside of buffers: [buffer, offset, index of the buffer pointed to].
    for outer, offset, index in request.get("nested", []):
        struct.pack_into("<Q", bufs[outer], offset, ctypes.addressof(bufs[index]))
    for offset, index in request["ptrs"]:
        struct.pack_into("<Q", attr, offset, ctypes.addressof(bufs[index]))
    buffer = ctypes.create_string_buffer(bytes(attr), len(attr))
    ret = libc.syscall(321, request["cmd"], buffer, len(attr))
    if ret < 0:
        ret = fail()
    return {"ret": ret, "attr": buffer.raw.hex(), "bufs": [b.raw.hex()[: len(h)] for b, h in zip(bufs, request["bufs"])]}


def perf(request):
    attr = bytes.fromhex(request["perf"])
    buffer = ctypes.create_string_buffer(attr, len(attr))
    ret = libc.syscall(298, buffer, request["pid"], request["cpu"], -1, 8)
    return {"ret": ret if ret >= 0 else fail()}


sockets = []


def socket_filter(fd):
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        pair[0].setsockopt(socket.SOL_SOCKET, 50, struct.pack("<i", fd))
    finally:
        pair[1].close()
    return {"ret": pair[0].detach()}


CALLS = {
    "close": lambda fd: os.close(fd),
    "unlink": lambda path: os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path),
    "mkdir": lambda path: os.mkdir(path),
    "link": lambda names: os.link(*names),
    "symlink": lambda names: os.symlink(*names),
}


def answer(request):
    try:
        if "cmd" in request:
            return bpf(request)
        if "perf" in request:
            return perf(request)
        if "socketpair" in request:
            return socket_filter(request["socketpair"])
        if "readdir" in request:
            return {"ret": 0, "names": os.listdir(request["readdir"])}
        (name, value), = request.items()
        CALLS[name](value)
        return {"ret": 0}
    except OSError as error:
        return {"ret": -error.errno}


def main():
    pipe_in, pipe_out, mount = sys.argv[1:]
    requests, answers = open(pipe_in), open(pipe_out, "w")
    why = ""
    CLONE_NEWNS, CLONE_NEWNET, MS_REC_PRIVATE = 0x20000, 0x40000000, 0x44000
    if libc.unshare(CLONE_NEWNS | CLONE_NEWNET) or libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None):
        why = "no namespaces of our own"
    elif libc.mount(b"bpf", mount.encode(), b"bpf", 0, None):
        why = "no bpffs"
    elif subprocess.run(["ip", "link", "add", "t0", "type", "veth", "peer", "name", "t1"]).returncode:
        why = "no veth pair"
    possible = open("/sys/devices/system/cpu/possible").read().strip().split("-")[-1]
    print(json.dumps({"why": why, "cpus": int(possible) + 1, "ifindex": 0 if why else socket.if_nametoindex("t0")}), file=answers, flush=True)
    for line in requests:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


main()
