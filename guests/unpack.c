// SPDX-License-Identifier: GPL-2.0-only
/*
 * unpack DEVICE [FOLDER]
 *
 * Writes the files of a ustar archive below FOLDER (/), and stops at the archive's
 * end; a tar of many purposes would read the device to its end, and takes another
 * process to be told where that is.
 */

#include "guest.h"

#define BLOCK	512

struct header {
	char name[100];
	char mode[8];
	char uid[8];
	char gid[8];
	char size[12];
	char mtime[12];
	char checksum[8];
	char type;
	char link[100];
	char magic[6];
	char version[2];
	char user[32];
	char group[32];
	char major[8];
	char minor[8];
	char prefix[155];
	char padding[12];
};

/* A multiple of BLOCK: headers begin at multiples of it, in the archive and so here. */
static char buf[64 * 1024];
static size_t at, have;
static int device;

/* Has at least one byte at hand; 0, or an error number. */
static int more(void)
{
	ssize_t got;

	if (at < have)
		return 0;
	got = read(device, buf, sizeof(buf));
	if (got < 0)
		return errno;
	at = 0;
	have = got;
	return have && have % BLOCK == 0 ? 0 : EIO;
}

static size_t octal(const char *digits, size_t len)
{
	size_t value = 0;

	while (len-- && *digits >= '0' && *digits <= '7')
		value = value * 8 + (*digits++ - '0');
	return value;
}

/* Copies what follows to a file, and skips what fills its last block. */
static int copy(const char *name, int mode, size_t size)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, mode);
	int err = fd < 0 ? errno : 0;

	while (!err && size) {
		ssize_t put;
		size_t len;

		err = more();
		if (err)
			break;
		len = size < have - at ? size : have - at;
		put = write(fd, buf + at, len);
		if (put != (ssize_t)len)
			err = put < 0 ? errno : ENOSPC;
		size -= len;
		at += (len + BLOCK - 1) / BLOCK * BLOCK;
	}
	if (fd >= 0)
		close(fd);
	return err;
}

/* One member; the archive's end sets *done. */
static int member(int *done)
{
	struct header head;
	int mode, err = more();

	if (err)
		return err;
	memcpy(&head, buf + at, sizeof(head));
	at += BLOCK;
	*done = !head.name[0];
	if (*done)
		return 0;
	if (memcmp(head.magic, "ustar", sizeof(head.magic)))
		return EINVAL;
	/* A longer name would be in two parts, or end without a zero. */
	if (head.prefix[0] || head.name[sizeof(head.name) - 1])
		return ENAMETOOLONG;

	mode = (int)octal(head.mode, sizeof(head.mode));
	if (head.type == '5')
		return mkdir(head.name, mode) && errno != EEXIST ? errno : 0;
	if (head.type != '0')
		return EINVAL;
	return copy(head.name, mode, octal(head.size, sizeof(head.size)));
}

int main(int argc, char **argv)
{
	int done = 0, err = 0;

	if (argc < 2 || argc > 3)
		return answer(EINVAL);
	device = open(argv[1], O_RDONLY);
	if (device < 0 || chdir(argc == 3 ? argv[2] : "/"))
		return answer(errno);
	while (!err && !done)
		err = member(&done);
	return answer(err);
}
