// SPDX-License-Identifier: GPL-2.0 OR MIT

//! [`Env`] over plain memory: for tests, fuzzing and measurements.

use super::env::{Env, FlushModes, MemError, Memory, Oddity, Scope, Work};
use super::rng::Rng;
use std::collections::BTreeMap;
use std::ops::Range;

/// An environment whose memory is an array at an address, and whose time goes on by a step each time
/// somebody looks at it.
#[derive(Clone, Debug)]
pub struct Flat {
    /// Address of the first byte.
    pub base: u64,
    /// Contents.
    pub memory: Vec<u8>,
    /// What cannot be written.
    pub read_only: Range<u64>,
    /// What is locked by an address space command.
    pub locked: Range<u64>,
    /// The address space is gone.
    pub off: bool,
    /// Nanoseconds.
    pub time: u64,
    /// What each look at the time adds.
    pub step: u64,
    /// Nanoseconds that work takes, at least.
    pub delay: u64,
    /// And at most that much more, at random.
    pub spread: u64,
    /// Randomness.
    pub rng: Rng,
    /// LATEST_FLUSH_ID.
    pub flush_id: u32,
    /// Flushes that took effect.
    pub flushes: Vec<FlushModes>,
    /// Sync objects that were written.
    pub synced: Vec<(Scope, u64)>,
    /// Heap that a RUN_IDVS takes.
    pub tiler_bytes: u32,
    /// Progress of the other streams.
    pub progress: Vec<u64>,
    /// What was counted.
    pub odd: BTreeMap<&'static str, u64>,
    /// Nothing is remembered in `flushes`, `synced` and `odd`: for long runs.
    pub forget: bool,
    /// The stream must give up.
    pub stopping: bool,
}

impl Flat {
    /// Zeroed memory.
    pub fn new(base: u64, len: usize) -> Self {
        Self {
            base,
            memory: vec![0; len],
            read_only: 0..0,
            locked: 0..0,
            off: false,
            time: 0,
            step: 10,
            delay: 100,
            spread: 0,
            rng: Rng::new(0),
            flush_id: 1,
            flushes: Vec::new(),
            synced: Vec::new(),
            tiler_bytes: 4096,
            progress: Vec::new(),
            odd: BTreeMap::new(),
            forget: false,
            stopping: false,
        }
    }

    /// Writes double words.
    ///
    /// # Panics
    ///
    /// If they are not in memory.
    pub fn put(&mut self, va: u64, words: &[u64]) {
        for (n, word) in words.iter().enumerate() {
            self.store64(va + 8 * n as u64, *word).expect("in memory");
        }
    }

    /// Reads a double word.
    ///
    /// # Panics
    ///
    /// If it is not in memory.
    pub fn get(&mut self, va: u64) -> u64 {
        self.load64(va).expect("in memory")
    }

    /// How often something was counted.
    pub fn odd(&self, name: &str) -> u64 {
        self.odd.get(name).copied().unwrap_or(0)
    }

    #[inline]
    fn at(&self, va: u64, len: usize, write: bool) -> Result<usize, MemError> {
        let fault = MemError::Fault { code: 0xc3, va };
        let offset = va.wrapping_sub(self.base);
        let end = offset.checked_add(len as u64).ok_or(fault)?;
        if self.off {
            return Err(MemError::Off);
        }
        if self.locked.start < va.saturating_add(len as u64) && va < self.locked.end {
            return Err(MemError::Locked);
        }
        if end > self.memory.len() as u64 {
            return Err(fault);
        }
        let ro = &self.read_only;
        if write && ro.start < va.saturating_add(len as u64) && va < ro.end {
            return Err(MemError::Fault { code: 0xcb, va });
        }
        Ok(offset as usize)
    }
}

impl Memory for Flat {
    #[inline]
    fn fetch(&mut self, va: u64) -> Result<u64, MemError> {
        self.load64(va)
    }

    #[inline]
    fn load(&mut self, va: u64, to: &mut [u8]) -> Result<(), MemError> {
        let at = self.at(va, to.len(), false)?;
        to.copy_from_slice(&self.memory[at..at + to.len()]);
        Ok(())
    }

    #[inline]
    fn store(&mut self, va: u64, from: &[u8]) -> Result<(), MemError> {
        let at = self.at(va, from.len(), true)?;
        self.memory[at..at + from.len()].copy_from_slice(from);
        Ok(())
    }

    fn atomic32(&mut self, va: u64, f: &mut dyn FnMut(u32) -> u32) -> Result<u32, MemError> {
        let old = self.load32(va)?;
        self.store32(va, f(old))?;
        Ok(old)
    }

    fn atomic64(&mut self, va: u64, f: &mut dyn FnMut(u64) -> u64) -> Result<u64, MemError> {
        let old = self.load64(va)?;
        self.store64(va, f(old))?;
        Ok(old)
    }
}

impl Env for Flat {
    fn now(&mut self) -> u64 {
        self.time = self.time.saturating_add(self.step);
        self.time
    }

    fn timestamp(&mut self) -> u64 {
        self.now() / 40 + 1
    }

    fn cycles(&mut self) -> u64 {
        self.now() + 1
    }

    fn latest_flush_id(&mut self) -> u32 {
        self.flush_id
    }

    fn flush(&mut self, modes: FlushModes) {
        self.flush_id = self.flush_id.wrapping_add(1) & 0xff_ffff;
        if !self.forget {
            self.flushes.push(modes);
        }
    }

    fn delay(&mut self, _work: Work) -> u64 {
        self.delay + self.rng.below(self.spread)
    }

    fn pick(&mut self, n: u32) -> u32 {
        self.rng.below(n.into()) as u32
    }

    fn sync_written(&mut self, scope: Scope, va: u64) {
        if !self.forget {
            self.synced.push((scope, va));
        }
    }

    fn tiler_bytes(&mut self) -> u32 {
        self.tiler_bytes
    }

    fn progress(&mut self, stream: u8) -> Option<u64> {
        self.progress.get(usize::from(stream)).copied()
    }

    fn odd(&mut self, what: Oddity) {
        if !self.forget {
            *self.odd.entry(what.name()).or_default() += 1;
        }
    }

    fn stopping(&mut self) -> bool {
        self.stopping
    }
}
