// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Accesses of streams and of what they start.

use super::Context;
use crate::cs::env::{MemError, Memory};
use crate::mmu::access::AccessError;
use crate::mmu::fault::Kind;
use crate::ram::{Page, PAGE};

/// Where a byte is in its page.
fn offset(va: u64) -> usize {
    va as usize % PAGE
}

/// What should not be: an access beyond the page that was looked up.
const OUTSIDE: MemError = MemError::Off;

impl Context<'_> {
    /// Does something with the page of an address, in the present epoch.
    #[inline]
    fn page<R>(
        &mut self,
        va: u64,
        kind: Kind,
        f: impl FnOnce(&Page) -> Option<R>,
    ) -> Result<R, MemError> {
        if self.scene.gate.epoch() == self.epoch {
            if let Some(page) = self.cache.find(va, kind) {
                return f(page).ok_or(OUTSIDE);
            }
        }
        self.look_up(va, kind)?;
        self.cache.find(va, kind).and_then(f).ok_or(OUTSIDE)
    }

    /// Asks the MMU. While the device is held, no epoch begins.
    #[cold]
    fn look_up(&mut self, va: u64, kind: Kind) -> Result<(), MemError> {
        let (space, runner) = (self.space, self.runner);
        let mut result = Err(MemError::Off);
        let mut epoch = self.epoch;
        self.device.with(&mut |gpu| {
            epoch = gpu.env.gate.enter(runner);
            result = match gpu.mmu.access(&mut gpu.env, space, va, kind) {
                Ok(leaf) => {
                    let pa = leaf.pa + (va - leaf.va);
                    // `access` has seen that the page is memory.
                    gpu.env.ram.page(pa).ok_or(MemError::Off)
                }
                Err(AccessError::Off) => Err(MemError::Off),
                Err(AccessError::Locked) => Err(MemError::Locked),
                Err(AccessError::Fault { code, va, .. }) => Err(MemError::Fault { code, va }),
            };
        });
        if epoch != self.epoch {
            self.epoch = epoch;
            self.cache.clear();
            self.code = None;
        }
        self.cache.fill(va, kind, result?);
        Ok(())
    }

    fn read(&mut self, va: u64, to: &mut [u8], kind: Kind) -> Result<(), MemError> {
        let mut done = 0;
        while done < to.len() {
            let at = va.wrapping_add(done as u64);
            let piece = (PAGE - offset(at)).min(to.len() - done);
            let part = &mut to[done..done + piece];
            self.page(at, kind, |page| page.read(offset(at), part))?;
            done += piece;
        }
        Ok(())
    }
}

impl Memory for Context<'_> {
    #[inline]
    fn fetch(&mut self, va: u64) -> Result<u64, MemError> {
        // Only shaders need execute permission: the kernel maps its rings, and Mesa its streams,
        // without it.
        // Most are in the page of the one before.
        if let Some((number, page)) = &self.code {
            if *number == va / PAGE as u64 && self.scene.gate.epoch() == self.epoch {
                return page.load64(offset(va & !7)).ok_or(OUTSIDE);
            }
        }
        let page = self.page(va, Kind::Read, |page| Some(page.clone()))?;
        let word = page.load64(offset(va & !7)).ok_or(OUTSIDE);
        self.code = Some((va / PAGE as u64, page));
        word
    }

    fn load(&mut self, va: u64, to: &mut [u8]) -> Result<(), MemError> {
        self.read(va, to, Kind::Read)
    }

    fn store(&mut self, va: u64, from: &[u8]) -> Result<(), MemError> {
        let mut done = 0;
        while done < from.len() {
            let at = va.wrapping_add(done as u64);
            let piece = (PAGE - offset(at)).min(from.len() - done);
            let part = &from[done..done + piece];
            self.page(at, Kind::Write, |page| page.write(offset(at), part))?;
            done += piece;
        }
        Ok(())
    }

    fn atomic32(&mut self, va: u64, f: &mut dyn FnMut(u32) -> u32) -> Result<u32, MemError> {
        self.page(va, Kind::Write, |page| page.update32(offset(va & !3), f))
    }

    fn atomic64(&mut self, va: u64, f: &mut dyn FnMut(u64) -> u64) -> Result<u64, MemError> {
        self.page(va, Kind::Write, |page| page.update64(offset(va & !7), f))
    }

    fn load_exec(&mut self, va: u64, to: &mut [u8]) -> Result<(), MemError> {
        self.read(va, to, Kind::Execute)
    }

    #[inline]
    fn load32(&mut self, va: u64) -> Result<u32, MemError> {
        if va % 4 == 0 {
            return self.page(va, Kind::Read, |page| page.load32(offset(va)));
        }
        let mut bytes = [0; 4];
        self.load(va, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    #[inline]
    fn load64(&mut self, va: u64) -> Result<u64, MemError> {
        if va % 8 == 0 {
            return self.page(va, Kind::Read, |page| page.load64(offset(va)));
        }
        let mut bytes = [0; 8];
        self.load(va, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    #[inline]
    fn store32(&mut self, va: u64, value: u32) -> Result<(), MemError> {
        if va % 4 == 0 {
            return self.page(va, Kind::Write, |page| page.store32(offset(va), value));
        }
        self.store(va, &value.to_le_bytes())
    }

    #[inline]
    fn store64(&mut self, va: u64, value: u64) -> Result<(), MemError> {
        if va % 8 == 0 {
            return self.page(va, Kind::Write, |page| page.store64(offset(va), value));
        }
        self.store(va, &value.to_le_bytes())
    }
}
