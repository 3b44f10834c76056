// SPDX-License-Identifier: GPL-2.0-only
/*
 * replay ROUNDS STEP...
 *
 * Runs the steps one after the other, all of them ROUNDS times, without a
 * process for each, and prints an answer for every step. Each step is one
 * argument:
 *
 *	load FILE		insert a module
 *	unload NAME		remove it, unless somebody uses it
 *	op FILE WORD...		have a module run one operation
 */

#include "guest.h"

static char text[32 * 1024];

static int load(char *file)
{
	int fd = open(file, O_RDONLY), err;

	if (fd < 0)
		return answer(errno);
	err = syscall(__NR_finit_module, fd, "", 0) ? errno : 0;
	close(fd);

	return answer(err);
}

static int unload(char *name)
{
	return answer(syscall(__NR_delete_module, name, O_NONBLOCK) ? errno : 0);
}

static int op(char *file)
{
	char *words = strchr(file, ' ');
	ssize_t len;
	int fd;

	if (!words)
		return answer(EINVAL);

	*words = '\0';
	fd = open(file, O_RDWR);
	*words++ = ' ';
	if (fd < 0)
		return answer(errno);

	len = strlen(words);
	if (write(fd, words, len) != len)
		len = -1;
	else
		len = read(fd, text, sizeof(text));
	if (len < 0)
		answer(errno);
	else
		write(1, text, len);
	close(fd);

	return len < 0;
}

static int step(char *words)
{
	if (!strncmp(words, "load ", 5))
		return load(words + 5);
	if (!strncmp(words, "unload ", 7))
		return unload(words + 7);
	if (!strncmp(words, "op ", 3))
		return op(words + 3);

	return answer(EINVAL);
}

int main(int argc, char **argv)
{
	int rounds, i, failed = 0;

	if (argc < 3)
		return answer(EINVAL);

	for (rounds = atoi(argv[1]); rounds > 0; rounds--)
		for (i = 2; i < argc; i++)
			failed |= step(argv[i]);

	return failed;
}
