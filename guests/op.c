// SPDX-License-Identifier: GPL-2.0-only
/*
 * op FILE WORD...
 *
 * Has a module run one operation: writes the words to its operations file and
 * prints what it answers.
 */

#include "guest.h"

static char line[1024];
static char text[32 * 1024];

int main(int argc, char **argv)
{
	ssize_t len;
	int fd;

	if (argc < 3)
		return answer(EINVAL);

	len = join(line, sizeof(line), argc - 2, argv + 2);
	if (len < 0)
		return answer(E2BIG);

	fd = open(argv[1], O_RDWR);
	if (fd < 0)
		return answer(errno);
	if (write(fd, line, len) != len)
		return answer(errno);

	while ((len = read(fd, text, sizeof(text))) > 0)
		write(1, text, len);

	return len < 0 ? answer(errno) : 0;
}
