// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The twelve faults of the first proposal of `mem_reclaim` and `mem_claim` (a series for the C
//! driver, never merged): a case for each, named after it, that fails where the fault is.
//! `tests/mutants` puts each of them back.

mod answers;
mod memory;
mod vms;
mod waits;

use answers::{claim_errors_swallowed, success_without_swap, tgids_of_the_initial_namespace};
use e2e::*;
use memory::{nothing_freed, scan_spills_over, shared_and_unmapped_left_out, sizes_in_gpu_pages};
use vms::{shared_not_claimed, vm_xarray_without_its_lock, vms_without_a_reference};
use waits::{filelist_mutex_during_swap_io, uninterruptible_wait_per_buffer};

fn main() -> std::process::ExitCode {
    ktap::run(cases![
        filelist_mutex_during_swap_io,
        vm_xarray_without_its_lock,
        vms_without_a_reference,
        claim_errors_swallowed,
        scan_spills_over,
        nothing_freed,
        sizes_in_gpu_pages,
        success_without_swap,
        uninterruptible_wait_per_buffer,
        tgids_of_the_initial_namespace,
        shared_and_unmapped_left_out,
        shared_not_claimed,
    ])
}
