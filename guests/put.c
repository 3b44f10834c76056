// SPDX-License-Identifier: GPL-2.0-only
/*
 * put FILE WORD...
 *
 * Writes the words to a file of the kernel's in one system call and says what
 * the kernel made of it; the shell's echo hides the number of an error.
 */

#include "guest.h"

static char line[4096];

int main(int argc, char **argv)
{
	int fd, len;

	if (argc < 3)
		return answer(EINVAL);

	len = join(line, sizeof(line), argc - 2, argv + 2);
	if (len < 0)
		return answer(E2BIG);

	fd = open(argv[1], O_WRONLY);
	if (fd < 0)
		return answer(errno);

	return answer(write(fd, line, len) == len ? 0 : errno);
}
