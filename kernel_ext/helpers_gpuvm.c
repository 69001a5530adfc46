// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Helpers for GPU VMs, and for CPU mappings of a process.
 */

#include <linux/dma-resv.h>
#include <linux/llist.h>
#include <linux/mm.h>
#include <linux/pid.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <drm/drm_device.h>
#include <drm/drm_gem.h>
#include <drm/drm_gpuvm.h>

#include "helpers_mem.h"

bool kx_drm_gpuvm_get_unless_zero(struct drm_gpuvm *vm)
{
	return kref_get_unless_zero(&vm->kref);
}

/* Userspace can have as many as it likes. */
struct drm_gpuvm_bo *kx_drm_gpuvm_bo_alloc(void)
{
	return kzalloc(sizeof(struct drm_gpuvm_bo), GFP_KERNEL_ACCOUNT);
}

/*
 * What drm_gpuvm_bo_put_deferred() and drm_gpuva_unlink_defer() left, as a chain, out of all
 * lists of the address space. NULL where there is nothing, or the task is being killed.
 */
struct drm_gpuvm_bo *kx_drm_gpuvm_take_deferred(struct drm_gpuvm *vm)
{
	struct drm_gpuvm_bo *vm_bo;
	struct llist_node *first;

	if (llist_empty(&vm->bo_defer) || kx_dma_resv_lock_killable(vm->r_obj->resv))
		return NULL;
	first = llist_del_all(&vm->bo_defer);
	llist_for_each_entry(vm_bo, first, list.entry.bo_defer) {
		list_del_init(&vm_bo->list.entry.extobj);
		list_del_init(&vm_bo->list.entry.evict);
	}
	dma_resv_unlock(vm->r_obj->resv);
	return first ? llist_entry(first, struct drm_gpuvm_bo, list.entry.bo_defer) : NULL;
}

/* The next one of such a chain. */
struct drm_gpuvm_bo *kx_drm_gpuvm_next_deferred(struct drm_gpuvm_bo *vm_bo)
{
	struct llist_node *next = vm_bo->list.entry.bo_defer.next;

	return next ? llist_entry(next, struct drm_gpuvm_bo, list.entry.bo_defer) : NULL;
}

/* Leaves one of a chain for whoever comes next. */
void kx_drm_gpuvm_defer_again(struct drm_gpuvm_bo *vm_bo)
{
	llist_add(&vm_bo->list.entry.bo_defer, &vm_bo->vm->bo_defer);
}

bool kx_drm_gpuvm_bo_get_unless_zero(struct drm_gpuvm_bo *vm_bo)
{
	return kref_get_unless_zero(&vm_bo->kref);
}

/* The memory of a process that has any left, with a reference, whichever of its threads has it. */
static struct mm_struct *kx_get_mm(struct pid *tgid)
{
	struct task_struct *leader, *thread;
	struct mm_struct *mm = NULL;

	rcu_read_lock();
	leader = pid_task(tgid, PIDTYPE_TGID);
	if (leader) {
		for_each_thread(leader, thread) {
			mm = get_task_mm(thread);
			if (mm)
				break;
		}
	}
	rcu_read_unlock();
	return mm;
}

/*
 * Calls @f for each mapping of an object of @dev that the CPU has for a process: those of files of
 * the device that are of an object, which is their private data. mmap_lock is held for reading.
 */
int kx_visit_cpu_mappings(struct drm_device *dev, struct pid *tgid,
			  void (*f)(void *arg, struct drm_gem_object *obj), void *arg)
{
	struct mm_struct *mm = kx_get_mm(tgid);
	struct vm_area_struct *vma;
	int ret;

	if (!mm)
		return 0;
	/* The process may hold it for long; mmap_read_lock_killable() is not enough for us. */
	ret = down_read_interruptible(&mm->mmap_lock);
	if (!ret) {
		VMA_ITERATOR(vmi, mm, 0);

		for_each_vma(vmi, vma) {
			if (vma->vm_file && vma->vm_file->f_mapping == dev->anon_inode->i_mapping &&
			    vma->vm_private_data)
				f(arg, vma->vm_private_data);
		}
		up_read(&mm->mmap_lock);
	}
	/* The last one takes everything apart, which the caller need not wait for. */
	mmput_async(mm);
	return ret;
}
