// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Two drivers that take turns with one device.

use e2e::sys::{self, Errno};
use e2e::{Dev, Fail, Res};
use std::fmt;
use std::time::Duration;

/// A driver of the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// Ours.
    Rust,
    /// The kernel's.
    C,
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Driver::Rust => "rust",
            Driver::C => "c",
        })
    }
}

impl Driver {
    fn module(self) -> &'static str {
        match self {
            Driver::Rust => "panthor_rs",
            Driver::C => "panthor",
        }
    }
}

/// A driver that is loaded, until this is dropped.
pub struct Loaded(Driver);

impl Loaded {
    /// Loads a driver and waits for its render node.
    pub fn new(driver: Driver) -> Res<Loaded> {
        let m = driver.module();
        sys::insmod(&format!("/lib/modules/{m}.ko")).map_err(|e| format!("insmod {m}: {e}"))?;
        let l = Loaded(driver);
        if !sys::wait_for(Duration::from_secs(20), || Dev::open().is_ok()) {
            return Err(Fail::Fail(format!("{m}: no render node")));
        }
        Ok(l)
    }

    /// Unloads it. What was closed last may still be on its way.
    pub fn unload(self) -> Res {
        let m = self.0.module();
        std::mem::forget(self);
        let mut last = Errno(0);
        if sys::wait_for(Duration::from_secs(10), || match sys::rmmod(m) {
            Ok(()) => true,
            Err(e) => {
                last = e;
                false
            }
        }) {
            return Ok(());
        }
        Err(Fail::Fail(format!("rmmod {m}: {last}")))
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let _ = sys::rmmod(self.0.module());
    }
}
