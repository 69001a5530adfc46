// SPDX-License-Identifier: GPL-2.0 OR MIT

//! How easily buffers can be given up, and what a call comes to.

use kernel::prelude::*;

#[kunit_tests(panthor_reclaim)]
mod tests {
    use crate::{
        kernel_ext::drm::gpuvm::GpuMappings,
        panthor_gem::reclaim_state::ReclaimState,
        panthor_reclaim::outcome::{Done, Outcome, Reason},
    };
    use kernel::prelude::*;

    #[test]
    fn states() {
        use GpuMappings::*;

        for cpu in [false, true] {
            for gpu in [None, One, Many] {
                // Nothing to give up, or not allowed to.
                for (resident, pinned) in [(false, false), (false, true), (true, true)] {
                    assert_eq!(
                        ReclaimState::new(resident, pinned, gpu, cpu),
                        ReclaimState::Unreclaimable
                    );
                }
            }
            assert_eq!(
                ReclaimState::new(true, false, One, cpu),
                ReclaimState::GpuMapped
            );
            assert_eq!(
                ReclaimState::new(true, false, Many, cpu),
                ReclaimState::GpuShared
            );
        }
        assert_eq!(
            ReclaimState::new(true, false, None, true),
            ReclaimState::CpuMapped
        );
        assert_eq!(
            ReclaimState::new(true, false, None, false),
            ReclaimState::Unused
        );
    }

    #[test]
    fn easiest_first() {
        let order = [
            ReclaimState::Unused,
            ReclaimState::CpuMapped,
            ReclaimState::GpuMapped,
            ReclaimState::GpuShared,
            ReclaimState::Unreclaimable,
        ];

        assert_eq!(
            order.map(ReclaimState::list),
            [Some(0), Some(1), Some(2), Some(3), None]
        );
    }

    #[test]
    fn everything_done() {
        let mut outcome = Outcome::default();

        assert!(outcome.count(8192, Ok(Done::Moved { bytes: 4096 })));
        assert!(outcome.count(8192, Ok(Done::Nothing)));
        assert!(outcome.count(8192, Ok(Done::Kept(Reason::NotOurs))));
        assert_eq!(outcome.result(), Ok(()));

        let amounts = outcome.amounts();
        assert_eq!((amounts.buffers_done, amounts.bytes_done), (1, 4096));
        assert_eq!((amounts.buffers_skipped, amounts.bytes_skipped), (1, 8192));
    }

    #[test]
    fn something_busy() {
        let mut outcome = Outcome::default();

        assert!(outcome.count(4096, Ok(Done::Kept(Reason::Busy))));
        assert!(outcome.count(4096, Ok(Done::Moved { bytes: 4096 })));
        assert_eq!(outcome.result(), Err(EBUSY));
    }

    #[test]
    fn first_error_is_told() {
        let mut outcome = Outcome::default();

        assert!(outcome.count(4096, Ok(Done::Kept(Reason::Busy))));
        assert!(outcome.count(4096, Err(EIO)));
        assert!(outcome.count(4096, Err(ENOMEM)));
        assert_eq!(outcome.result(), Err(EIO));
    }

    #[test]
    fn errors_that_end_it() {
        for err in [EINTR, ENODEV, ENOSPC] {
            let mut outcome = Outcome::default();

            assert!(!outcome.count(4096, Err(err)));
            assert_eq!(outcome.result(), Err(err));
        }
    }
}
