// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What the programs of this folder share: real clients of the driver, on Debian's Mesa.

pub mod vulkan;

/// Words that look random, the same each time.
pub fn words(seed: u32, n: usize) -> Vec<u32> {
    let mut x = seed | 1;
    (0..n)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            x
        })
        .collect()
}

/// The first place at which two slices differ, in words.
pub fn differ<T: PartialEq + std::fmt::Debug>(got: &[T], want: &[T]) -> Option<String> {
    if got.len() != want.len() {
        return Some(format!("{} elements, want {}", got.len(), want.len()));
    }
    let at = got.iter().zip(want).position(|(a, b)| a != b)?;
    let wrong = got.iter().zip(want).filter(|(a, b)| a != b).count();
    Some(format!(
        "element {at} is {:x?}, want {:x?} ({wrong} of {} are wrong)",
        got[at],
        want[at],
        got.len()
    ))
}
