// SPDX-License-Identifier: GPL-2.0-only
/*
 * The operations file of a module, debugfs/<module>/op: a write runs one
 * operation, a read of the same open file gives its answer, one JSON object.
 *
 * Included by each module's shim, so that it is part of that module.
 */

#include <linux/debugfs.h>
#include <linux/errname.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/seq_buf.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "ops.h"

#define OPS_LINE_MAX 1024
#define OPS_ANSWER_MAX (32 * 1024)

struct ops_file {
	struct mutex lock;
	struct seq_buf answer;
	char line[OPS_LINE_MAX];
	char text[OPS_ANSWER_MAX];
};

static struct dentry *ops_dir;
static ops_run_t ops_run;
static void *ops_data;

static int ops_open(struct inode *inode, struct file *file)
{
	struct ops_file *of = kvzalloc(sizeof(*of), GFP_KERNEL);

	if (!of)
		return -ENOMEM;

	mutex_init(&of->lock);
	seq_buf_init(&of->answer, of->text, sizeof(of->text));
	file->private_data = of;

	return 0;
}

static int ops_release(struct inode *inode, struct file *file)
{
	kvfree(file->private_data);
	return 0;
}

/* The file position belongs to the answer, so that a write does not move it. */
static ssize_t ops_write(struct file *file, const char __user *buf, size_t len,
			 loff_t *ppos)
{
	struct ops_file *of = file->private_data;
	size_t line_len = len;

	if (len >= OPS_LINE_MAX)
		return -E2BIG;

	guard(mutex)(&of->lock);

	if (copy_from_user(of->line, buf, len))
		return -EFAULT;
	if (line_len && of->line[line_len - 1] == '\n')
		line_len--;

	seq_buf_clear(&of->answer);
	ops_run(ops_data, of->line, line_len, &of->answer);
	*ppos = 0;

	return seq_buf_has_overflowed(&of->answer) ? -EOVERFLOW : len;
}

static ssize_t ops_read(struct file *file, char __user *buf, size_t len,
			loff_t *ppos)
{
	struct ops_file *of = file->private_data;

	guard(mutex)(&of->lock);

	return simple_read_from_buffer(buf, len, ppos, of->text,
				       seq_buf_used(&of->answer));
}

static const struct file_operations ops_fops = {
	.owner		= THIS_MODULE,
	.open		= ops_open,
	.release	= ops_release,
	.write		= ops_write,
	.read		= ops_read,
};

int ops_register(ops_run_t run, void *data)
{
	struct dentry *dir = debugfs_create_dir(KBUILD_MODNAME, NULL);

	if (IS_ERR(dir))
		return PTR_ERR(dir);

	ops_dir = dir;
	ops_run = run;
	ops_data = data;
	debugfs_create_file("op", 0600, dir, NULL, &ops_fops);

	return 0;
}

/* Nobody runs an operation any more when this returns. */
void ops_unregister(void)
{
	debugfs_remove(ops_dir);
}

/* seq_buf_putmem() would be it, but is not exported. No byte is a NUL. */
void ops_put_bytes(struct seq_buf *out, const char *bytes, size_t len)
{
	seq_buf_printf(out, "%.*s", (int)len, bytes);
}

/* Rust's own formatting divides 64-bit numbers, which 32-bit kernels cannot. */
void ops_put_u64(struct seq_buf *out, u64 value)
{
	seq_buf_printf(out, "%llu", value);
}

void ops_put_i64(struct seq_buf *out, s64 value)
{
	seq_buf_printf(out, "%lld", value);
}

/* @err is negative; the name comes without a sign. */
void ops_put_errname(struct seq_buf *out, int err)
{
	const char *name = errname(-err);

	if (name)
		seq_buf_puts(out, name);
	else
		seq_buf_printf(out, "%d", err);
}
