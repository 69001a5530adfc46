// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The uAPI of this driver, whose structures are plain data.
//!
//! `kernel::uapi` has the same, but does not say that they may be read and written as bytes. Here
//! bindgen lets `zerocopy` derive it, which refuses what has padding that is not named.
//!
//! C header: [`include/uapi/drm/panthor_drm.h`](srctree/include/uapi/drm/panthor_drm.h)

/// The generated items, see `PANTHOR_UAPI` in `Kbuild`.
mod generated {
    #![allow(warnings)]
    include!(env!("PANTHOR_UAPI"));
}
pub(crate) use generated::*;
