/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * C helpers for GEM, GPU VM, dma-resv, io-pgtable, shmem and reclaim. Named as in helpers.h.
 */

#ifndef __KERNEL_EXT_HELPERS_MEM_H__
#define __KERNEL_EXT_HELPERS_MEM_H__

#include <linux/dma-direction.h>
#include <linux/io-pgtable.h>
#include <linux/list_lru.h>
#include <linux/mm_types.h>
#include <linux/pgtable.h>
#include <linux/types.h>

#include <drm/drm_vma_manager.h>

struct dma_buf;
struct dma_fence;
struct dma_resv;
struct drm_device;
struct drm_exec;
struct drm_gem_object;
struct drm_gpuvm;
struct iosys_map;
struct mem_cgroup;
struct obj_cgroup;
struct sg_table;
struct vm_fault;

/* dma-resv */
extern const u32 KX_DRM_EXEC_FLAGS;

int kx_dma_resv_lock(struct dma_resv *resv);
int kx_dma_resv_lock_interruptible(struct dma_resv *resv);
int kx_dma_resv_lock_killable(struct dma_resv *resv);
bool kx_dma_resv_trylock(struct dma_resv *resv);
void kx_dma_resv_unlock(struct dma_resv *resv);
bool kx_drm_exec_is_contended(struct drm_exec *exec);

#if IS_ENABLED(CONFIG_DRM_PANTHOR_RS_TEST)
struct dma_fence *kx_test_fence_new(void);
void kx_test_fence_signal(struct dma_fence *fence);
int kx_dma_resv_add_fence(struct dma_resv *resv, struct dma_fence *fence);
#endif

/* What rust/helpers has only for a kernel with DRM built in, and with a user of GPU VMs in Rust */
#if !IS_BUILTIN(CONFIG_DRM)
void kx_drm_gem_object_get(struct drm_gem_object *obj);
void kx_drm_gem_object_put(struct drm_gem_object *obj);
u64 kx_drm_vma_node_offset_addr(struct drm_vma_offset_node *node);
#endif
#ifndef CONFIG_RUST_DRM_GPUVM
struct drm_gpuvm *kx_drm_gpuvm_get(struct drm_gpuvm *vm);
#endif

/* GEM */
bool kx_drm_gem_is_imported(const struct drm_gem_object *obj);
bool kx_drm_gem_object_get_unless_zero(struct drm_gem_object *obj);
bool kx_drm_gpuvm_get_unless_zero(struct drm_gpuvm *vm);
struct drm_gpuvm_bo *kx_drm_gpuvm_bo_alloc(void);
struct drm_gpuvm_bo *kx_drm_gpuvm_take_deferred(struct drm_gpuvm *vm);
struct drm_gpuvm_bo *kx_drm_gpuvm_next_deferred(struct drm_gpuvm_bo *vm_bo);
void kx_drm_gpuvm_defer_again(struct drm_gpuvm_bo *vm_bo);
bool kx_drm_gpuvm_bo_get_unless_zero(struct drm_gpuvm_bo *vm_bo);
void kx_drm_gem_mapping_init(struct drm_gem_object *obj);
void kx_drm_vma_node_unmap(struct drm_gem_object *obj);
int kx_drm_vma_take_first(struct drm_gem_object *obj, struct drm_device *dev);
void kx_drm_vma_give_back(struct drm_gem_object *obj, struct drm_device *dev);
int kx_drm_gem_huge_mnt_create(struct drm_device *dev);
unsigned long kx_gem_nr_cached_pages(struct drm_gem_object *obj);
long kx_gem_reclaim_range(struct drm_gem_object *obj, pgoff_t start, pgoff_t end);

static const unsigned long KX_DRM_FILE_PAGE_OFFSET_SIZE __maybe_unused =
	DRM_FILE_PAGE_OFFSET_SIZE;

/* DMA */
struct sg_table *kx_drm_gem_map_pages(struct drm_gem_object *obj, struct page **pages);
void kx_drm_gem_unmap_pages(struct drm_gem_object *obj, struct sg_table *sgt, bool clean);
void kx_drm_gem_sync_for_cpu(struct drm_gem_object *obj, struct sg_table *sgt,
			     enum dma_data_direction dir);
void kx_drm_gem_sync_for_device(struct drm_gem_object *obj, struct sg_table *sgt,
				enum dma_data_direction dir);
void kx_drm_gem_clean_range(struct drm_gem_object *obj, dma_addr_t addr, size_t len,
			    bool invalidate);
void kx_dma_buf_sync_attachments_for_cpu(struct dma_buf *buf, enum dma_data_direction dir);
void kx_dma_buf_sync_attachments_for_device(struct dma_buf *buf, enum dma_data_direction dir);
void *kx_vmap(struct page **pages, unsigned int count, bool write_combine);
void kx_vunmap(const void *addr);
void kx_iosys_map_set_vaddr(struct iosys_map *map, void *addr);

/* CPU mappings */
static const unsigned int KX_PMD_ORDER __maybe_unused = PMD_ORDER;
int kx_visit_cpu_mappings(struct drm_device *dev, struct pid *tgid,
			  void (*f)(void *arg, struct drm_gem_object *obj), void *arg);
bool kx_vma_is_cow_mapping(struct vm_area_struct *vma);
void kx_vma_init_pfnmap(struct vm_area_struct *vma, bool write_combine);
vm_fault_t kx_vmf_insert_page(struct vm_fault *vmf, unsigned int order, struct page *page);
bool kx_vmf_may_retry(struct vm_fault *vmf);
bool kx_vmf_nowait(struct vm_fault *vmf);
void kx_vmf_release_mmap_lock(struct vm_fault *vmf);

/* Page tables */
u64 kx_io_pgtable_arm_s1_ttbr(struct io_pgtable_ops *ops);
u64 kx_io_pgtable_arm_s1_mair(struct io_pgtable_ops *ops);
struct io_pgtable_ops *kx_io_pgtable_arm_s1_alloc(struct device *dev, unsigned int ias,
						  unsigned int oas, bool coherent,
						  void *(*alloc)(void *, size_t, gfp_t),
						  void (*free)(void *, void *, size_t),
						  void *cookie);
void *kx_alloc_table(void);
void kx_free_table(void *table);
int kx_io_pgtable_map(struct io_pgtable_ops *ops, unsigned long iova, phys_addr_t paddr,
		      size_t pgsize, size_t pgcount, int prot, size_t *mapped);
size_t kx_io_pgtable_unmap(struct io_pgtable_ops *ops, unsigned long iova, size_t pgsize,
			   size_t pgcount);
unsigned int kx_io_pgtable_missing(struct io_pgtable_ops *ops, unsigned long iova);
bool kx_io_pgtable_is_block(struct io_pgtable_ops *ops, unsigned long iova);

/* Lists */
void kx_list_move(struct list_head *entry, struct list_head *head);
void kx_list_move_tail(struct list_head *entry, struct list_head *head);

/* Reclaim and swap */
extern const unsigned int KX_SHRINKER_FLAGS;
bool kx_may_block(gfp_t gfp);
long kx_get_nr_swap_pages(void);
long kx_memcg_swap_pages(struct mem_cgroup *memcg);
unsigned long kx_totalram_pages(void);
void kx_fs_reclaim_acquire(void);
void kx_fs_reclaim_release(void);
bool kx_dma_fence_begin_signalling(void);
void kx_dma_fence_end_signalling(bool cookie);

/* Lists of objects by memory cgroup */
int kx_lru_maker_get(void);
void kx_lru_maker_put(void);
bool kx_lru_get_charged(struct page *page, struct list_lru *const *lists, size_t nr_lists,
			struct obj_cgroup **known, struct obj_cgroup **charged);
void kx_lru_put_charged(struct obj_cgroup *charged);
void kx_lru_move(struct list_lru *from, struct list_lru *to, struct list_head *node,
		 struct obj_cgroup *charged);
unsigned long kx_list_lru_count(struct list_lru *lru);
void kx_list_lru_walk(struct list_lru *lru, list_lru_walk_cb callback, void *arg,
		      unsigned long nr_to_walk);
void kx_list_lru_unlock(struct list_lru_one *list);
void kx_list_lru_rotate_and_unlock(struct list_head *entry, struct list_lru_one *list);

#endif /* __KERNEL_EXT_HELPERS_MEM_H__ */
