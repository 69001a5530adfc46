/* SPDX-License-Identifier: GPL-2.0 OR MIT */

#undef TRACE_SYSTEM
#define TRACE_SYSTEM panthor

#if !defined(__PANTHOR_TRACE_H__) || defined(TRACE_HEADER_MULTI_READ)
#define __PANTHOR_TRACE_H__

#include <linux/tracepoint.h>
#include <linux/types.h>

#include "kernel_ext/helpers.h"

/**
 * mem_event - a call for the GPU memory of a process has ended
 * @tgid: the process, in the initial PID namespace
 * @amounts: what was done and what was left, bytes in pages of the CPU
 * @duration_ns: how long it took, in nanoseconds
 * @result: 0 or a negative errno
 */
DECLARE_EVENT_CLASS(mem_event,
	TP_PROTO(pid_t tgid, const struct kx_mem_amounts *amounts, s64 duration_ns, int result),
	TP_ARGS(tgid, amounts, duration_ns, result),
	TP_STRUCT__entry(
		__field(pid_t, tgid)
		__field(u64, buffers_done)
		__field(u64, buffers_skipped)
		__field(u64, bytes_done)
		__field(u64, bytes_skipped)
		__field(s64, duration_ns)
		__field(int, result)
	),
	TP_fast_assign(
		__entry->tgid		= tgid;
		__entry->buffers_done	= amounts->buffers_done;
		__entry->buffers_skipped = amounts->buffers_skipped;
		__entry->bytes_done	= amounts->bytes_done;
		__entry->bytes_skipped	= amounts->bytes_skipped;
		__entry->duration_ns	= duration_ns;
		__entry->result		= result;
	),
	TP_printk("tgid=%d buffers_done=%llu buffers_skipped=%llu bytes_done=%llu bytes_skipped=%llu duration_ns=%lld result=%d",
		  __entry->tgid, __entry->buffers_done, __entry->buffers_skipped,
		  __entry->bytes_done, __entry->bytes_skipped, __entry->duration_ns,
		  __entry->result
	)
);

/* A write to the attribute mem_reclaim. */
DEFINE_EVENT(mem_event, mem_reclaim,
	TP_PROTO(pid_t tgid, const struct kx_mem_amounts *amounts, s64 duration_ns, int result),
	TP_ARGS(tgid, amounts, duration_ns, result)
);

/* A write to the attribute mem_claim. */
DEFINE_EVENT(mem_event, mem_claim,
	TP_PROTO(pid_t tgid, const struct kx_mem_amounts *amounts, s64 duration_ns, int result),
	TP_ARGS(tgid, amounts, duration_ns, result)
);

#endif /* __PANTHOR_TRACE_H__ */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE panthor_trace

#include <trace/define_trace.h>
