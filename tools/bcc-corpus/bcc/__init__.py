"""A stand-in for BCC's Python module: a tool that imports it writes down the C that it would have compiled, and what it would have
attached, as JSON to the file named by BCC_CORPUS, and ends as soon as it waits for events."""
import atexit
import builtins
import io
import json
import os
import re
import signal
import sys

RECORD = {"programs": [], "usdt": []}


def text_of(value):
    return value.decode() if isinstance(value, bytes) else value


def write_down(*_):
    if RECORD["programs"]:
        with real_open(os.environ["BCC_CORPUS"], "w") as out:
            json.dump(RECORD, out)


def give_up(*_):
    write_down()
    os._exit(0)


real_open = builtins.open
atexit.register(write_down)
signal.signal(signal.SIGALRM, give_up)
signal.signal(signal.SIGTERM, give_up)
signal.alarm(4)

# Addresses that tools of file systems look for: these are modules, which need not be loaded.
FILE_SYSTEMS = "btrfs ext4 f2fs xfs nfs".split()
SYMBOLS = [f"{name}_file_operations" for name in FILE_SYSTEMS] + ["vm_stat", "vm_zone_stat", "zpl_iter_read", "tcp_drop"]
MORE = "".join(f"ffffffff81000000 d {name}\n" for name in SYMBOLS)


def opened(path, *args, **kwargs):
    if path != "/proc/kallsyms":
        return real_open(path, *args, **kwargs)
    content = real_open(path).read() + MORE
    binary = bool(args) and "b" in args[0]
    return io.BytesIO(content.encode()) if binary else io.StringIO(content)


builtins.open = opened
KERNEL_SYMBOLS = {line.split()[2] for line in opened("/proc/kallsyms")}


def types():
    """The kernel's types as C, from the file named by BCC_CORPUS_TYPES."""
    path = os.environ.get("BCC_CORPUS_TYPES", "")
    return real_open(path).read() if path else ""


class Anything:
    """Answers everything with more of itself, and nothing when it is walked."""

    def __init__(self, *args, **kwargs):
        pass

    def __call__(self, *args, **kwargs):
        return Anything()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()

    def __getitem__(self, key):
        return Anything()

    def __setitem__(self, key, value):
        pass

    def __iter__(self):
        raise SystemExit(0)

    def __len__(self):
        return 0

    def __int__(self):
        return 0

    __index__ = __int__

    def __str__(self):
        return ""

    def __contains__(self, key):
        return False

    def __gt__(self, other):
        return False

    def __lt__(self, other):
        return False

    def __add__(self, other):
        return other

    def __sub__(self, other):
        return 0


class Function:
    def __init__(self, name):
        self.name = name
        self.fd = 3
        self.sock = 3


class Named(type):
    def __getattr__(cls, name):
        if name.isupper():
            return name
        raise AttributeError(name)


class BPF(metaclass=Named):
    _syscall_prefixes = [b"__x64_sys_"]

    def __init__(self, src_file=None, hdr_file=None, text=None, debug=0, cflags=(), usdt_contexts=(), **_):
        if text is None:
            path = text_of(src_file)
            if not os.path.exists(path):
                path = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), path)
            text = real_open(path).read()
        self.record = {
            "text": text_of(text),
            "cflags": [text_of(flag) for flag in cflags],
            "attached": {},
            "usdt": bool(usdt_contexts),
        }
        RECORD["programs"].append(self.record)

    def _as(self, kind, fn_name):
        self.record["attached"].setdefault(text_of(fn_name), kind)

    def load_func(self, name, kind, *_, **__):
        self._as(kind.lower(), name)
        return Function(name)

    def attach_kprobe(self, event="", event_off=0, fn_name="", event_re=""):
        self._as("kprobe", fn_name)

    def attach_kretprobe(self, event="", fn_name="", event_re="", maxactive=0):
        self._as("kprobe", fn_name)

    def attach_uprobe(self, name="", sym="", sym_re="", addr=None, fn_name="", pid=-1, sym_off=0):
        self._as("kprobe", fn_name)

    attach_uretprobe = attach_uprobe

    def attach_tracepoint(self, tp="", tp_re="", fn_name=""):
        self._as("tracepoint", fn_name)

    def attach_raw_tracepoint(self, tp="", fn_name=""):
        self._as("raw_tracepoint", fn_name)

    def attach_perf_event(self, ev_type=-1, ev_config=-1, fn_name="", **_):
        self._as("perf_event", fn_name)

    def attach_perf_event_raw(self, attr=None, fn_name="", **_):
        self._as("perf_event", fn_name)

    def attach_xdp(self, dev=None, fn=None, flags=0):
        self._as("xdp", fn.name)

    def attach_raw_socket(self, fn, dev):
        self._as("socket_filter", fn.name)

    def attach_func(self, *_):
        pass

    def get_syscall_fnname(self, name):
        return b"__x64_sys_" + (name if isinstance(name, bytes) else name.encode())

    def get_syscall_prefix(self):
        return b"__x64_sys_"

    def fix_syscall_fnname(self, name):
        return name

    @staticmethod
    def get_kprobe_functions(pattern):
        return [name.encode() for name in KERNEL_SYMBOLS if re.match(text_of(pattern), name)]

    @staticmethod
    def get_tracepoints(pattern):
        with real_open("/sys/kernel/tracing/available_events") as events:
            return [line.strip().encode() for line in events if re.match(text_of(pattern), line)]

    @staticmethod
    def tracepoint_exists(category, event):
        return os.path.exists(f"/sys/kernel/tracing/events/{text_of(category)}/{text_of(event)}")

    @staticmethod
    def ksymname(name):
        return 1 if text_of(name) in KERNEL_SYMBOLS else -1

    @staticmethod
    def kernel_struct_has_field(struct, field):
        all_types = types()
        start = all_types.find(f"\nstruct {text_of(struct)} {{")
        if start < 0:
            return -1
        body = all_types[start : all_types.find("\n};", start)]
        return 1 if re.search(rf"\b{text_of(field)}(\[[^]]*\])*( : \d+)?;", body) else 0

    @staticmethod
    def kernel_enum_has_val(enum, value):
        return text_of(value) in types()

    @staticmethod
    def _check_path_symbol(*_, **__):
        return ("/bin/bash", 1)

    @classmethod
    def generate_auto_includes(cls, words):
        return "#include <linux/sched.h>\n#include <linux/fs.h>\n#include <net/sock.h>\n"

    find_library = staticmethod(lambda name: b"/lib/x86_64-linux-gnu/libc.so.6")
    find_exe = staticmethod(lambda name: b"/bin/bash")
    get_user_functions = staticmethod(lambda name, pattern: [b"x"])
    get_user_functions_and_addresses = staticmethod(lambda name, pattern: [(b"x", 1)])
    monotonic_time = staticmethod(lambda: 0)
    get_probe_limit = staticmethod(lambda: 1000)
    ksym = sym = staticmethod(lambda *_, **__: b"x")

    def _yes(*_, **__):
        return True

    support_kfunc = support_lsm = support_fmod_ret = staticmethod(_yes)
    support_raw_tracepoint = support_raw_tracepoint_in_module = staticmethod(_yes)
    num_open_kprobes = num_open_uprobes = num_open_tracepoints = lambda self: 1

    def __getitem__(self, name):
        return Anything()

    def get_table(self, *_, **__):
        return Anything()

    def wait(self, *_, **__):
        raise SystemExit(0)

    perf_buffer_poll = ring_buffer_poll = trace_print = trace_fields = trace_readline = trace_open = kprobe_poll = wait

    def cleanup(self):
        pass

    close = cleanup

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class USDTException(Exception):
    pass


class USDT:
    def __init__(self, pid=None, path=None):
        pass

    def enable_probe(self, probe="", fn_name=""):
        RECORD["usdt"].append(text_of(fn_name))

    enable_probe_or_bail = enable_probe

    def get_text(self):
        return ""

    def get_context(self):
        return 0

    def get_probe_arg_ctype(self, probe, index):
        return "uint64_t"

    def enumerate_probes(self):
        return []


class PerfType:
    HARDWARE, SOFTWARE, TRACEPOINT, HW_CACHE, RAW = range(5)


class PerfHWConfig:
    CPU_CYCLES, INSTRUCTIONS, CACHE_REFERENCES, CACHE_MISSES = range(4)


class PerfSWConfig:
    CPU_CLOCK, TASK_CLOCK, PAGE_FAULTS = range(3)


class PerfEventSampleFormat:
    CPU = 1


class BPFAttachType(Anything):
    pass


class Perf(Anything):
    class perf_event_attr(Anything):
        pass


lib = Anything()
bcc_symbol = bcc_symbol_option = Anything


def attach_perf(*_):
    pass


def get_table_type_name(*_):
    return ""


class ArgString(str):
    def __bytes__(self):
        return self.encode()


class StrcmpRewrite:
    @staticmethod
    def rewrite_expr(expr, bin_cmp, is_user, probe_user_list, streq_functions, probeid):
        return {"expr": expr, "streq_functions": streq_functions, "probeid": probeid}


def printb(*_, **__):
    pass


def disassemble_str(*_):
    return ""


def get_online_cpus():
    return [0, 1]


get_possible_cpus = get_online_cpus


def detect_language(*_):
    return None


def _assert_is_bytes(value):
    return value if value is None or isinstance(value, bytes) else value.encode()


# Its submodules are this one, but those that are plain Python, which stand beside the tools.
for _name in "table perf exec usdt libbcc disassembler utils".split():
    sys.modules[f"{__name__}.{_name}"] = sys.modules[__name__]
for _name in "syscall containers tcp".split():
    _path = os.path.join(os.environ.get("BCC_CORPUS_PYTHON", ""), f"{_name}.py")
    if os.path.exists(_path):
        import importlib.util

        _spec = importlib.util.spec_from_file_location(f"{__name__}.{_name}", _path)
        _module = importlib.util.module_from_spec(_spec)
        sys.modules[f"{__name__}.{_name}"] = _module
        _spec.loader.exec_module(_module)
