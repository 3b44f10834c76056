// SPDX-License-Identifier: GPL-2.0-only
/*
 * pages serve NAME | pages ask NAME WORD...
 *
 * The workload: a process that owns anonymous pages, fills them with content
 * that can be recomputed, and says where they are. It takes one line at a time
 * and answers with one JSON object:
 *
 *   map N             map N pages, never huge
 *   fill SEED LO HI   first LO to HI bytes of each page random, the rest zero
 *   pageout           ask the kernel to reclaim them
 *   where             how many are swapped, and how many present (pagemap); how
 *                     many of those swapped are still in the swap cache (mincore)
 *   verify            read them all, count those that are not as filled
 *   spoil N           change one bit of page N: verify has to notice
 *   touch             read them all
 *   unmap             give them back
 *   hold N [SPARE]    take N more pages, present and locked: pressure; give the
 *                     last SPARE of them back at once
 *   release           give those back
 *   exit
 *
 * Its own text, data and stack are locked, so that what is reclaimed of it is
 * the mapped pages and nothing else.
 */

#include <asm/mman.h>

#include "guest.h"

#define HELD_MAX	256
#define AT_ONCE		512
#define PAGEMAP_PRESENT	(1ULL << 63)
#define PAGEMAP_SWAPPED	(1ULL << 62)

static size_t page_size;
static char *area;
static size_t area_pages;
static __u64 seed;
static size_t random_low, random_high;

static struct { void *at; size_t len; } held[HELD_MAX];
static size_t held_areas, held_pages;

static char in_path[64], out_path[64], pid_path[64];
static char line[256];
static char reply[512];
static int reply_len;

/* splitmix64: every seed gives a stream of its own. */
static __u64 mix(__u64 *state)
{
	__u64 z = (*state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* The number of random words of page index; *state is left at the first of them. */
static size_t page_stream(size_t index, __u64 *state)
{
	__u64 range = random_high - random_low + 1;

	*state = seed + index * 0xd1342543de82ef95ULL;
	return (random_low + (size_t)(((mix(state) >> 32) * range) >> 32)) / sizeof(__u64);
}

static void fill_page(size_t index)
{
	__u64 *word = (__u64 *)(area + index * page_size);
	__u64 *end = word + page_size / sizeof(*word);
	__u64 state;
	size_t left = page_stream(index, &state);

	while (left--)
		*word++ = mix(&state);
	while (word < end)
		*word++ = 0;
}

static int page_is_right(size_t index)
{
	const __u64 *word = (__u64 *)(area + index * page_size);
	const __u64 *end = word + page_size / sizeof(*word);
	__u64 state;
	size_t left = page_stream(index, &state);

	while (left--)
		if (*word++ != mix(&state))
			return 0;
	while (word < end)
		if (*word++)
			return 0;
	return 1;
}

#define REPLY(...) (reply_len = snprintf(reply, sizeof(reply), __VA_ARGS__))

static void reply_errno(int err)
{
	if (err)
		REPLY("{\"ok\":false,\"errno\":%d}\n", err);
	else
		REPLY("{\"ok\":true}\n");
}

static void do_unmap(void)
{
	if (area)
		munmap(area, area_pages * page_size);
	area = NULL;
	area_pages = 0;
}

static void do_map(size_t pages)
{
	void *at;

	do_unmap();
	at = mmap(NULL, pages * page_size, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED) {
		reply_errno(errno);
		return;
	}
	/* Fails, rightly, where the kernel has no huge pages to begin with. */
	syscall(__NR_madvise, at, pages * page_size, MADV_NOHUGEPAGE);
	area = at;
	area_pages = pages;
	reply_errno(0);
}

/* Which of the next pages have their content in memory, be it unmapped; how many were asked for. */
static size_t look(size_t from, unsigned char *resident)
{
	size_t pages = area_pages - from < AT_ONCE ? area_pages - from : AT_ONCE;

	if (syscall(__NR_mincore, area + from * page_size, pages * page_size, resident))
		memset(resident, 0, pages);
	return pages;
}

/*
 * Reclaim may have done no more than to unmap a page: it was on its way to the disk,
 * or another CPU had its hand on it, and it was not even written. It is in the swap
 * cache, where MADV_PAGEOUT does not look; reading maps it again.
 */
static void do_pageout(void)
{
	static unsigned char resident[AT_ONCE];
	size_t from, pages, i;

	for (from = 0; from < area_pages; from += pages) {
		pages = look(from, resident);
		for (i = 0; i < pages; i++)
			if (resident[i] & 1)
				(void)*(volatile char *)(area + (from + i) * page_size);
	}
	i = syscall(__NR_madvise, area, area_pages * page_size, MADV_PAGEOUT);
	reply_errno(i ? errno : 0);
}

static void do_where(void)
{
	static __u64 entries[AT_ONCE];
	static unsigned char resident[AT_ONCE];
	size_t swapped = 0, present = 0, cached = 0, done = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);
	off_t at = (off_t)((size_t)area / page_size * sizeof(entries[0]));

	if (fd < 0 || lseek(fd, at, SEEK_SET) != at) {
		reply_errno(errno);
		return;
	}
	while (done < area_pages) {
		size_t want = look(done, resident);
		ssize_t got = read(fd, entries, want * sizeof(entries[0]));
		ssize_t i;

		if (got <= 0)
			break;
		got /= sizeof(entries[0]);
		for (i = 0; i < got; i++) {
			swapped += !!(entries[i] & PAGEMAP_SWAPPED);
			present += !!(entries[i] & PAGEMAP_PRESENT);
			cached += (entries[i] & PAGEMAP_SWAPPED) && (resident[i] & 1);
		}
		done += got;
	}
	close(fd);
	REPLY("{\"ok\":%s,\"pages\":%lu,\"swapped\":%lu,\"present\":%lu,\"cached\":%lu}\n",
	      done == area_pages ? "true" : "false", (unsigned long)area_pages,
	      (unsigned long)swapped, (unsigned long)present, (unsigned long)cached);
}

static void do_verify(void)
{
	size_t wrong = 0, first = 0, i;

	for (i = 0; i < area_pages; i++) {
		if (page_is_right(i))
			continue;
		if (!wrong++)
			first = i;
	}
	REPLY("{\"ok\":true,\"pages\":%lu,\"wrong\":%lu,\"first_wrong\":%lu}\n",
	      (unsigned long)area_pages, (unsigned long)wrong, (unsigned long)first);
}

static void do_hold(size_t pages, size_t spare)
{
	char *at;

	if (spare >= pages) {
		reply_errno(EINVAL);
		return;
	}
	if (held_areas == HELD_MAX) {
		reply_errno(ENOSPC);
		return;
	}
	at = mmap(NULL, pages * page_size, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED | MAP_POPULATE, -1, 0);
	if (at == MAP_FAILED) {
		reply_errno(errno);
		return;
	}
	pages -= spare;
	if (spare)
		munmap(at + pages * page_size, spare * page_size);
	held[held_areas].at = at;
	held[held_areas++].len = pages * page_size;
	held_pages += pages;
	REPLY("{\"ok\":true,\"held\":%lu}\n", (unsigned long)held_pages);
}

static void do_release(void)
{
	while (held_areas) {
		held_areas--;
		munmap(held[held_areas].at, held[held_areas].len);
	}
	held_pages = 0;
	reply_errno(0);
}

static char *next_word(char **rest)
{
	char *word = *rest;

	while (*word == ' ')
		word++;
	*rest = word;
	while (**rest && **rest != ' ')
		(*rest)++;
	if (**rest)
		*(*rest)++ = '\0';
	return word;
}

/* Returns 0 when it is time to go. */
static int run_line(char *rest)
{
	char *verb = next_word(&rest);
	size_t i;

	if (!strcmp(verb, "map")) {
		do_map(strtoul(next_word(&rest), NULL, 10));
	} else if (!strcmp(verb, "fill")) {
		seed = strtoul(next_word(&rest), NULL, 10);
		random_low = strtoul(next_word(&rest), NULL, 10);
		random_high = strtoul(next_word(&rest), NULL, 10);
		if (random_low > random_high || random_high > page_size) {
			reply_errno(EINVAL);
			return 1;
		}
		for (i = 0; i < area_pages; i++)
			fill_page(i);
		reply_errno(0);
	} else if (!strcmp(verb, "pageout")) {
		do_pageout();
	} else if (!strcmp(verb, "where")) {
		do_where();
	} else if (!strcmp(verb, "verify")) {
		do_verify();
	} else if (!strcmp(verb, "spoil")) {
		i = strtoul(next_word(&rest), NULL, 10);
		if (i >= area_pages) {
			reply_errno(EINVAL);
			return 1;
		}
		area[i * page_size + page_size - 1] ^= 1;
		reply_errno(0);
	} else if (!strcmp(verb, "touch")) {
		for (i = 0; i < area_pages; i++)
			(void)*(volatile char *)(area + i * page_size);
		reply_errno(0);
	} else if (!strcmp(verb, "unmap")) {
		do_unmap();
		reply_errno(0);
	} else if (!strcmp(verb, "hold")) {
		size_t pages = strtoul(next_word(&rest), NULL, 10);

		do_hold(pages, strtoul(next_word(&rest), NULL, 10));
	} else if (!strcmp(verb, "release")) {
		do_release();
	} else if (!strcmp(verb, "exit")) {
		reply_errno(0);
		return 0;
	} else {
		reply_errno(EINVAL);
	}
	return 1;
}

/* One line of text without its newline; the pipe is open for writing too, so it has no end. */
static ssize_t read_line(int fd, char *text, size_t size)
{
	size_t len = 0;

	while (len + 1 < size && read(fd, text + len, 1) == 1) {
		if (text[len] == '\n')
			break;
		len++;
	}
	text[len] = '\0';
	return len;
}

static int write_pid(pid_t pid)
{
	int fd = open(pid_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0)
		return errno;
	dprintf(fd, "%d\n", pid);
	close(fd);
	return 0;
}

static int serve(void)
{
	int in, out, go_on = 1;
	pid_t pid;

	page_size = getpagesize();
	mknod(in_path, S_IFIFO | 0600, 0);
	mknod(out_path, S_IFIFO | 0600, 0);
	in = open(in_path, O_RDWR);
	out = open(out_path, O_RDWR);
	if (in < 0 || out < 0)
		return answer(errno);

	/* What is asked before the child gets to the pipe waits in it. */
	pid = fork();
	if (pid)
		return answer(pid < 0 ? errno : write_pid(pid));

	if (syscall(__NR_mlockall, MCL_CURRENT))
		return errno;
	close(0);
	close(1);
	close(2);

	while (go_on) {
		read_line(in, line, sizeof(line));
		go_on = run_line(line);
		write(out, reply, reply_len);
	}
	return 0;
}

/* Whether the server is still there and not a zombie. */
static int server_lives(void)
{
	static char stat[256];
	char path[64];
	char *state;
	int fd = open(pid_path, O_RDONLY);

	if (fd < 0)
		return 0;
	read_line(fd, stat, sizeof(stat));
	close(fd);
	snprintf(path, sizeof(path), "/proc/%s/stat", stat);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return 0;
	read_line(fd, stat, sizeof(stat));
	close(fd);
	state = strrchr(stat, ')');
	return state && state[2] != 'Z' && state[2] != 'X';
}

static int ask(int argc, char **argv)
{
	struct pollfd pfd = { .events = POLLIN };
	int in, len;

	len = join(line, sizeof(line) - 1, argc, argv);
	if (len < 0)
		return answer(E2BIG);
	line[len++] = '\n';

	in = open(in_path, O_WRONLY | O_NONBLOCK);
	pfd.fd = open(out_path, O_RDWR);
	if (in < 0 || pfd.fd < 0)
		return answer(ESRCH);
	if (write(in, line, len) != len)
		return answer(errno);

	while (poll(&pfd, 1, 100) == 0)
		if (!server_lives())
			return answer(ESRCH);

	len = read_line(pfd.fd, reply, sizeof(reply) - 1);
	reply[len++] = '\n';
	write(1, reply, len);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 3 || strlen(argv[2]) > 32)
		return answer(EINVAL);

	snprintf(in_path, sizeof(in_path), "/run/%s.in", argv[2]);
	snprintf(out_path, sizeof(out_path), "/run/%s.out", argv[2]);
	snprintf(pid_path, sizeof(pid_path), "/run/%s.pid", argv[2]);

	if (!strcmp(argv[1], "serve"))
		return serve();
	if (!strcmp(argv[1], "ask"))
		return ask(argc - 3, argv + 3);
	return answer(EINVAL);
}
