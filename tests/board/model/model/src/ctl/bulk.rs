// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Long accesses of the GPU, in pieces, so that the guest does not wait for them.

use crate::device::Gpu;
use crate::mmu::access::AccessError;
use crate::mmu::fault::Kind;
use crate::mmu::walk::Leaf;
use crate::shared::Shared;
use std::time::{Duration, Instant};

/// Bytes accessed before the lock is given up.
const PIECE: u64 = 64 << 10;
/// How long an access may be stalled by a locked region.
const STALL_LIMIT: Duration = Duration::from_secs(2);

/// The pattern of `fill` and `check`.
pub fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// FNV-1a over double words.
pub fn fnv_word(hash: u64, word: u64) -> u64 {
    (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3)
}

/// Start value of [`fnv_word`].
pub const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// The text of an access that did not happen.
pub fn error_text(error: AccessError) -> String {
    match error {
        AccessError::Off => "no such address space, or the L2 is off".into(),
        AccessError::Locked => "region locked".into(),
        AccessError::Fault { code, level, va } => {
            format!("fault {code:#x} level {level} va {va:#x}")
        }
    }
}

/// Accesses `[va, va + len)` in an address space. `f` gets the device, a physical address, the
/// offset in the range and a number of bytes within one page or block; it ends the run by `false`.
pub fn for_each(
    shared: &Shared,
    n: usize,
    (va, len): (u64, u64),
    kind: Kind,
    mut f: impl FnMut(&mut Gpu, u64, u64, usize) -> bool,
) -> Result<(), String> {
    let mut done = 0;
    let mut stalled_since: Option<Instant> = None;
    while done < len {
        let piece = shared.inspect(|gpu| -> Result<Option<u64>, AccessError> {
            let mut piece = 0;
            while done + piece < len && piece < PIECE {
                let at = va.wrapping_add(done + piece);
                let access = gpu.mmu.access(&mut gpu.env, n, at, kind);
                let leaf: Leaf = match access {
                    Ok(leaf) => leaf,
                    // What was done before the stall stays done.
                    Err(AccessError::Locked) if piece > 0 => break,
                    Err(error) => return Err(error),
                };
                let inside = at - leaf.va;
                let mut bytes = (leaf.size - inside)
                    .min(len - done - piece)
                    .min(PIECE - piece);
                if !gpu.env.ram.contains(leaf.pa + inside, bytes as usize) {
                    // `access` has looked at the first page only.
                    bytes = bytes.min(4096 - at % 4096);
                }
                if !f(gpu, leaf.pa + inside, done + piece, bytes as usize) {
                    return Ok(None);
                }
                piece += bytes;
            }
            Ok(Some(piece))
        });
        match piece {
            Ok(Some(bytes)) => {
                done += bytes;
                stalled_since = None;
            }
            Ok(None) => return Ok(()),
            Err(AccessError::Locked) => {
                let since = *stalled_since.get_or_insert_with(Instant::now);
                if since.elapsed() > STALL_LIMIT {
                    return Err(error_text(AccessError::Locked));
                }
                shared.wait_unlock(Duration::from_millis(1));
            }
            Err(error) => return Err(error_text(error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_the_agreed_ones() {
        assert_eq!(mix(0), 0);
        assert_eq!(mix(1), 0x5692_161d_100b_05e5);
        let hash = [1u64, 2].into_iter().fold(FNV_START, fnv_word);
        let first = (0xcbf2_9ce4_8422_2325u64 ^ 1).wrapping_mul(0x100_0000_01b3);
        assert_eq!(hash, (first ^ 2).wrapping_mul(0x100_0000_01b3));
    }
}
