// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The pattern that the model knows too: word `i` of a buffer is `mix(seed + i)`.

use crate::sys::Map;

/// The mixing function of the control channel.
pub fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Fills a range of a mapping (offset and length in bytes, multiples of 8). Word 0 of the pattern
/// is at `off`.
pub fn fill_at(m: &Map, off: u64, len: u64, seed: u64) {
    let first = (off / 8) as usize;
    for i in 0..(len / 8) as usize {
        m.set(first + i, mix(seed.wrapping_add(i as u64)));
    }
}

/// Fills a whole mapping.
pub fn fill(m: &Map, seed: u64) {
    fill_at(m, 0, m.len() as u64, seed);
}

/// Checks a range; the complaint names the first wrong byte offset and how many words are wrong.
pub fn check_at(m: &Map, off: u64, len: u64, seed: u64) -> Result<(), String> {
    let first = (off / 8) as usize;
    let (mut bad, mut msg) = (0u64, String::new());
    for i in 0..(len / 8) as usize {
        let (got, want) = (m.get(first + i), mix(seed.wrapping_add(i as u64)));
        if got != want {
            if bad == 0 {
                msg = format!("offset {:#x}: {got:#x}, want {want:#x}", off + i as u64 * 8);
            }
            bad += 1;
        }
    }
    if bad == 0 {
        Ok(())
    } else {
        Err(format!("{bad} wrong words, first at {msg}"))
    }
}

/// Checks a whole mapping.
pub fn check(m: &Map, seed: u64) -> Result<(), String> {
    check_at(m, 0, m.len() as u64, seed)
}

/// Whether a range is all zero.
pub fn zero_at(m: &Map, off: u64, len: u64) -> Result<(), String> {
    for i in (off / 8) as usize..((off + len) / 8) as usize {
        if m.get(i) != 0 {
            return Err(format!("offset {:#x}: {:#x}, want 0", i * 8, m.get(i)));
        }
    }
    Ok(())
}

/// FNV-1a, 64 bits, over 8-byte words.
pub fn hash(m: &Map, off: u64, len: u64) -> u64 {
    let mut h = 0xcbf2_9ce4_8422_2325u64;
    for i in (off / 8) as usize..((off + len) / 8) as usize {
        h = (h ^ m.get(i)).wrapping_mul(0x100_0000_01b3);
    }
    h
}

/// A small generator for the race programs.
pub struct Rng(u64);

impl Rng {
    /// Starts at a seed.
    pub fn new(seed: u64) -> Self {
        Rng(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.draw() % n
    }
}
