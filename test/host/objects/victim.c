/* A process to be probed: waits for a line, then calls its functions and passes its USDT probe. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, noclone, used))

KEEP long work_multiply(long a, long b)
{
	__asm__ volatile("");
	return a * b;
}

KEEP long work_add(long a, long b)
{
	__asm__ volatile("");
	return a + b;
}

/* Between main and work_add, so that main is in the stack of a function that has no frame yet. */
KEEP long outer(long a)
{
	long sum = work_add(a, 100);

	__asm__ volatile("");
	return sum;
}

/* As sys/sdt.h has it: counted up by whoever listens. */
volatile unsigned short demo_semaphore __attribute__((section(".probes")));

#define STR(x) #x
/* A probe with four arguments: two registers, a place in memory, a constant. */
#define PROBE(name, a, b, c)                                                                 \
	__asm__ volatile("990: nop\n"                                                        \
			 ".pushsection .note.stapsdt,\"?\",\"note\"\n"                       \
			 ".balign 4\n"                                                       \
			 ".4byte 992f-991f, 994f-993f, 3\n"                                  \
			 "991: .asciz \"stapsdt\"\n"                                         \
			 "992: .balign 4\n"                                                  \
			 "993: .8byte 990b\n"                                                \
			 ".8byte _.stapsdt.base\n"                                           \
			 ".8byte demo_semaphore\n"                                           \
			 ".asciz \"demo\"\n"                                                 \
			 ".asciz \"" STR(name) "\"\n"                                        \
			 ".asciz \"-4@%%edi 8@%%rsi -2@4(%%rdx) -4@$-9\"\n"                  \
			 "994: .balign 4\n"                                                  \
			 ".popsection\n"                                                     \
			 ".ifndef _.stapsdt.base\n"                                           \
			 ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n" \
			 ".weak _.stapsdt.base\n"                                            \
			 ".hidden _.stapsdt.base\n"                                          \
			 "_.stapsdt.base: .space 1\n"                                        \
			 ".size _.stapsdt.base, 1\n"                                         \
			 ".popsection\n"                                                     \
			 ".endif\n"                                                          \
			 :                                                                   \
			 : "D"(a), "S"(b), "d"(c)                                            \
			 : "memory")

int main(int argc, char **argv)
{
	short pair[4] = {1, 2, -300, 4};
	char line[16];
	long sum = 0;

	for (;;) {
		printf("semaphore %d\n", demo_semaphore);
		fflush(stdout);
		if (!fgets(line, sizeof(line), stdin))
			return 0;
		if (!strcmp(line, "spin\n")) {
			for (volatile unsigned long i = 0; i < 2000000000ul; i++)
				sum += i;
			continue;
		}
		for (long i = 0; i < 3; i++)
			sum += work_multiply(i + 5, 7) + outer(i);
		PROBE(passed, -5, 0x123456789abcdefl, pair);
		PROBE(passed, -5, 0x123456789abcdefl, pair);
		sum += getppid();
	}
	return sum == 42;
}
