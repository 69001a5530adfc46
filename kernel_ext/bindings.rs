// SPDX-License-Identifier: GPL-2.0 OR MIT

//! C bindings: all of `kernel::bindings`, and the items of the module's own bindgen run.

#![allow(
    clippy::all,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]

pub(crate) use kernel::bindings::*;

/// The generated items, see `bindgen_parameters`.
mod generated {
    #![allow(warnings)]
    include!(env!("PANTHOR_BINDINGS"));
}
pub(crate) use generated::*;
