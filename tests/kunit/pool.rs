// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The pool of a file's VMs, with numbers in their place.

use kernel::prelude::*;

#[kunit_tests(panthor_vm_pool)]
mod tests {
    use crate::panthor_mmu::pool::{Pool, MAX_VMS};
    use kernel::{prelude::*, sync::Arc};

    fn pool() -> Result<Pin<KBox<Pool<usize>>>> {
        KBox::pin_init(Pool::new(), GFP_KERNEL)
    }

    fn insert(pool: &Pool<usize>, value: usize) -> Result<usize> {
        pool.insert(Arc::new(value, GFP_KERNEL)?)
    }

    #[test]
    fn lowest_free_id() -> Result {
        let pool = pool()?;

        assert_eq!(insert(&pool, 10)?, 1);
        assert_eq!(insert(&pool, 11)?, 2);
        assert_eq!(insert(&pool, 12)?, 3);
        assert_eq!(pool.remove(2).map(|value| *value), Some(11));
        assert_eq!(insert(&pool, 13)?, 2);
        assert_eq!(insert(&pool, 14)?, 4);
        Ok(())
    }

    #[test]
    fn full() -> Result {
        let pool = pool()?;

        for id in 1..=MAX_VMS {
            assert_eq!(insert(&pool, id)?, id);
        }
        assert_eq!(insert(&pool, 0).err(), Some(EBUSY));
        assert!(pool.remove(MAX_VMS).is_some());
        assert_eq!(insert(&pool, 0)?, MAX_VMS);
        Ok(())
    }

    #[test]
    fn ids_that_are_not_there() -> Result {
        let pool = pool()?;

        insert(&pool, 10)?;
        for id in [0, 2, MAX_VMS, MAX_VMS + 1, u32::MAX as usize, usize::MAX] {
            assert!(pool.get(id).is_none());
            assert!(pool.remove(id).is_none());
        }
        assert_eq!(pool.get(1).map(|value| *value), Some(10));
        Ok(())
    }

    #[test]
    fn references_outlive_the_pool() -> Result {
        let pool = pool()?;

        insert(&pool, 10)?;
        insert(&pool, 11)?;
        let found = pool.get(1);
        let all = pool.snapshot()?;

        pool.drain(drop);
        assert!(pool.get(1).is_none() && pool.get(2).is_none());
        assert!(pool.snapshot()?.is_empty());
        drop(pool);

        assert_eq!(found.map(|value| *value), Some(10));
        assert_eq!(all.len(), 2);
        assert_eq!(
            all.iter().map(|(id, value)| id * **value).sum::<usize>(),
            32
        );
        Ok(())
    }

    #[test]
    fn drained_once() -> Result {
        let pool = pool()?;
        let mut sum = 0;

        for value in [1, 2, 4] {
            insert(&pool, value)?;
        }
        pool.remove(2);
        pool.drain(|value| sum += *value);
        assert_eq!(sum, 5);
        pool.drain(|value| sum += *value);
        assert_eq!(sum, 5);
        Ok(())
    }
}
