/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Content of pages that can be recomputed: the first low to high bytes of each are
 * random, as the seed and the page's number have it, and the rest is zero.
 */
#ifndef CONTENT_H
#define CONTENT_H

#include <linux/types.h>

struct content {
	__u64 seed;
	size_t low, high;
};

/* splitmix64: every seed gives a stream of its own. */
static inline __u64 mix(__u64 *state)
{
	__u64 z = (*state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* The number of random words of page index; *state is left at the first of them. */
static inline size_t content_stream(const struct content *content, size_t index, __u64 *state)
{
	__u64 range = content->high - content->low + 1;

	*state = content->seed + index * 0xd1342543de82ef95ULL;
	return (content->low + (size_t)(((mix(state) >> 32) * range) >> 32)) / sizeof(__u64);
}

static inline void content_write(const struct content *content, size_t index, void *page, size_t size)
{
	__u64 *word = page, *end = page + size, state;
	size_t left = content_stream(content, index, &state);

	while (left--)
		*word++ = mix(&state);
	while (word < end)
		*word++ = 0;
}

static inline int content_is(const struct content *content, size_t index, const void *page, size_t size)
{
	const __u64 *word = page, *end = page + size;
	__u64 state;
	size_t left = content_stream(content, index, &state);

	while (left--)
		if (*word++ != mix(&state))
			return 0;
	while (word < end)
		if (*word++)
			return 0;
	return 1;
}

#endif /* CONTENT_H */
