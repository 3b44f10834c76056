// SPDX-License-Identifier: GPL-2.0-only
/*
 * modctl load FILE [PARAM=VALUE...] | modctl unload NAME
 *
 * insmod and rmmod, but with the error as a number.
 */

#include "guest.h"

static char params[4096];

int main(int argc, char **argv)
{
	int fd;

	if (argc >= 3 && !strcmp(argv[1], "load")) {
		if (join(params, sizeof(params), argc - 3, argv + 3) < 0)
			return answer(E2BIG);
		fd = open(argv[2], O_RDONLY);
		if (fd < 0)
			return answer(errno);
		return answer(syscall(__NR_finit_module, fd, params, 0) ? errno : 0);
	}

	if (argc == 3 && !strcmp(argv[1], "unload"))
		return answer(syscall(__NR_delete_module, argv[2], O_NONBLOCK) ? errno : 0);

	return answer(EINVAL);
}
