/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the guest's small programs share. They are built with the kernel's
 * nolibc, need no C library, and answer with one JSON object on a line.
 */
#ifndef GUEST_H
#define GUEST_H

#include <linux/types.h>

/* Answers {"ok":true} or {"ok":false,"errno":N}, and gives the exit status. */
static inline int answer(int err)
{
	if (!err) {
		printf("{\"ok\":true}\n");
		return 0;
	}

	printf("{\"ok\":false,\"errno\":%d}\n", err);
	return 1;
}

/* Joins words with blanks into line; returns the length, or -1 when it does not fit. */
static inline int join(char *line, size_t size, int argc, char **argv)
{
	size_t len = 0;
	int i;

	for (i = 0; i < argc; i++) {
		size_t word = strlen(argv[i]);

		if (len + word + 2 > size)
			return -1;
		if (i)
			line[len++] = ' ';
		memcpy(line + len, argv[i], word);
		len += word;
	}
	line[len] = '\0';

	return (int)len;
}

/* Takes the first word off *rest, which may have none left: then it is empty. */
static inline char *next_word(char **rest)
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

/* The same, as a number; 0 for none. */
static inline size_t next_number(char **rest)
{
	return strtoul(next_word(rest), NULL, 10);
}

#endif /* GUEST_H */
