// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Encodings of commands and configurations.

use kernel::prelude::*;

#[kunit_tests(panthor_regs)]
mod tests {
    use crate::panthor_regs::{gpu_control::*, irq::gpu_irq, mmu_control::*};

    fn encode(cmd: GpuCommand) -> u32 {
        GPU_CMD::from(cmd).into()
    }

    #[test]
    fn gpu_commands() {
        use FlushMode::*;

        assert_eq!(encode(GpuCommand::SoftReset), 0x101);
        assert_eq!(
            encode(GpuCommand::FlushCaches(
                CleanInvalidate,
                CleanInvalidate,
                Invalidate
            )),
            0x2_3304
        );
        assert_eq!(encode(GpuCommand::FlushCaches(Clean, Clean, None)), 0x1104);
    }

    #[test]
    fn gpu_interrupts() {
        assert_eq!(gpu_irq::ENABLED, 0x2_0103);
    }

    #[test]
    fn translation_of_48_bits() {
        let transcfg =
            TRANSCFG_AARCH64_4K | transcfg_ina_bits(48) | TRANSCFG_WALK_WB | TRANSCFG_WALK_RA;

        assert_eq!(transcfg, 0x4200_01c6);
        assert_eq!(transcfg | TRANSCFG_WALK_OUTER, 0x6200_01c6);
    }

    #[test]
    fn identity_of_a_g610() {
        let id = GPU_ID::from(0xa867_0005);

        assert_eq!(id.arch_major().get(), 10);
        assert_eq!(id.arch_minor().get(), 8);
        assert_eq!(id.arch_rev().get(), 6);
        assert_eq!(id.product().get(), 7);
        assert_eq!(id.version_status().get(), 5);
        assert_eq!(MMU_FEATURES::from(0x2830).va_bits().get(), 48);
        assert_eq!(MMU_FEATURES::from(0x2830).pa_bits().get(), 40);
    }
}
