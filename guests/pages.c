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

#include "content.h"
#include "guest.h"

#define HELD_MAX	256
#define AT_ONCE		512
#define PAGEMAP_PRESENT	(1ULL << 63)
#define PAGEMAP_SWAPPED	(1ULL << 62)

static size_t page_size;
static char *area;
static size_t area_pages;
static struct content content;

static struct { void *at; size_t len; } held[HELD_MAX];
static size_t held_areas, held_pages;
/* What mincore says of AT_ONCE pages. */
static unsigned char resident[AT_ONCE];
static int go_on = 1;

static char in_path[64], out_path[64], pid_path[64];
static char line[256];
static char reply[512];
static int reply_len;

static char *page(size_t index)
{
	return area + index * page_size;
}

/* A verb returns an error number, and 0 also after a reply of its own. */
#define REPLY(...) (reply_len = snprintf(reply, sizeof(reply), __VA_ARGS__))

static int do_unmap(char *rest)
{
	if (area)
		munmap(area, area_pages * page_size);
	area = NULL;
	area_pages = 0;
	return 0;
}

static int do_map(char *rest)
{
	size_t pages = next_number(&rest);
	void *at;

	do_unmap(rest);
	at = mmap(NULL, pages * page_size, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return errno;
	/* Fails, rightly, where the kernel has no huge pages to begin with. */
	syscall(__NR_madvise, at, pages * page_size, MADV_NOHUGEPAGE);
	area = at;
	area_pages = pages;
	return 0;
}

static int do_fill(char *rest)
{
	size_t i;

	content.seed = next_number(&rest);
	content.low = next_number(&rest);
	content.high = next_number(&rest);
	if (content.low > content.high || content.high > page_size)
		return EINVAL;
	for (i = 0; i < area_pages; i++)
		content_write(&content, i, page(i), page_size);
	return 0;
}

static void read_page(size_t index)
{
	(void)*(volatile char *)page(index);
}

/* Which of the next pages have their content in memory, even if unmapped: how many it looked at, or -1. */
static ssize_t look(size_t from)
{
	size_t pages = area_pages - from < AT_ONCE ? area_pages - from : AT_ONCE;

	if (syscall(__NR_mincore, page(from), pages * page_size, resident))
		return -1;
	return pages;
}

/*
 * Reclaim may have done no more than to unmap a page: it was on its way to the disk,
 * or another CPU had its hand on it, and it was not even written. It is in the swap
 * cache, where MADV_PAGEOUT does not look; reading maps it again.
 */
static int do_pageout(char *rest)
{
	size_t from;
	ssize_t pages, i;

	for (from = 0; from < area_pages; from += pages) {
		pages = look(from);
		if (pages < 0)
			return errno;
		for (i = 0; i < pages; i++)
			if (resident[i] & 1)
				read_page(from + i);
	}
	return syscall(__NR_madvise, area, area_pages * page_size, MADV_PAGEOUT) ? errno : 0;
}

static int do_where(char *rest)
{
	static __u64 entries[AT_ONCE];
	size_t swapped = 0, present = 0, cached = 0, done = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);
	off_t at = (off_t)((size_t)area / page_size * sizeof(entries[0]));

	if (fd < 0 || lseek(fd, at, SEEK_SET) != at)
		return errno;
	while (done < area_pages) {
		ssize_t want = look(done), got = -1, i;

		if (want > 0)
			got = read(fd, entries, want * sizeof(entries[0]));
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
	return 0;
}

static int do_verify(char *rest)
{
	size_t wrong = 0, first = 0, i;

	for (i = 0; i < area_pages; i++) {
		if (content_is(&content, i, page(i), page_size))
			continue;
		if (!wrong++)
			first = i;
	}
	REPLY("{\"ok\":true,\"pages\":%lu,\"wrong\":%lu,\"first_wrong\":%lu}\n",
	      (unsigned long)area_pages, (unsigned long)wrong, (unsigned long)first);
	return 0;
}

static int do_spoil(char *rest)
{
	size_t index = next_number(&rest);

	if (index >= area_pages)
		return EINVAL;
	page(index)[page_size - 1] ^= 1;
	return 0;
}

static int do_touch(char *rest)
{
	size_t i;

	for (i = 0; i < area_pages; i++)
		read_page(i);
	return 0;
}

static int do_hold(char *rest)
{
	size_t pages = next_number(&rest), spare = next_number(&rest);
	char *at;

	if (spare >= pages)
		return EINVAL;
	if (held_areas == HELD_MAX)
		return ENOSPC;
	at = mmap(NULL, pages * page_size, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED | MAP_POPULATE, -1, 0);
	if (at == MAP_FAILED)
		return errno;
	pages -= spare;
	if (spare)
		munmap(at + pages * page_size, spare * page_size);
	held[held_areas].at = at;
	held[held_areas++].len = pages * page_size;
	held_pages += pages;
	REPLY("{\"ok\":true,\"held\":%lu}\n", (unsigned long)held_pages);
	return 0;
}

static int do_release(char *rest)
{
	while (held_areas) {
		held_areas--;
		munmap(held[held_areas].at, held[held_areas].len);
	}
	held_pages = 0;
	return 0;
}

static int do_exit(char *rest)
{
	go_on = 0;
	return 0;
}

static const struct {
	const char *name;
	int (*run)(char *rest);
} verbs[] = {
	{ "map", do_map },
	{ "fill", do_fill },
	{ "pageout", do_pageout },
	{ "where", do_where },
	{ "verify", do_verify },
	{ "spoil", do_spoil },
	{ "touch", do_touch },
	{ "unmap", do_unmap },
	{ "hold", do_hold },
	{ "release", do_release },
	{ "exit", do_exit },
};

static void run_line(char *rest)
{
	char *verb = next_word(&rest);
	int err = EINVAL;
	size_t i;

	reply_len = 0;
	for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (!strcmp(verb, verbs[i].name))
			err = verbs[i].run(rest);
	if (err)
		REPLY("{\"ok\":false,\"errno\":%d}\n", err);
	else if (!reply_len)
		REPLY("{\"ok\":true}\n");
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
	int in, out;
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
		run_line(line);
		write(out, reply, reply_len);
	}
	return 0;
}

/*
 * A descriptor that can be read from once the server is dead, or -1 when it is
 * gone already.
 *
 * /proc/PID/stat would tell, too, but holds the memory of the process while it
 * is read. Who holds it last has to take it down; of a process that was killed
 * by an oops within a page fault it then waits for the lock that the process
 * took for the fault, for ever.
 */
static int open_server(void)
{
	char pid[16];
	int fd = open(pid_path, O_RDONLY);

	if (fd < 0)
		return -1;
	read_line(fd, pid, sizeof(pid));
	close(fd);
	return syscall(__NR_pidfd_open, atoi(pid), 0);
}

static int ask(int argc, char **argv)
{
	struct pollfd fds[2] = { { .events = POLLIN }, { .events = POLLIN } };
	int in, len;

	len = join(line, sizeof(line) - 1, argc, argv);
	if (len < 0)
		return answer(E2BIG);
	line[len++] = '\n';

	in = open(in_path, O_WRONLY | O_NONBLOCK);
	fds[0].fd = open(out_path, O_RDWR);
	fds[1].fd = open_server();
	if (in < 0 || fds[0].fd < 0 || fds[1].fd < 0)
		return answer(ESRCH);
	if (write(in, line, len) != len)
		return answer(errno);

	/* A task that oopses while it exits wakes nobody (make_task_dead()). */
	while (poll(fds, 2, 100) == 0)
		;
	if (!(fds[0].revents & POLLIN))
		return answer(ESRCH);

	len = read_line(fds[0].fd, reply, sizeof(reply) - 1);
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
