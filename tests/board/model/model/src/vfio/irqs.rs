// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The eventfds of the MSI-X vectors.

use crate::irq::{IrqSink, Line};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

/// Vectors, filled by QEMU and fired by the device.
#[derive(Clone, Debug, Default)]
pub struct Vectors(Arc<Mutex<[Option<OwnedFd>; Line::COUNT]>>);

impl Vectors {
    /// Sets or clears `count` vectors from `start` on.
    pub fn set(&self, start: u32, count: u32, fds: Vec<OwnedFd>) {
        let mut vectors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fds = fds.into_iter();
        let end = start.saturating_add(count).min(Line::COUNT as u32);
        for vector in start..end {
            vectors[vector as usize] = fds.next();
        }
    }

    /// Clears all vectors.
    pub fn clear(&self) {
        self.set(0, Line::COUNT as u32, Vec::new());
    }
}

impl IrqSink for Vectors {
    fn fire(&self, line: Line) {
        let vectors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fd) = &vectors[line as usize] {
            // A full counter means that QEMU will look anyway.
            let _ = rustix::io::write(fd, &1u64.to_ne_bytes());
        }
    }
}
