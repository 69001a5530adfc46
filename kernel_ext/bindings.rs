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

// `rust/helpers` has these only where DRM is built in.
#[cfg(not(CONFIG_DRM = "y"))]
pub(crate) use generated::{
    kx_drm_gem_object_get as drm_gem_object_get, kx_drm_gem_object_put as drm_gem_object_put,
    kx_drm_vma_node_offset_addr as drm_vma_node_offset_addr,
};

// And this one where some other driver in Rust wants it.
#[cfg(not(CONFIG_RUST_DRM_GPUVM))]
pub(crate) use generated::kx_drm_gpuvm_get as drm_gpuvm_get;
