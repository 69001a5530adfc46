// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Helpers for GEM, GPU VM, dma-resv, io-pgtable, shmem and reclaim.
 */

#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/gfp.h>
#include <linux/huge_mm.h>
#include <linux/io-pgtable.h>
#include <linux/iosys-map.h>
#include <linux/kmemleak.h>
#include <linux/list_lru.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/shmem_fs.h>
#include <linux/shrinker.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/vmalloc.h>

#include <drm/drm_drv.h>
#include <drm/drm_exec.h>
#include <drm/drm_gem.h>
#include <drm/drm_gpuvm.h>
#include <drm/drm_prime.h>
#include <drm/drm_vma_manager.h>

#include "helpers_mem.h"

/*
 * What each fault and each VM_BIND calls stands together, in as few pages as can be; for a fault
 * that of Rust as well. It is less than a page: the first function begins one, and Kbuild links
 * this file before the others.
 */
#define KX_FAST __section(".text.kx_fast")

const u32 KX_DRM_EXEC_FLAGS = DRM_EXEC_INTERRUPTIBLE_WAIT | DRM_EXEC_IGNORE_DUPLICATES;

KX_FAST __aligned(SZ_4K) int kx_dma_resv_lock(struct dma_resv *resv)
{
	return dma_resv_lock(resv, NULL);
}

KX_FAST int kx_dma_resv_lock_interruptible(struct dma_resv *resv)
{
	return dma_resv_lock_interruptible(resv, NULL);
}

/* Ends with an error when the task is being killed, and then only. */
int kx_dma_resv_lock_killable(struct dma_resv *resv)
{
	if (!dma_resv_lock_interruptible(resv, NULL))
		return 0;
	/* No such lock: with a signal pending, only a sleep can be ended by SIGKILL alone. */
	while (!dma_resv_trylock(resv)) {
		if (fatal_signal_pending(current))
			return -EINTR;
		schedule_timeout_killable(1);
	}
	return 0;
}

KX_FAST bool kx_dma_resv_trylock(struct dma_resv *resv)
{
	return dma_resv_trylock(resv);
}

KX_FAST void kx_dma_resv_unlock(struct dma_resv *resv)
{
	dma_resv_unlock(resv);
}

bool kx_drm_exec_is_contended(struct drm_exec *exec)
{
	return drm_exec_is_contended(exec);
}

#if IS_ENABLED(CONFIG_DRM_PANTHOR_RS_TEST)
struct kx_test_fence {
	struct dma_fence base;
	/* protects what the fence core says it does */
	spinlock_t lock;
};

static const char *kx_test_fence_name(struct dma_fence *fence)
{
	return "panthor-test";
}

static const struct dma_fence_ops kx_test_fence_ops = {
	.get_driver_name = kx_test_fence_name,
	.get_timeline_name = kx_test_fence_name,
};

struct dma_fence *kx_test_fence_new(void)
{
	struct kx_test_fence *fence = kzalloc(sizeof(*fence), GFP_KERNEL);

	if (!fence)
		return NULL;
	spin_lock_init(&fence->lock);
	dma_fence_init(&fence->base, &kx_test_fence_ops, &fence->lock,
		       dma_fence_context_alloc(1), 1);
	return &fence->base;
}

/* Gives up the caller's reference as well. */
void kx_test_fence_signal(struct dma_fence *fence)
{
	dma_fence_signal(fence);
	dma_fence_put(fence);
}

int kx_dma_resv_add_fence(struct dma_resv *resv, struct dma_fence *fence)
{
	int ret = dma_resv_reserve_fences(resv, 1);

	if (!ret)
		dma_resv_add_fence(resv, fence, DMA_RESV_USAGE_BOOKKEEP);
	return ret;
}
#endif

#if !IS_BUILTIN(CONFIG_DRM)
void kx_drm_gem_object_get(struct drm_gem_object *obj)
{
	drm_gem_object_get(obj);
}

void kx_drm_gem_object_put(struct drm_gem_object *obj)
{
	drm_gem_object_put(obj);
}

u64 kx_drm_vma_node_offset_addr(struct drm_vma_offset_node *node)
{
	return drm_vma_node_offset_addr(node);
}
#endif

#ifndef CONFIG_RUST_DRM_GPUVM
struct drm_gpuvm *kx_drm_gpuvm_get(struct drm_gpuvm *vm)
{
	return drm_gpuvm_get(vm);
}
#endif

KX_FAST bool kx_drm_gem_is_imported(const struct drm_gem_object *obj)
{
	return drm_gem_is_imported(obj);
}

bool kx_drm_gem_object_get_unless_zero(struct drm_gem_object *obj)
{
	return kref_get_unless_zero(&obj->refcount);
}

/*
 * The pages of a buffer in use are unmovable: keep them out of the movable zone. A big buffer may
 * fail instead of waking the OOM killer; the caller has an errno for it.
 */
void kx_drm_gem_mapping_init(struct drm_gem_object *obj)
{
	mapping_set_gfp_mask(obj->filp->f_mapping,
			     GFP_HIGHUSER | __GFP_RETRY_MAYFAIL | __GFP_NOWARN);
}

void kx_drm_vma_node_unmap(struct drm_gem_object *obj)
{
	drm_vma_node_unmap(&obj->vma_node, obj->dev->anon_inode->i_mapping);
}

/*
 * @obj, which is zeroed, gets the first page of a device's offsets. Before there are others. It is
 * found by mmap(), which leaves it alone as it has no references.
 */
int kx_drm_vma_take_first(struct drm_gem_object *obj, struct drm_device *dev)
{
	drm_vma_node_reset(&obj->vma_node);
	return drm_vma_offset_add(dev->vma_offset_manager, &obj->vma_node, 1);
}

void kx_drm_vma_give_back(struct drm_gem_object *obj, struct drm_device *dev)
{
	drm_vma_offset_remove(dev->vma_offset_manager, &obj->vma_node);
}

int kx_drm_gem_huge_mnt_create(struct drm_device *dev)
{
	int ret = drm_gem_huge_mnt_create(dev, "within_size");

	/*
	 * 7.3 does not look whether the mount succeeded, and leaves it behind when it could not be
	 * tied to the device. The next object would follow the pointer.
	 */
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
	if (!ret && IS_ERR(dev->huge_mnt))
		ret = PTR_ERR(dev->huge_mnt);
	if (ret)
		dev->huge_mnt = NULL;
#endif
	return ret;
}

unsigned long kx_gem_nr_cached_pages(struct drm_gem_object *obj)
{
	return obj->filp ? obj->filp->f_mapping->nrpages : 0;
}

long kx_gem_reclaim_range(struct drm_gem_object *obj, pgoff_t start, pgoff_t end)
{
#ifdef PANTHOR_HAS_SHMEM_RECLAIM
	if (obj->filp)
		return shmem_reclaim_range(obj->filp->f_mapping, start, end);
#endif
	return 0;
}

struct sg_table *kx_drm_gem_map_pages(struct drm_gem_object *obj, struct page **pages)
{
	struct sg_table *sgt;
	int ret;

	sgt = drm_prime_pages_to_sg(obj->dev, pages, obj->size >> PAGE_SHIFT);
	if (IS_ERR(sgt))
		return sgt;

	ret = dma_map_sgtable(drm_dev_dma_dev(obj->dev), sgt, DMA_BIDIRECTIONAL, 0);
	if (ret) {
		sg_free_table(sgt);
		kfree(sgt);
		return ERR_PTR(ret);
	}

	return sgt;
}

/*
 * Unmapping drops what the caches of the CPU have of the pages. With @clean it goes to memory
 * before: the CPU may have written since the device was given them.
 */
void kx_drm_gem_unmap_pages(struct drm_gem_object *obj, struct sg_table *sgt, bool clean)
{
	if (clean)
		dma_sync_sgtable_for_device(drm_dev_dma_dev(obj->dev), sgt, DMA_TO_DEVICE);
	dma_unmap_sgtable(drm_dev_dma_dev(obj->dev), sgt, DMA_BIDIRECTIONAL, 0);
	sg_free_table(sgt);
	kfree(sgt);
}

void kx_drm_gem_sync_for_cpu(struct drm_gem_object *obj, struct sg_table *sgt,
			     enum dma_data_direction dir)
{
	dma_sync_sgtable_for_cpu(drm_dev_dma_dev(obj->dev), sgt, dir);
}

void kx_drm_gem_sync_for_device(struct drm_gem_object *obj, struct sg_table *sgt,
				enum dma_data_direction dir)
{
	dma_sync_sgtable_for_device(drm_dev_dma_dev(obj->dev), sgt, dir);
}

/* One direction at a time: a sync in both directions does not clean and invalidate on arm64. */
void kx_drm_gem_clean_range(struct drm_gem_object *obj, dma_addr_t addr, size_t len,
			    bool invalidate)
{
	struct device *dev = drm_dev_dma_dev(obj->dev);

	dma_sync_single_for_device(dev, addr, len, DMA_TO_DEVICE);
	if (invalidate)
		dma_sync_single_for_cpu(dev, addr, len, DMA_FROM_DEVICE);
}

void kx_dma_buf_sync_attachments_for_cpu(struct dma_buf *buf, enum dma_data_direction dir)
{
	struct dma_buf_attachment *attach;

	list_for_each_entry(attach, &buf->attachments, node) {
		if (attach->priv)
			dma_sync_sgtable_for_cpu(attach->dev, attach->priv, dir);
	}
}

void kx_dma_buf_sync_attachments_for_device(struct dma_buf *buf, enum dma_data_direction dir)
{
	struct dma_buf_attachment *attach;

	list_for_each_entry(attach, &buf->attachments, node) {
		if (attach->priv)
			dma_sync_sgtable_for_device(attach->dev, attach->priv, dir);
	}
}

void *kx_vmap(struct page **pages, unsigned int count, bool write_combine)
{
	pgprot_t prot = PAGE_KERNEL;

	if (write_combine)
		prot = pgprot_writecombine(prot);
	return vmap(pages, count, VM_MAP, prot);
}

void kx_vunmap(const void *addr)
{
	vunmap(addr);
}

void kx_iosys_map_set_vaddr(struct iosys_map *map, void *addr)
{
	iosys_map_set_vaddr(map, addr);
}

bool kx_vma_is_cow_mapping(struct vm_area_struct *vma)
{
	return vma_is_cow_mapping(vma);
}

void kx_vma_init_pfnmap(struct vm_area_struct *vma, bool write_combine)
{
	vm_flags_set(vma, VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_page_prot = vma_get_page_prot(vma);
	if (write_combine)
		vma->vm_page_prot = pgprot_writecombine(vma->vm_page_prot);
}

/* Maps one page, or what a PMD maps around it where memory, address and mapping allow. */
KX_FAST vm_fault_t kx_vmf_insert_page(struct vm_fault *vmf, unsigned int order, struct page *page)
{
	if (!order)
		return vmf_insert_pfn(vmf->vma, vmf->address, page_to_pfn(page));

#ifdef CONFIG_ARCH_SUPPORTS_PMD_PFNMAP
	if (order == PMD_ORDER) {
		unsigned long start = ALIGN_DOWN(vmf->address, PMD_SIZE);
		unsigned long pfn = page_to_pfn(page);

		if (start >= vmf->vma->vm_start && start + PMD_SIZE <= vmf->vma->vm_end &&
		    folio_test_pmd_mappable(page_folio(page)) &&
		    ((vmf->address >> PAGE_SHIFT) & (PTRS_PER_PTE - 1)) ==
		    (pfn & (PTRS_PER_PTE - 1)))
			return vmf_insert_pfn_pmd(vmf, ALIGN_DOWN(pfn, PTRS_PER_PTE),
						  vmf->flags & FAULT_FLAG_WRITE);
	}
#endif

	return VM_FAULT_FALLBACK;
}

KX_FAST bool kx_vmf_may_retry(struct vm_fault *vmf)
{
	return fault_flag_allow_retry_first(vmf->flags);
}

KX_FAST bool kx_vmf_nowait(struct vm_fault *vmf)
{
	return vmf->flags & FAULT_FLAG_RETRY_NOWAIT;
}

void kx_vmf_release_mmap_lock(struct vm_fault *vmf)
{
	if (vmf->flags & FAULT_FLAG_VMA_LOCK)
		vma_end_read(vmf->vma);
	else
		mmap_read_unlock(vmf->vma->vm_mm);
}

u64 kx_io_pgtable_arm_s1_ttbr(struct io_pgtable_ops *ops)
{
	return io_pgtable_ops_to_pgtable(ops)->cfg.arm_lpae_s1_cfg.ttbr;
}

u64 kx_io_pgtable_arm_s1_mair(struct io_pgtable_ops *ops)
{
	return io_pgtable_ops_to_pgtable(ops)->cfg.arm_lpae_s1_cfg.mair;
}

/* A GPU driver flushes by itself, once for an operation instead of once for a table. */
static void no_tlb_flush_all(void *cookie)
{
}

static void no_tlb_flush_walk(unsigned long iova, size_t size, size_t granule, void *cookie)
{
}

static const struct iommu_flush_ops no_tlb_ops = {
	.tlb_flush_all = no_tlb_flush_all,
	.tlb_flush_walk = no_tlb_flush_walk,
};

struct io_pgtable_ops *kx_io_pgtable_arm_s1_alloc(struct device *dev, unsigned int ias,
						  unsigned int oas, bool coherent,
						  void *(*alloc)(void *, size_t, gfp_t),
						  void (*free)(void *, void *, size_t),
						  void *cookie)
{
	struct io_pgtable_cfg cfg = {
		.quirks = IO_PGTABLE_QUIRK_NO_WARN,
		.pgsize_bitmap = SZ_4K | SZ_2M,
		.ias = ias,
		.oas = oas,
		.coherent_walk = coherent,
		.tlb = &no_tlb_ops,
		.iommu_dev = dev,
		.alloc = alloc,
		.free = free,
	};

	return alloc_io_pgtable_ops(ARM_64_LPAE_S1, &cfg, cookie);
}

/* Not zeroed: that is done when it is used. */
void *kx_alloc_table(void)
{
	return (void *)__get_free_page(GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN);
}

void kx_free_table(void *table)
{
	free_page((unsigned long)table);
}

KX_FAST int kx_io_pgtable_map(struct io_pgtable_ops *ops, unsigned long iova, phys_addr_t paddr,
			      size_t pgsize, size_t pgcount, int prot, size_t *mapped)
{
	return ops->map_pages(ops, iova, paddr, pgsize, pgcount, prot, GFP_NOWAIT, mapped);
}

KX_FAST size_t kx_io_pgtable_unmap(struct io_pgtable_ops *ops, unsigned long iova, size_t pgsize,
				   size_t pgcount)
{
	return ops->unmap_pages(ops, iova, pgsize, pgcount, NULL);
}

/* How many tables are missing on the way to the last entry for @iova, that of level 3. */
unsigned int kx_io_pgtable_missing(struct io_pgtable_ops *ops, unsigned long iova)
{
	struct arm_lpae_io_pgtable_walk_data walk = {};
	unsigned int lvl = 4 - DIV_ROUND_UP(io_pgtable_ops_to_pgtable(ops)->cfg.ias - 12, 9);

	ops->pgtable_walk(ops, iova, &walk);
	while (lvl < 3 && (walk.ptes[lvl] & 3) == 3)
		lvl++;
	return 3 - lvl;
}

/* Whether the translation of @iova ends at level 2 of the tables, in a block of 2 MiB. */
bool kx_io_pgtable_is_block(struct io_pgtable_ops *ops, unsigned long iova)
{
	struct arm_lpae_io_pgtable_walk_data walk = {};

	if (ops->pgtable_walk(ops, iova, &walk))
		return false;
	return (walk.ptes[2] & 3) == 1;
}

void kx_list_move(struct list_head *entry, struct list_head *head)
{
	list_move(entry, head);
}

void kx_list_move_tail(struct list_head *entry, struct list_head *head)
{
	list_move_tail(entry, head);
}

const unsigned int KX_SHRINKER_FLAGS = SHRINKER_MEMCG_AWARE | SHRINKER_NUMA_AWARE;

bool kx_may_block(gfp_t gfp)
{
	if (gfp & __GFP_DIRECT_RECLAIM)
		return true;
	return (gfp & __GFP_KSWAPD_RECLAIM) && current_is_kswapd();
}

long kx_get_nr_swap_pages(void)
{
	return get_nr_swap_pages();
}

/*
 * Free swap space that the pages of a cgroup may use, as mem_cgroup_get_nr_swap_pages(), which
 * modules do not get.
 */
long kx_memcg_swap_pages(struct mem_cgroup *memcg)
{
	long free = get_nr_swap_pages();

#ifdef CONFIG_MEMCG
	if (mem_cgroup_disabled() || !cgroup_subsys_on_dfl(memory_cgrp_subsys))
		return free;
	for (; memcg && !mem_cgroup_is_root(memcg); memcg = parent_mem_cgroup(memcg))
		free = min_t(long, free,
			     READ_ONCE(memcg->swap.max) - page_counter_read(&memcg->swap));
#endif
	return free;
}

unsigned long kx_totalram_pages(void)
{
	return totalram_pages();
}

void kx_fs_reclaim_acquire(void)
{
	fs_reclaim_acquire(GFP_KERNEL);
}

void kx_fs_reclaim_release(void)
{
	fs_reclaim_release(GFP_KERNEL);
}

bool kx_dma_fence_begin_signalling(void)
{
	return dma_fence_begin_signalling();
}

void kx_dma_fence_end_signalling(bool cookie)
{
	dma_fence_end_signalling(cookie);
}

/*
 * What is allocated from it is charged to a cgroup, which then gets its place in a list. It is
 * there as long as there are lists: a cache for each device would have the name of another one's.
 */
static struct kmem_cache *kx_lru_maker;
static unsigned int kx_lru_maker_users;
static DEFINE_MUTEX(kx_lru_maker_lock);

int kx_lru_maker_get(void)
{
	guard(mutex)(&kx_lru_maker_lock);

	if (!kx_lru_maker_users) {
		kx_lru_maker = kmem_cache_create("panthor_gem_lru_maker", sizeof(long), 0,
						 SLAB_ACCOUNT, NULL);
		if (!kx_lru_maker)
			return -ENOMEM;
	}
	kx_lru_maker_users++;
	return 0;
}

void kx_lru_maker_put(void)
{
	guard(mutex)(&kx_lru_maker_lock);

	if (!--kx_lru_maker_users)
		kmem_cache_destroy(kx_lru_maker);
}

#ifdef CONFIG_MEMCG
/*
 * Whether a cgroup has a place in each list of a device, of which this is the last: they are made
 * in their order, by kx_lru_get_charged() only, each for all ancestors first, and go only when the
 * cgroup dies, whose parent inherits what is in them.
 */
static bool kx_lru_is_known(struct obj_cgroup *charged, struct list_lru *last)
{
	bool known;
	int id;

	rcu_read_lock();
	id = memcg_kmem_id(obj_cgroup_memcg(charged));
	known = id < 0 || xa_load(&last->xa, id);
	rcu_read_unlock();
	/* Who sees its place in the last list sees those in the others, which came before. */
	smp_rmb();
	return known;
}
#endif

/*
 * What a page of a file is charged to, with a place in each of the lists from then on. NULL stands
 * for what is charged to nobody, or to a cgroup that is not the current one and not known yet: the
 * list that is asked for memory as a whole. False is for no memory.
 *
 * What has its places keeps them. So it need not be looked up again where it is the one that was
 * looked up last, which *known is, with a reference: while that is there, no other one has its
 * address.
 */
KX_FAST bool kx_lru_get_charged(struct page *page, struct list_lru *const *lists, size_t nr_lists,
				struct obj_cgroup **known, struct obj_cgroup **charged)
{
#ifdef CONFIG_MEMCG
	struct obj_cgroup *objcg = folio_objcg(page_folio(page));
	size_t i;

	*charged = NULL;
	if (!objcg || obj_cgroup_is_root(objcg))
		return true;
	/* Pairs with xchg(): who sees it there sees its places in the lists. */
	if (smp_load_acquire(known) == objcg)
		goto get;
	if (!kx_lru_is_known(objcg, lists[nr_lists - 1])) {
		for (i = 0; i < nr_lists; i++) {
			void *obj = kmem_cache_alloc_lru(kx_lru_maker, lists[i], GFP_KERNEL);

			if (!obj)
				return false;
			kmem_cache_free(kx_lru_maker, obj);
		}
		if (!kx_lru_is_known(objcg, lists[nr_lists - 1]))
			return true;
	}
	obj_cgroup_get(objcg);
	obj_cgroup_put(xchg(known, objcg));
get:
	obj_cgroup_get(objcg);
	*charged = objcg;
#else
	*charged = NULL;
#endif
	return true;
}

void kx_lru_put_charged(struct obj_cgroup *charged)
{
#ifdef CONFIG_MEMCG
	obj_cgroup_put(charged);
#endif
}

static struct mem_cgroup *kx_charged_memcg(struct obj_cgroup *charged)
{
#ifdef CONFIG_MEMCG
	if (charged)
		return obj_cgroup_memcg(charged);
#endif
	return NULL;
}

/* Out of one list, if it is in one, and to the end of another one, if there is one. */
KX_FAST void kx_lru_move(struct list_lru *from, struct list_lru *to, struct list_head *node,
			 struct obj_cgroup *charged)
{
	int nid = page_to_nid(virt_to_page(node));
	struct mem_cgroup *memcg;

	rcu_read_lock();
	memcg = kx_charged_memcg(charged);
	if (from)
		list_lru_del(from, node, nid, memcg);
	if (to)
		list_lru_add(to, node, nid, memcg);
	rcu_read_unlock();
}

unsigned long kx_list_lru_count(struct list_lru *lru)
{
	return list_lru_count(lru);
}

void kx_list_lru_walk(struct list_lru *lru, list_lru_walk_cb callback, void *arg,
		      unsigned long nr_to_walk)
{
	int nid;

	/* Not list_lru_walk(), whose end of the count is that of an unsigned number. */
	for_each_node_state(nid, N_NORMAL_MEMORY) {
		if (!nr_to_walk)
			break;
		list_lru_walk_node(lru, nid, callback, arg, &nr_to_walk);
	}
}

void kx_list_lru_unlock(struct list_lru_one *list)
{
	spin_unlock(&list->lock);
}

void kx_list_lru_rotate_and_unlock(struct list_head *entry, struct list_lru_one *list)
{
	list_move_tail(entry, &list->list);
	spin_unlock(&list->lock);
}
