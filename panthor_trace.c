// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Tracepoints, and functions for Rust to reach them.
 */

#define CREATE_TRACE_POINTS
#include "panthor_trace.h"

void kx_trace_mem_reclaim(pid_t tgid, const struct kx_mem_amounts *amounts, s64 duration_ns,
			  int result)
{
	trace_mem_reclaim(tgid, amounts, duration_ns, result);
}

void kx_trace_mem_claim(pid_t tgid, const struct kx_mem_amounts *amounts, s64 duration_ns,
			int result)
{
	trace_mem_claim(tgid, amounts, duration_ns, result);
}
