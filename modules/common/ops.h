/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HARNESS_OPS_H
#define HARNESS_OPS_H

#include <linux/types.h>

struct seq_buf;

/*
 * Runs one operation: @line is one line of text without its newline, @out takes
 * one JSON object. Called from a system call, without locks, and possibly by
 * several tasks at once.
 */
typedef void (*ops_run_t)(void *data, const char *line, size_t len,
			  struct seq_buf *out);

int ops_register(ops_run_t run, void *data);
void ops_unregister(void);

void ops_put_bytes(struct seq_buf *out, const char *bytes, size_t len);
void ops_put_u64(struct seq_buf *out, u64 value);
void ops_put_i64(struct seq_buf *out, s64 value);
void ops_put_errname(struct seq_buf *out, int err);

#endif /* HARNESS_OPS_H */
