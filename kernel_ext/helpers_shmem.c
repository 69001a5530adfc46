// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Helpers for the pages of shmem files: bringing them in, and swapping them out.
 */

#include <linux/mm.h>
#include <linux/page-flags.h>
#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>

#include <drm/drm_gem.h>

#include "helpers_mem.h"

unsigned long kx_gem_nr_cached_pages(struct drm_gem_object *obj)
{
	return obj->filp ? obj->filp->f_mapping->nrpages : 0;
}

/*
 * Brings pages of a buffer in, from swap where they are there. They are ordinary pages of its file,
 * which mm may take again at any time.
 */
int kx_gem_read_in(struct drm_gem_object *obj, pgoff_t start, pgoff_t end)
{
	struct address_space *mapping = obj->filp->f_mapping;
	struct folio *folio;

	while (start <= end) {
		folio = shmem_read_folio_gfp(mapping, start, mapping_gfp_mask(mapping));
		if (IS_ERR(folio))
			return PTR_ERR(folio);
		start = folio_next_index(folio);
		folio_put(folio);
		cond_resched();
	}
	return 0;
}

/* As drm_gem_get_pages(), but that nothing is read in: -EAGAIN where a page is not in memory. */
struct page **kx_gem_get_cached_pages(struct drm_gem_object *obj)
{
	struct address_space *mapping = obj->filp->f_mapping;
	pgoff_t count = obj->size >> PAGE_SHIFT;
	struct page **pages;
	struct folio *folio;
	pgoff_t i = 0, end;
	bool usable;

	if (mapping->nrpages < count)
		return ERR_PTR(-EAGAIN);
	pages = kvcalloc(count, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return ERR_PTR(-ENOMEM);

	mapping_set_unevictable(mapping);
	while (i < count) {
		/* Locked, who is about to swap it out sees the reference, or we that it is gone. */
		folio = filemap_lock_folio(mapping, i);
		if (IS_ERR(folio))
			goto missing;
		usable = folio_test_uptodate(folio) && !folio_contain_hwpoisoned_page(folio);
		folio_unlock(folio);
		if (!usable) {
			folio_put(folio);
			goto missing;
		}
		end = min(count, folio_next_index(folio));
		for (; i < end; i++)
			pages[i] = folio_file_page(folio, i);
	}
	return pages;

missing:
	drm_gem_put_pages(obj, pages, false, false);
	return ERR_PTR(-EAGAIN);
}

long kx_gem_reclaim_range(struct drm_gem_object *obj, pgoff_t start, pgoff_t end)
{
#ifdef PANTHOR_HAS_SHMEM_RECLAIM
	if (obj->filp)
		return shmem_reclaim_range(obj->filp->f_mapping, start, end);
#endif
	return 0;
}
