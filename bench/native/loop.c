// SPDX-License-Identifier: Apache-2.0
/*
 * Runs functions of the machine's own code in a loop, so that the border to JavaScript costs nothing: programs that clang has
 * compiled for this machine, and those that uBPF's JIT has made. Built by bench/native.ts.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Zeroed memory whose addresses have 32 bits, as the fields of struct xdp_md have; NULL where there is none. */
void *bench_memory(uint64_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	return at == MAP_FAILED ? NULL : at;
}

void bench_copy(void *to, const void *from, uint64_t size)
{
	memcpy(to, from, size);
}

/* The function of that name in a shared library; NULL where it has none. */
void *bench_function(const char *library, const char *name)
{
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);

	return handle == NULL ? NULL : dlsym(handle, name);
}

/* Calls fn(ctx, size) `times` times; the last result. */
uint32_t bench_run(void *fn, void *ctx, uint64_t size, uint64_t times)
{
	uint64_t (*call)(void *, uint64_t) = fn;
	uint64_t result = 0;

	for (uint64_t i = 0; i < times; i++)
		result = call(ctx, size);
	return result;
}

/* Code of the program by uBPF's JIT; NULL, with the reason in `error`, where uBPF refuses it. */
void *bench_ubpf(const char *library, const void *insns, uint32_t bytes, char *error, uint64_t room)
{
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	char *message = NULL;
	void *vm, *fn;

	if (handle == NULL) {
		snprintf(error, room, "%s", dlerror());
		return NULL;
	}
	void *(*create)(void) = dlsym(handle, "ubpf_create");
	int (*load)(void *, const void *, uint32_t, char **) = dlsym(handle, "ubpf_load");
	void *(*compile)(void *, char **) = dlsym(handle, "ubpf_compile");

	if (create == NULL || load == NULL || compile == NULL) {
		snprintf(error, room, "%s is not uBPF's library", library);
		return NULL;
	}
	vm = create();
	if (vm == NULL || load(vm, insns, bytes, &message) != 0 || (fn = compile(vm, &message)) == NULL) {
		snprintf(error, room, "%s", message == NULL ? "out of memory" : message);
		free(message);
		return NULL;
	}
	return fn;
}
