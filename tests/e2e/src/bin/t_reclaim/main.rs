// SPDX-License-Identifier: GPL-2.0 OR MIT
//! `mem_reclaim` and `mem_claim`: what they do to memory.

mod calls;
mod gpu;
mod memory;
mod scale;
mod swap;
mod whose;

use calls::{tracepoints, two_writers};
use e2e::*;
use gpu::{
    gpu_side, parts_beside_others, reclaimed_while_idle, slot_restores, sparse, use_evicted,
};
use memory::{
    claim_restores, cpu_fault_restores, cycles, handles_closed_before, many_small,
    memory_comes_free, never_touched, only_mapped, twice,
};
use scale::parts_are_linear;
use swap::{
    claim_eio, claim_eio_goes_on, claim_enomem, reclaim_eio, reclaim_eio_goes_on, swap_full,
    swapoff_after,
};
use whose::{exported_and_imported_stay, foreign_shared_stays, named_stays};

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit 120;
        memory_comes_free,
        cpu_fault_restores,
        claim_restores,
        cycles,
        twice,
        foreign_shared_stays,
        exported_and_imported_stay,
        named_stays,
        swapoff_after,
        use_evicted,
        never_touched,
        handles_closed_before,
        only_mapped,
        sparse,
        many_small,
        gpu_side,
        reclaimed_while_idle,
        slot_restores,
        parts_beside_others,
        claim_eio,
        claim_eio_goes_on,
        reclaim_eio,
        reclaim_eio_goes_on,
        claim_enomem,
        swap_full,
        parts_are_linear,
        tracepoints,
        two_writers,
    ])
}
