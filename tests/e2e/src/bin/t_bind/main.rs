// SPDX-License-Identifier: GPL-2.0 OR MIT
//! VM_BIND, synchronous. What is mapped afterwards is read from debugfs `gpuvas` and, where our
//! driver gives the root of the tables away, checked by the model's own walk of them.

mod args;
mod map;
mod split;
mod vm;

use args::{
    alignment, arrays, bad_flags, bad_handle, bad_sparse, bad_unmap, call_flags, huge_count,
    kernel_part, no_syncs, offsets, size_zero, strides,
};
use e2e::*;
use map::{
    blocks, makes_resident, map_flags, map_unmap, outlives_handle, pages, separate_vms, shared,
    sparse, sparse_huge, sparse_large,
};
use split::{block_splits, overlaps, random, unmap_splits};

fn main() -> std::process::ExitCode {
    ktap::run(cases![
        map_unmap,
        pages,
        offsets,
        alignment,
        size_zero,
        bad_handle,
        bad_flags,
        bad_unmap,
        no_syncs,
        map_flags,
        sparse,
        sparse_large,
        sparse_huge,
        bad_sparse,
        overlaps,
        unmap_splits,
        block_splits,
        blocks,
        arrays,
        strides,
        huge_count,
        separate_vms,
        shared,
        outlives_handle,
        makes_resident,
        call_flags,
        kernel_part,
        random,
    ])
}
