// SPDX-License-Identifier: GPL-2.0-only
/*
 * sample
 *
 * Shows vmstat, after each CPU has added what it had counted, and zswap's counters.
 *
 * sample PORT FIFO	(the FIFO is there already)
 *
 * Holds the results port, which only one process can have open. Copies what is
 * written to FIFO to it, line by line, and in between samples the kernel's
 * counters, once told how often: a line "@every MS" sets the interval, 0 stops.
 * A line "@seed TEXT" goes to the kernel's random number generator instead; the
 * host sends it on the port itself, which saves the way through a shell.
 *
 *   @sample <monotonic ns>
 *   #meminfo      /proc/meminfo
 *   #vmstat       /proc/vmstat
 *   #zswap        debugfs zswap/<name> as "<name> <value>"
 *   @end
 *
 * Each @every is also answered with what the kernel says of itself besides its
 * console: /proc/sys/kernel/tainted, as it was when this program started and as
 * it is now, how many messages it has logged since then, and how many of those
 * were overwritten before they were read.
 *
 *   @json {"witness":{"was":N,"tainted":N,"messages":N,"lost":N}}
 */

#include <asm/mman.h>
#include <linux/random.h>

#include "guest.h"

#define ZSWAP_DIR	"/sys/kernel/debug/zswap"

static char buf[64 * 1024];
static size_t used;
/* Where lines come from: the FIFO, and the port itself. */
static struct source {
	int fd;
	size_t len;
	char line[4096];
} fifo, port_in;
static int meminfo, vmstat, zswap = -1, tainted, kmsg;
static unsigned long messages, lost, next_message;
static char was[24];
static int port, interval_ms, urandom;

static __u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (__u64)ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void add_text(const char *text)
{
	size_t len = strlen(text);

	if (used + len < sizeof(buf)) {
		memcpy(buf + used, text, len);
		used += len;
	}
}

static void add_file(int fd)
{
	ssize_t got;

	lseek(fd, 0, SEEK_SET);
	while (used < sizeof(buf) && (got = read(fd, buf + used, sizeof(buf) - used)) > 0)
		used += got;
}

/*
 * A value can be read once for each time that its file is opened: these files
 * cannot be sought in. The directory appears when zswap is set up, which may be
 * late.
 */
static void add_zswap(void)
{
	static const char *const names[] = {
		"pool_limit_hit", "reject_reclaim_fail", "reject_alloc_fail",
		"reject_kmemcache_fail", "reject_compress_fail", "reject_compress_poor",
		"decompress_fail", "written_back_pages", "pool_total_size",
		"stored_pages", "stored_incompressible_pages",
	};
	size_t i;

	if (zswap < 0)
		zswap = open(ZSWAP_DIR, O_RDONLY | O_DIRECTORY);
	if (zswap < 0)
		return;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		int fd = openat(zswap, names[i], O_RDONLY);

		if (fd < 0)
			continue;
		add_text(names[i]);
		add_text(" ");
		add_file(fd);
		close(fd);
		if (buf[used - 1] != '\n')
			add_text("\n");
	}
}

static void write_all(const char *text, size_t len)
{
	while (len) {
		ssize_t put = write(port, text, len);

		if (put <= 0)
			return;
		text += put;
		len -= put;
	}
}

/* Records are "priority,sequence,time,flags;text", one for each read. */
static void follow_messages(void)
{
	static char record[4096];
	ssize_t got;

	/* EPIPE: what came next was overwritten; the sequence shows how much. */
	while ((got = read(kmsg, record, sizeof(record) - 1)) > 0 || errno == EPIPE) {
		unsigned long number = 0;
		const char *digit;

		errno = 0;
		if (got <= 0)
			continue;
		record[got] = '\0';
		digit = strchr(record, ',');
		while (digit && *++digit >= '0' && *digit <= '9')
			number = number * 10 + (*digit - '0');
		if (next_message)
			lost += number - next_message;
		next_message = number + 1;
		messages++;
	}
}

/* Puts what the file has, a number and the end of its line, into value. */
static int read_taint(char *value, size_t size)
{
	ssize_t got;

	lseek(tainted, 0, SEEK_SET);
	got = read(tainted, value, size);
	if (got < 1)
		return -1;
	value[got - 1] = '\0';
	return 0;
}

static void testify(void)
{
	char text[128], now[sizeof(was)];

	if (read_taint(now, sizeof(now)))
		return;
	follow_messages();
	snprintf(text, sizeof(text),
		 "@json {\"witness\":{\"was\":%s,\"tainted\":%s,\"messages\":%lu,\"lost\":%lu}}\n",
		 was, now, messages, lost);
	write_all(text, strlen(text));
}

static void sample(void)
{
	char head[64];

	follow_messages();
	used = 0;
	snprintf(head, sizeof(head), "@sample %llu\n", (unsigned long long)now_ns());
	add_text(head);
	add_text("#meminfo\n");
	add_file(meminfo);
	add_text("#vmstat\n");
	add_file(vmstat);
	add_text("#zswap\n");
	add_zswap();
	add_text("@end\n");
	write_all(buf, used);
}

/*
 * The seed comes from the host's generator, so it counts as entropy: a generator
 * that was not ready is, and mkswap does not wait for seconds to get a UUID. One
 * that was ready shows a seed only when it next makes itself a key, which may be
 * as long: have it do so now.
 */
static void reseed(const char *seed, size_t len)
{
	static struct {
		struct rand_pool_info info;
		char bytes[sizeof(fifo.line)];
	} pool;
	char said[64];

	memcpy(pool.info.buf, seed, len);
	pool.info.buf_size = len;
	/* Bits. It is text, in hexadecimal. */
	pool.info.entropy_count = 4 * len;
	ioctl(urandom, RNDADDENTROPY, &pool);
	ioctl(urandom, RNDRESEEDCRNG, 0);
	snprintf(said, sizeof(said), "@event %llu seeded\n", (unsigned long long)now_ns());
	write_all(said, strlen(said));
}

static void take_line(char *line, size_t len)
{
	line[len] = '\0';
	if (!strncmp(line, "@seed ", 6)) {
		reseed(line + 6, len - 6);
	} else if (!strncmp(line, "@every ", 7)) {
		interval_ms = atoi(line + 7);
		testify();
		/* One at the beginning and one at the end, however short the time between. */
		sample();
	} else {
		line[len++] = '\n';
		write_all(line, len);
	}
}

static void relay(struct source *from)
{
	static char in[1024];
	ssize_t got = read(from->fd, in, sizeof(in));
	ssize_t i;

	for (i = 0; i < got; i++) {
		if (in[i] == '\n') {
			take_line(from->line, from->len);
			from->len = 0;
		} else if (from->len + 2 < sizeof(from->line)) {
			from->line[from->len++] = in[i];
		}
	}
}

static int show_once(void)
{
	int refresh = open("/proc/sys/vm/stat_refresh", O_RDONLY);

	vmstat = open("/proc/vmstat", O_RDONLY);
	if (refresh < 0 || vmstat < 0 || read(refresh, buf, 1) < 0)
		return answer(errno);
	add_file(vmstat);
	add_zswap();
	port = STDOUT_FILENO;
	write_all(buf, used);
	return 0;
}

int main(int argc, char **argv)
{
	struct pollfd pfds[2];
	__u64 next;

	if (argc == 1)
		return show_once();
	if (argc != 3)
		return answer(EINVAL);
	port = open(argv[1], O_RDWR);
	port_in.fd = port;
	fifo.fd = open(argv[2], O_RDWR);
	meminfo = open("/proc/meminfo", O_RDONLY);
	vmstat = open("/proc/vmstat", O_RDONLY);
	urandom = open("/dev/urandom", O_WRONLY);
	tainted = open("/proc/sys/kernel/tainted", O_RDONLY);
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	if (port < 0 || fifo.fd < 0 || meminfo < 0 || vmstat < 0 || urandom < 0 || tainted < 0 || kmsg < 0)
		return answer(errno);
	/* A sampler that waits for its own pages would be late exactly when it matters. */
	syscall(__NR_mlockall, MCL_CURRENT);

	pfds[0] = (struct pollfd){ .fd = port, .events = POLLIN };
	pfds[1] = (struct pollfd){ .fd = fifo.fd, .events = POLLIN };
	/*
	 * What the boot left. Asked for now: the first command does not wait for this
	 * program, and may already do what has to be noticed.
	 */
	if (read_taint(was, sizeof(was)))
		return answer(EIO);
	follow_messages();
	messages = 0;
	next = now_ns();
	for (;;) {
		__u64 now = now_ns();
		int wait = -1;

		if (interval_ms) {
			if (now >= next) {
				sample();
				/* What one sample was late, the next is early. */
				next += interval_ms * 1000000ULL;
				if (next < now)
					next = now + interval_ms * 1000000ULL;
			}
			/* 64-bit division is not to be had on 32-bit ARM without a library. */
			wait = (int)(__u32)((next - now) >> 20) + 1;
		}
		if (poll(pfds, 2, wait) <= 0)
			continue;
		if (pfds[0].revents & POLLIN)
			relay(&port_in);
		if (pfds[1].revents & POLLIN)
			relay(&fifo);
	}
}
