// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Memory for operations, set aside before their lock is taken.

use super::{ops::Va, DriverGpuVm, Reserve};
use kernel::prelude::*;

/// How much of a [`Prealloc`] an operation needs at the most.
#[derive(Clone, Copy)]
pub(super) struct Demand {
    /// Mappings.
    pub(super) vas: usize,
    /// Of the driver's reserve.
    pub(super) reserve: usize,
}

/// The most that [`DriverGpuVm::demand_of_cut`] may say: a block becomes a table of pages.
const MOST_FOR_A_CUT: usize = 1;

impl Demand {
    pub(super) const NOTHING: Self = Self { vas: 0, reserve: 0 };
    /// The most for both ends of a range.
    pub(super) const TWO_CUTS: Self = Self {
        vas: 2,
        reserve: 2 * MOST_FOR_A_CUT,
    };

    /// Both.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            vas: self.vas + other.vas,
            reserve: self.reserve + other.reserve,
        }
    }
}

/// What operations may need, set aside while the operation lock is not held. What one leaves, or
/// gives back, is there for the next.
pub(super) struct Prealloc<T: DriverGpuVm> {
    /// At the most a new mapping, and one for each end of the range where an old one may be cut.
    pub(super) vas: [Option<KBox<Va<T>>>; 3],
    /// The driver's part.
    pub(super) reserve: T::Reserve,
}

impl<T: DriverGpuVm> Prealloc<T> {
    /// Nothing.
    pub(super) fn new() -> Self {
        Self {
            vas: [None, None, None],
            reserve: T::Reserve::default(),
        }
    }

    /// Whether there is as much as that.
    pub(super) fn has(&self, demand: Demand) -> bool {
        self.vas.iter().flatten().count() >= demand.vas && self.reserve.len() >= demand.reserve
    }

    /// Sees to it that there is as much as that. `ENOMEM`, `EINTR`.
    pub(super) fn fill(&mut self, demand: Demand) -> Result {
        if self.vas.iter().flatten().count() < demand.vas {
            // All of them, so that the next ones find enough for any ends.
            for va in self.vas.iter_mut().filter(|va| va.is_none()) {
                *va = Some(KBox::new(Va::unused(), GFP_KERNEL_ACCOUNT)?);
            }
        }
        self.reserve.fill(demand.reserve)
    }

    /// Takes a mapping out.
    pub(super) fn take_va(vas: &mut [Option<KBox<Va<T>>>; 3]) -> Result<KBox<Va<T>>> {
        vas.iter_mut().find_map(Option::take).ok_or(EINVAL)
    }

    /// Keeps a mapping that is used no more, if there is room.
    pub(super) fn put_va(vas: &mut [Option<KBox<Va<T>>>; 3], mut va: KBox<Va<T>>) {
        if let Some(place) = vas.iter_mut().find(|va| va.is_none()) {
            *va = Va::unused();
            *place = Some(va);
        }
    }
}
