// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Structures of different versions, copied in and out.

use kernel::prelude::*;

#[kunit_tests(panthor_uaccess)]
mod tests {
    use crate::kernel_ext::{
        uaccess::{
            read_array_from, read_struct_from, write_struct_to, ArrayAt, Memory, Versioned,
            MAX_SIZE,
        },
        uapi::{self, drm_panthor_gpu_info, drm_panthor_mmu_info, drm_panthor_sync_op},
    };
    use core::cell::RefCell;
    use kernel::prelude::*;

    /// Where the memory of the tests starts; below and above there is none.
    const BASE: u64 = 0x1000;

    /// A process's memory.
    struct Fake(RefCell<KVec<u8>>);

    impl Fake {
        fn new(bytes: &[u8]) -> Result<Self> {
            let mut memory = KVec::new();

            memory.extend_from_slice(bytes, GFP_KERNEL)?;
            Ok(Self(RefCell::new(memory)))
        }

        fn filled(value: u8, len: usize) -> Result<Self> {
            Ok(Self(RefCell::new(KVec::from_elem(value, len, GFP_KERNEL)?)))
        }

        /// Calls `f` with some of the memory.
        fn with<R>(&self, at: u64, len: usize, f: impl FnOnce(&mut [u8]) -> R) -> Result<R> {
            let start = at.checked_sub(BASE).ok_or(EFAULT)? as usize;
            let end = start.checked_add(len).ok_or(EFAULT)?;

            Ok(f(self.0.borrow_mut().get_mut(start..end).ok_or(EFAULT)?))
        }
    }

    impl Memory for Fake {
        fn read(&self, from: u64, out: &mut [u8]) -> Result {
            self.with(from, out.len(), |bytes| out.copy_from_slice(bytes))
        }

        fn is_zero(&self, from: u64, len: usize) -> Result<bool> {
            self.with(from, len, |bytes| bytes.iter().all(|byte| *byte == 0))
        }

        fn write(&self, to: u64, data: &[u8]) -> Result {
            self.with(to, data.len(), |bytes| bytes.copy_from_slice(data))
        }

        fn clear(&self, to: u64, len: usize) -> Result {
            self.with(to, len, |bytes| bytes.fill(0))
        }
    }

    fn array(stride: u32, count: u32) -> ArrayAt {
        ArrayAt {
            addr: BASE,
            stride,
            count,
        }
    }

    #[test]
    fn sizes_of_first_versions() {
        assert_eq!(drm_panthor_gpu_info::MIN_SIZE, 96);
        assert_eq!(core::mem::size_of::<drm_panthor_gpu_info>(), 112);
        assert_eq!(drm_panthor_sync_op::MIN_SIZE, 16);
        assert_eq!(uapi::drm_panthor_timestamp_info::MIN_SIZE, 16);
        assert_eq!(uapi::drm_panthor_csif_info::MIN_SIZE, 24);
        assert_eq!(uapi::drm_panthor_vm_bind_op::MIN_SIZE, 48);
        assert_eq!(uapi::drm_panthor_queue_submit::MIN_SIZE, 40);
        assert_eq!(uapi::drm_panthor_queue_create::MIN_SIZE, 8);
        assert_eq!(uapi::drm_panthor_bo_sync_op::MIN_SIZE, 24);
        assert_eq!(uapi::drm_panthor_group_priorities_info::MIN_SIZE, 4);
    }

    #[test]
    fn write_to_an_older_user() -> Result {
        let memory = Fake::filled(0xaa, 112)?;
        let info = drm_panthor_gpu_info {
            gpu_id: 0x1234_5678,
            gpu_features: u64::MAX,
            ..Default::default()
        };

        write_struct_to(&memory, BASE, 96, &info)?;
        assert_eq!(memory.with(BASE, 4, |b| b[0])?, 0x78);
        // What it does not know is left alone.
        assert!(memory.with(BASE + 96, 16, |b| b.iter().all(|b| *b == 0xaa))?);
        Ok(())
    }

    #[test]
    fn write_to_a_newer_user() -> Result {
        let memory = Fake::filled(0xaa, 32)?;
        let info = drm_panthor_mmu_info {
            page_size_bitmap: 0x20_1000,
        };

        write_struct_to(&memory, BASE, 24, &info)?;
        assert!(memory.is_zero(BASE + 8, 16)?);
        assert!(memory.with(BASE + 24, 8, |b| b.iter().all(|b| *b == 0xaa))?);
        Ok(())
    }

    #[test]
    fn write_refusals() -> Result {
        let memory = Fake::filled(0, 8)?;
        let info = drm_panthor_mmu_info {
            page_size_bitmap: 1,
        };

        assert_eq!(write_struct_to(&memory, BASE, 7, &info), Err(EINVAL));
        assert_eq!(write_struct_to(&memory, BASE, 0, &info), Err(EINVAL));
        assert_eq!(write_struct_to(&memory, BASE + 1, 8, &info), Err(EFAULT));
        assert_eq!(write_struct_to(&memory, BASE, 16, &info), Err(EFAULT));
        assert_eq!(write_struct_to(&memory, 0, 8, &info), Err(EFAULT));
        Ok(())
    }

    #[test]
    fn read_from_an_older_user() -> Result {
        let memory = Fake::filled(0xff, 16)?;
        let op: drm_panthor_sync_op = read_struct_from(&memory, BASE, 8)?;

        assert_eq!(op.flags, u32::MAX);
        assert_eq!(op.handle, u32::MAX);
        assert_eq!(op.timeline_value, 0);
        Ok(())
    }

    #[test]
    fn read_from_a_newer_user() -> Result {
        let memory = Fake::filled(0, 32)?;

        memory.with(BASE, 16, |b| b.fill(1))?;
        let op: drm_panthor_sync_op = read_struct_from(&memory, BASE, 32)?;
        assert_eq!(op.handle, 0x0101_0101);

        memory.with(BASE + 31, 1, |b| b.fill(1))?;
        assert_eq!(
            read_struct_from::<drm_panthor_sync_op>(&memory, BASE, 32).err(),
            Some(E2BIG)
        );
        assert_eq!(
            read_struct_from::<drm_panthor_sync_op>(&memory, BASE, 33).err(),
            Some(EFAULT)
        );
        Ok(())
    }

    /// The sum of the handles of an array.
    fn sum(memory: &Fake, at: ArrayAt) -> Result<u32> {
        let ops = read_array_from::<drm_panthor_sync_op, _>(memory, at, || Ok(()))?;
        let mut sum = 0u32;

        ops.for_each(
            || Ok(()),
            |op| {
                sum = sum.wrapping_add(op.handle);
                Ok(())
            },
        )
        .map_err(|(_, e)| e)?;
        Ok(sum)
    }

    #[test]
    fn arrays() -> Result {
        let memory = Fake::filled(0, 64)?;

        memory.with(BASE + 4, 1, |b| b.fill(1))?;
        memory.with(BASE + 36, 1, |b| b.fill(2))?;

        assert_eq!(sum(&memory, array(32, 2)), Ok(3));
        assert_eq!(sum(&memory, array(16, 4)), Ok(3));
        Ok(())
    }

    /// Around the length of the pieces in which they are read, packed and with a tail.
    #[test]
    fn long_arrays() -> Result {
        for stride in [16, 24] {
            for count in [1, 2, 3, 15, 16, 17, 31, 32, 33, 100] {
                let memory = Fake::filled(0, stride * count)?;

                for i in 0..count {
                    memory.with(BASE + (i * stride + 4) as u64, 1, |b| b.fill(i as u8))?;
                }
                let at = array(stride as u32, count as u32);
                assert_eq!(sum(&memory, at), Ok((0..count as u32).sum()));
                // One more than there are.
                assert_eq!(sum(&memory, array(at.stride, at.count + 1)), Err(EFAULT));
            }
        }
        Ok(())
    }

    /// It is asked whether to go on, and stops with the number of the first that was not done.
    #[test]
    fn stops() -> Result {
        let memory = Fake::filled(0, 16 * 100)?;
        let ops = read_array_from::<drm_panthor_sync_op, _>(&memory, array(16, 100), || Ok(()))?;
        let asked = core::cell::Cell::new(0);
        let mut done = 0;
        let stopped = ops.for_each(
            || {
                asked.set(asked.get() + 1);
                if asked.get() == 40 {
                    return Err(EINTR);
                }
                Ok(())
            },
            |_| {
                done += 1;
                Ok(())
            },
        );
        assert_eq!(stopped, Err((40, EINTR)));
        assert_eq!(done, 40);

        let failed = ops.for_each(|| Ok(()), |_| Err(EPERM));
        assert_eq!(failed, Err((0, EPERM)));

        // When it is looked at as well.
        let looked =
            read_array_from::<drm_panthor_sync_op, _>(&memory, array(16, 100), || Err(EINTR));
        assert_eq!(looked.err(), Some(EINTR));
        Ok(())
    }

    /// The other side takes memory away after the look at all of it.
    #[test]
    fn changed_meanwhile() -> Result {
        let memory = Fake::filled(0, 16 * 40)?;
        let ops = read_array_from::<drm_panthor_sync_op, _>(&memory, array(16, 40), || Ok(()))?;

        memory.0.borrow_mut().truncate(16 * 39);
        let mut done = 0;
        let stopped = ops.for_each(
            || Ok(()),
            |_| {
                done += 1;
                Ok(())
            },
        );
        assert_eq!(stopped, Err((32, EFAULT)));
        assert_eq!(done, 32);
        Ok(())
    }

    #[test]
    fn empty_array() -> Result {
        let memory = Fake::new(&[])?;
        let ops = read_array_from::<drm_panthor_sync_op, _>(&memory, array(0, 0), || Err(EINTR))?;

        // Nothing else of it is looked at.
        assert!(ops.is_empty());
        Ok(())
    }

    #[test]
    fn array_refusals() -> Result {
        let memory = Fake::filled(1, 64)?;
        let read = |stride, count| sum(&memory, array(stride, count)).err();

        assert_eq!(read(15, 1), Some(EINVAL));
        assert_eq!(read(0, 1), Some(EINVAL));
        assert_eq!(read(32, 2), Some(E2BIG));
        assert_eq!(read(16, 5), Some(EFAULT));
        assert_eq!(read(16, u32::MAX), Some(EFAULT));
        Ok(())
    }

    /// What is behind the part that we know is looked at: it has an end.
    #[test]
    fn longest() -> Result {
        let longest = MAX_SIZE as u32;
        let memory = Fake::filled(0, 3 * MAX_SIZE + 16)?;

        for count in [1, 2, 3] {
            assert_eq!(sum(&memory, array(longest, count)), Ok(0));
            assert_eq!(sum(&memory, array(longest + 1, count)), Err(E2BIG));
            assert_eq!(sum(&memory, array(u32::MAX, count)), Err(E2BIG));
        }
        let info = drm_panthor_mmu_info {
            page_size_bitmap: 1,
        };
        write_struct_to(&memory, BASE, MAX_SIZE, &info)?;
        assert_eq!(
            write_struct_to(&memory, BASE, MAX_SIZE + 1, &info),
            Err(E2BIG)
        );
        Ok(())
    }
}
