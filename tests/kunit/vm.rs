// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Address spaces: split of the addresses, memory attributes, flags of mappings.

use kernel::prelude::*;

#[kunit_tests(panthor_vm)]
mod tests {
    use crate::panthor_mmu::{memattr::from_mair, prot::MapFlags, va_split::kernel_va_start};
    use kernel::{
        prelude::*,
        sizes::{SZ_256M, SZ_4K},
    };

    const FULL: u64 = 1 << 48;
    const RESERVED: u64 = SZ_256M as u64;

    #[test]
    fn default_split() {
        // A process with as many address bits as the GPU, and one with fewer.
        assert_eq!(kernel_va_start(48, 0, FULL), Ok(1 << 47));
        assert_eq!(kernel_va_start(48, 0, 1 << 39), Ok(1 << 47));
        assert_eq!(kernel_va_start(48, 0, 1 << 47), Ok(1 << 47));
    }

    #[test]
    fn kernel_part_is_a_power_of_two() {
        for wanted in [
            1,
            SZ_4K as u64,
            1 << 32,
            1 << 47,
            (1 << 47) + 1,
            FULL - 3 * RESERVED,
            FULL - RESERVED,
        ] {
            let start = kernel_va_start(48, wanted, FULL).unwrap_or(0);

            assert!(start >= wanted);
            assert!((FULL - start).is_power_of_two());
            assert!(FULL - start >= RESERVED);
        }
    }

    #[test]
    fn too_little_for_the_kernel() {
        assert_eq!(kernel_va_start(48, FULL - RESERVED + 1, FULL), Err(EINVAL));
        assert_eq!(kernel_va_start(48, FULL, FULL), Err(EINVAL));
        assert_eq!(kernel_va_start(48, u64::MAX, FULL), Err(EINVAL));
        assert_eq!(kernel_va_start(28, 0, FULL), Err(EINVAL));
        assert_eq!(kernel_va_start(64, 0, FULL), Err(EINVAL));
    }

    #[test]
    fn memory_attributes() {
        // What the page tables use, and the value that the hardware wants for it.
        let mair = 0xffff_ffff_f404_ff44;

        assert_eq!(from_mair(mair, false), 0x8f8f_8f8f_8c4c_8f4c);
        assert_eq!(from_mair(mair, true), 0x9f9f_9f9f_9c4c_9f4c);
        // Device memory and write-through are not cached.
        assert_eq!(from_mair(0, false), 0x4c4c_4c4c_4c4c_4c4c);
        assert_eq!(from_mair(0xbb, false) & 0xff, 0x4c);
    }

    #[test]
    fn flags_of_mappings() {
        for flags in 0..8 {
            assert!(MapFlags::new(flags).is_ok());
        }
        // Sparse memory holds no instructions.
        assert_eq!(MapFlags::new(8).err(), Some(EINVAL));
        assert!(MapFlags::new(8 | 2).is_ok_and(MapFlags::is_sparse));
        for bit in 4..32 {
            assert_eq!(MapFlags::new(1 << bit).err(), Some(EINVAL));
        }
    }
}
