// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The platform device and its attributes.

use crate::drm::Dev;
use crate::ktap::{Fail, Res};
use crate::sys::{self, wait_for, Result};
use crate::*;
use std::path::PathBuf;
use std::time::Duration;

/// The folder of the platform driver.
pub const DRIVER: &str = "/sys/bus/platform/drivers/panthor";

/// The device's name, such as `fb000000.gpu`; from the driver's folder.
pub fn device() -> Result<String> {
    for e in std::fs::read_dir(DRIVER)?.flatten() {
        let n = e.file_name().to_string_lossy().into_owned();
        if n.ends_with(".gpu") {
            return Ok(n);
        }
    }
    Err(sys::ENODEV)
}

/// The path of one of the device's attributes.
pub fn attr(name: &str) -> Result<PathBuf> {
    Ok(PathBuf::from(DRIVER).join(device()?).join(name))
}

/// Skips the case where the driver has no such attribute.
pub fn need(name: &str) -> Res<PathBuf> {
    let p = attr(name)?;
    if p.exists() {
        return Ok(p);
    }
    match crate::ktap::driver() {
        crate::ktap::Driver::Rust => Err(Fail::Fail(format!("no {}", p.display()))),
        _ => Err(Fail::Skip(format!("{name}: only in the Rust driver"))),
    }
}

/// Writes exactly these bytes to `mem_reclaim`, in one `write()`.
pub fn reclaim_raw(b: &[u8]) -> Result<usize> {
    sys::write_once(attr("mem_reclaim")?, b)
}

/// Writes exactly these bytes to `mem_claim`, in one `write()`.
pub fn claim_raw(b: &[u8]) -> Result<usize> {
    sys::write_once(attr("mem_claim")?, b)
}

fn whole(n: Result<usize>, len: usize) -> Result<()> {
    match n {
        Ok(n) if n == len => Ok(()),
        Ok(_) => Err(sys::EIO),
        Err(e) => Err(e),
    }
}

/// Reclaims the memory of a TGID.
pub fn reclaim(tgid: i32) -> Result<()> {
    let s = format!("{tgid}\n");
    whole(reclaim_raw(s.as_bytes()), s.len())
}

/// Claims the memory of a TGID.
pub fn claim(tgid: i32) -> Result<()> {
    let s = format!("{tgid}\n");
    whole(claim_raw(s.as_bytes()), s.len())
}

/// Unbinds the driver from the device.
pub fn unbind(dev: &str) -> Result<()> {
    sys::write_once(format!("{DRIVER}/unbind"), dev.as_bytes()).map(|_| ())
}

/// Binds the driver to the device.
pub fn bind(dev: &str) -> Result<()> {
    sys::write_once(format!("{DRIVER}/bind"), dev.as_bytes()).map(|_| ())
}

/// The device's name; bound again when dropped.
pub struct Bound(pub String);

impl Bound {
    /// Finds it.
    pub fn new() -> Res<Bound> {
        if let Ok(n) = device() {
            return Ok(Bound(n));
        }
        // A case before this one was cut off while the driver was unbound.
        for e in std::fs::read_dir("/sys/bus/platform/devices")
            .map_err(|e| e.to_string())?
            .flatten()
        {
            let n = e.file_name().to_string_lossy().into_owned();
            if n.ends_with(".gpu") {
                drop(Bound(n.clone()));
                return Ok(Bound(n));
            }
        }
        fail!("no device")
    }

    /// Unbinds the driver: there is no render node after that.
    pub fn unbind(&self) -> Res {
        ok!(unbind(&self.0));
        err!(Dev::open().map(|_| ()), sys::ENODEV);
        Ok(())
    }

    /// Binds the driver again: there is a render node after that.
    pub fn bind(&self) -> Res {
        ok!(bind(&self.0));
        let there = wait_for(Duration::from_secs(10), || Dev::open().is_ok());
        check!(there, "no render node after bind");
        Ok(())
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if device().is_err() {
            let _ = bind(&self.0);
            wait_for(Duration::from_secs(10), || Dev::open().is_ok());
        }
    }
}
