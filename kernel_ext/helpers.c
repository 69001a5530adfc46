// SPDX-License-Identifier: GPL-2.0 OR MIT

#include <linux/compat.h>
#include <linux/completion.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/nsproxy.h>
#include <linux/pid.h>
#include <linux/sched.h>
#include <linux/sched/clock.h>
#include <linux/sched/signal.h>
#include <linux/time_namespace.h>
#include <linux/uaccess.h>

#ifdef CONFIG_ARM_ARCH_TIMER
#include <asm/arch_timer.h>
#endif

#include "helpers.h"

int kx_mutex_lock_interruptible(struct mutex *lock)
{
	return mutex_lock_interruptible(lock);
}

int kx_mutex_trylock(struct mutex *lock)
{
	return mutex_trylock(lock);
}

void kx_init_completion(struct completion *x)
{
	init_completion(x);
}

void kx_reinit_completion(struct completion *x)
{
	reinit_completion(x);
}

struct pid *kx_get_pid(struct pid *pid)
{
	return get_pid(pid);
}

bool kx_pid_has_task(struct pid *pid, enum pid_type type)
{
	return pid_has_task(pid, type);
}

struct pid *kx_task_tgid_current(void)
{
	return task_tgid(current);
}

pid_t kx_pid_nr(struct pid *pid)
{
	return pid_nr(pid);
}

void kx_cond_resched(void)
{
	cond_resched();
}

bool kx_fatal_signal_pending(void)
{
	return fatal_signal_pending(current);
}

bool kx_in_compat_syscall(void)
{
	return in_compat_syscall();
}

void kx_current_group_comm(char *buf)
{
	get_task_comm(*(char (*)[TASK_COMM_LEN])buf, current->group_leader);
}

pid_t kx_current_tgid(void)
{
	return task_tgid_nr(current);
}

u64 kx_current_task_size(void)
{
	return TASK_SIZE_OF(current);
}

u64 kx_local_clock(void)
{
	return local_clock();
}

void kx_timens_add_monotonic(struct timespec64 *ts)
{
	/* A task that exits has no namespaces any more when its files are closed. */
	if (current->nsproxy)
		timens_add_monotonic(ts);
}

u32 kx_arch_timer_freq(void)
{
#ifdef CONFIG_ARM_ARCH_TIMER
	return arch_timer_get_cntfrq();
#else
	return 0;
#endif
}

unsigned long kx_clear_user(void __user *to, unsigned long n)
{
	return clear_user(to, n);
}

void kx_vm_flags_mod(struct vm_area_struct *vma, vm_flags_t set, vm_flags_t clear)
{
	vm_flags_mod(vma, set, clear);
}

void kx_vma_set_pgoff(struct vm_area_struct *vma, pgoff_t pgoff)
{
	vma->vm_pgoff = pgoff;
}

void kx_vma_set_noncached(struct vm_area_struct *vma)
{
	vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
}

vm_fault_t kx_vmf_insert_page_of(struct vm_area_struct *vma, unsigned long addr, phys_addr_t page)
{
	return vmf_insert_pfn(vma, addr & PAGE_MASK, PHYS_PFN(page));
}

void kx_sysfs_attr_init(struct attribute *attr)
{
	sysfs_attr_init(attr);
}

void kx_attribute_group_set_attrs(struct attribute_group *group, struct attribute **attrs)
{
	group->attrs = attrs;
}
