/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * C helpers, in the order in which they are defined. What does nothing but call a static inline
 * function or a macro is called kx_<its name>, what does more has a name of its own after kx_;
 * constants are KX_<name>. bindgen takes all of them.
 */

#ifndef __KERNEL_EXT_HELPERS_H__
#define __KERNEL_EXT_HELPERS_H__

#include <linux/completion.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/pid_types.h>
#include <linux/sysfs.h>
#include <linux/time64.h>

/* helpers.c: locks and completions */
int kx_mutex_lock_interruptible(struct mutex *lock);
int kx_mutex_trylock(struct mutex *lock);
void kx_init_completion(struct completion *x);
void kx_reinit_completion(struct completion *x);

/* Processes and the current task */
struct pid *kx_get_pid(struct pid *pid);
bool kx_pid_has_task(struct pid *pid, enum pid_type type);
struct pid *kx_task_tgid_current(void);
pid_t kx_pid_nr(struct pid *pid);
void kx_cond_resched(void);
bool kx_fatal_signal_pending(void);
bool kx_in_compat_syscall(void);
void kx_current_group_comm(char *buf);
pid_t kx_current_tgid(void);
u64 kx_current_task_size(void);

/* Clocks */
u64 kx_local_clock(void);
void kx_timens_add_monotonic(struct timespec64 *ts);
u32 kx_arch_timer_freq(void);

/* User memory, and mappings of registers */
unsigned long kx_clear_user(void __user *to, unsigned long n);

static const vm_flags_t KX_VM_IO_FLAGS __maybe_unused = VM_IO | VM_PFNMAP | VM_DONTCOPY |
							VM_DONTEXPAND | VM_NORESERVE | VM_DONTDUMP;
static const unsigned int KX_VM_FAULT_SIGBUS __maybe_unused = (unsigned int)VM_FAULT_SIGBUS;

void kx_vm_flags_mod(struct vm_area_struct *vma, vm_flags_t set, vm_flags_t clear);
void kx_vma_set_pgoff(struct vm_area_struct *vma, pgoff_t pgoff);
void kx_vma_set_noncached(struct vm_area_struct *vma);
vm_fault_t kx_vmf_insert_page_of(struct vm_area_struct *vma, unsigned long addr, phys_addr_t page);

/* sysfs */
void kx_sysfs_attr_init(struct attribute *attr);
void kx_attribute_group_set_attrs(struct attribute_group *group, struct attribute **attrs);

/* panthor_trace.c */

/**
 * struct kx_mem_amounts - what was done about the GPU memory of a process
 * @buffers_done: buffers that are now as was asked
 * @buffers_skipped: buffers that had to be left as they were
 * @bytes_done: bytes in the former
 * @bytes_skipped: bytes in the latter
 */
struct kx_mem_amounts {
	u64 buffers_done;
	u64 buffers_skipped;
	u64 bytes_done;
	u64 bytes_skipped;
};

void kx_trace_mem_reclaim(pid_t tgid, const struct kx_mem_amounts *amounts, s64 duration_ns,
			  int result);
void kx_trace_mem_claim(pid_t tgid, const struct kx_mem_amounts *amounts, s64 duration_ns,
			int result);

#endif /* __KERNEL_EXT_HELPERS_H__ */
