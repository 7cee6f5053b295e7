/*
 * Loads and runs programs on the Linux kernel of this machine, through bpf(2): the oracle of the instruction and
 * generator tests. Needs CAP_BPF (root); makes only maps and programs of its own, which die with it.
 *
 *   cc -O2 -o linux-oracle linux-oracle.c
 *
 * One request a line on standard input, fields separated by blanks, bytes in hexadecimal ("-" for none):
 *   TYPE LOGLEVEL RUN DATA NMAPS {TYPE KEYSIZE VALUESIZE ENTRIES NELEMS {KEY VALUE}} NFIX {SLOT MAP} INSNS
 * TYPE is enum bpf_prog_type; RUN 1 asks for one BPF_PROG_TEST_RUN with DATA; each FIX puts a map's fd into the
 * immediate of a slot. One answer a request:
 *   L TEXT                     a line of the verifier log
 *   M MAP KEY VALUE            an element after the run
 *   R LOADERRNO RUNERRNO RETVAL DATAOUT     ends the answer
 */
#include <errno.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOG_SIZE (16 << 20)
#define MAX_MAPS 16

static char log_buf[LOG_SIZE];
static char *cursor;

static long sys_bpf(int cmd, union bpf_attr *attr)
{
	return syscall(__NR_bpf, cmd, attr, sizeof(*attr));
}

static char *word(void)
{
	char *token = strsep(&cursor, " \n");
	return token ? token : "";
}

static long number(void) { return strtol(word(), NULL, 0); }

static int nibble(char c) { return c <= '9' ? c - '0' : (c | 32) - 'a' + 10; }

static uint8_t *bytes(size_t *size)
{
	char *text = word();
	size_t n = strcmp(text, "-") ? strlen(text) / 2 : 0;
	uint8_t *out = calloc(1, n + 1);
	for (size_t i = 0; i < n; i++)
		out[i] = nibble(text[2 * i]) << 4 | nibble(text[2 * i + 1]);
	*size = n;
	return out;
}

static void hex(const uint8_t *data, size_t n)
{
	if (!n) putchar('-');
	for (size_t i = 0; i < n; i++)
		printf("%02x", data[i]);
}

static int possible_cpus(void)
{
	int first = 0, last = 0;
	FILE *f = fopen("/sys/devices/system/cpu/possible", "r");
	if (!f) return 1;
	if (fscanf(f, "%d-%d", &first, &last) < 2) last = first;
	fclose(f);
	return last + 1;
}

static int is_percpu(int type)
{
	return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_ARRAY ||
	       type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

struct map {
	int fd, type;
	size_t key, value, whole;
};

static void make_map(struct map *m, int cpus)
{
	union bpf_attr attr = {};
	size_t size;
	m->type = attr.map_type = number();
	m->key = attr.key_size = number();
	m->value = attr.value_size = number();
	attr.max_entries = number();
	m->whole = is_percpu(m->type) ? ((m->value + 7) & ~7UL) * cpus : m->value;
	m->fd = sys_bpf(BPF_MAP_CREATE, &attr);
	long n = number();
	for (long i = 0; i < n; i++) {
		uint8_t *key = bytes(&size), *value = bytes(&size);
		uint8_t *whole = calloc(1, m->whole + 8);
		size_t step = is_percpu(m->type) ? ((m->value + 7) & ~7UL) : m->whole;
		for (size_t at = 0; at < m->whole; at += step)
			memcpy(whole + at, value, size);
		union bpf_attr u = {};
		u.map_fd = m->fd;
		u.key = (uintptr_t)key;
		u.value = (uintptr_t)whole;
		sys_bpf(BPF_MAP_UPDATE_ELEM, &u);
		free(key), free(value), free(whole);
	}
}

static void dump_map(const struct map *m, int index)
{
	uint8_t key[512], next[512];
	uint8_t *value = calloc(1, m->whole + 8);
	union bpf_attr attr = {};
	attr.map_fd = m->fd;
	attr.next_key = (uintptr_t)next;
	while (m->key && m->key <= sizeof(key) && !sys_bpf(BPF_MAP_GET_NEXT_KEY, &attr)) {
		memcpy(key, next, m->key);
		union bpf_attr l = {};
		l.map_fd = m->fd;
		l.key = (uintptr_t)key;
		l.value = (uintptr_t)value;
		if (!sys_bpf(BPF_MAP_LOOKUP_ELEM, &l)) {
			printf("M %d ", index);
			hex(key, m->key);
			putchar(' ');
			hex(value, m->whole);
			putchar('\n');
		}
		attr.key = (uintptr_t)key;
	}
	free(value);
}

static void print_log(void)
{
	char *line, *rest = log_buf;
	while ((line = strsep(&rest, "\n")))
		if (*line || rest) printf("L %s\n", line);
}

int main(void)
{
	char *line = NULL;
	size_t cap = 0;
	int cpus = possible_cpus();
	while (getline(&line, &cap, stdin) > 0) {
		struct map maps[MAX_MAPS] = {};
		union bpf_attr attr = {};
		size_t data_size, insns_size;
		cursor = line;
		attr.prog_type = number();
		attr.log_level = number();
		int run = number();
		uint8_t *data = bytes(&data_size);
		int nmaps = number();
		if (nmaps > MAX_MAPS) return 2;
		for (int i = 0; i < nmaps; i++)
			make_map(&maps[i], cpus);
		int nfix = number();
		int slots[256], which[256];
		if (nfix > 256) return 2;
		for (int i = 0; i < nfix; i++) {
			slots[i] = number();
			which[i] = number();
		}
		struct bpf_insn *insns = (void *)bytes(&insns_size);
		for (int i = 0; i < nfix; i++)
			insns[slots[i]].imm = maps[which[i]].fd;
		attr.insns = (uintptr_t)insns;
		attr.insn_cnt = insns_size / 8;
		attr.license = (uintptr_t) "GPL";
		log_buf[0] = 0;
		if (attr.log_level) {
			attr.log_buf = (uintptr_t)log_buf;
			attr.log_size = sizeof(log_buf);
		}
		int fd = sys_bpf(BPF_PROG_LOAD, &attr);
		int load_errno = fd < 0 ? errno : 0, run_errno = 0;
		if (attr.log_level) print_log();
		uint32_t retval = 0;
		size_t out_size = 0;
		static uint8_t out[1 << 16];
		if (fd >= 0 && run) {
			union bpf_attr t = {};
			t.test.prog_fd = fd;
			t.test.repeat = 1;
			t.test.data_in = (uintptr_t)data;
			t.test.data_size_in = data_size;
			t.test.data_out = (uintptr_t)out;
			t.test.data_size_out = sizeof(out);
			run_errno = sys_bpf(BPF_PROG_TEST_RUN, &t) < 0 ? errno : 0;
			if (!run_errno) {
				retval = t.test.retval;
				out_size = t.test.data_size_out;
			}
			for (int i = 0; i < nmaps; i++)
				dump_map(&maps[i], i);
		}
		printf("R %d %d %u ", load_errno, run_errno, retval);
		hex(out, out_size);
		putchar('\n');
		fflush(stdout);
		if (fd >= 0) close(fd);
		for (int i = 0; i < nmaps; i++)
			close(maps[i].fd);
		free(data), free(insns);
	}
	return 0;
}
