// SPDX-License-Identifier: GPL-2.0-only
/*
 * modctl load FILE [PARAM=VALUE...] | modctl unload NAME
 *
 * insmod and rmmod, but with the error as a number. What was loaded is told with
 * the build-id that the kernel has of it: {"ok":true,"build_id":"0123..."}
 */

#include "guest.h"

static char params[4096];

/* The module's name by its file's: FOLDER/some-name.ko is some_name. */
static void name_of(const char *file, char *name, size_t size)
{
	const char *base = strrchr(file, '/');
	size_t len = 0;

	for (base = base ? base + 1 : file; *base && *base != '.' && len + 1 < size; base++)
		name[len++] = *base == '-' ? '_' : *base;
	name[len] = '\0';
}

/* An ELF note: the sizes of its name and of what it says, its type, the name, what it says. */
static int answer_loaded(const char *file)
{
	char name[64], path[128];
	__u32 note[64];
	unsigned char *id = (unsigned char *)note;
	ssize_t got = -1;
	size_t i, from;
	int fd;

	name_of(file, name, sizeof(name));
	snprintf(path, sizeof(path), "/sys/module/%s/notes/.note.gnu.build-id", name);
	fd = open(path, O_RDONLY);
	if (fd >= 0)
		got = read(fd, note, sizeof(note));
	if (got < 12)
		return answer(0);

	from = 12 + (note[0] + 3) / 4 * 4;
	printf("{\"ok\":true,\"build_id\":\"");
	for (i = from; i < from + note[1] && i < (size_t)got; i++)
		printf("%x%x", id[i] >> 4, id[i] & 15);
	printf("\"}\n");
	return 0;
}

int main(int argc, char **argv)
{
	int fd;

	if (argc >= 3 && !strcmp(argv[1], "load")) {
		if (join(params, sizeof(params), argc - 3, argv + 3) < 0)
			return answer(E2BIG);
		fd = open(argv[2], O_RDONLY);
		if (fd < 0)
			return answer(errno);
		if (syscall(__NR_finit_module, fd, params, 0))
			return answer(errno);
		return answer_loaded(argv[2]);
	}

	if (argc == 3 && !strcmp(argv[1], "unload"))
		return answer(syscall(__NR_delete_module, argv[2], O_NONBLOCK) ? errno : 0);

	return answer(EINVAL);
}
