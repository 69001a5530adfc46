// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Integer arithmetic on words, halves, bytes and pairs of words.

use crate::shader::isa::decode::Part;
use crate::shader::isa::op::{Combine, Int, Logic};

/// Width of a lane and whether it is signed.
pub fn shape(int: Int) -> (u32, bool) {
    match int {
        Int::U32 => (32, false),
        Int::S32 => (32, true),
        Int::U16 => (16, false),
        Int::S16 => (16, true),
        Int::U8 => (8, false),
        Int::S8 => (8, true),
        Int::U64 => (64, false),
        Int::S64 => (64, true),
    }
}

/// A lane of a word, extended.
fn lane(word: u32, at: u32, bits: u32, signed: bool) -> i64 {
    let value = word >> at;
    match (bits, signed) {
        (8, false) => i64::from(value as u8),
        (8, true) => i64::from(value as i8),
        (16, false) => i64::from(value as u16),
        (16, true) => i64::from(value as i16),
        (_, false) => i64::from(value),
        (_, true) => i64::from(value as i32),
    }
}

/// Applies a function to each lane of two words.
pub fn zip(int: Int, a: u32, b: u32, f: impl Fn(i64, i64) -> i64) -> u32 {
    let (bits, signed) = shape(int);
    match bits {
        8 | 16 => {
            let mut out = 0;
            let mut at = 0;
            while at < 32 {
                let value = f(lane(a, at, bits, signed), lane(b, at, bits, signed));
                out |= (value as u32 & ((1 << bits) - 1)) << at;
                at += bits;
            }
            out
        }
        _ => f(lane(a, 0, 32, signed), lane(b, 0, 32, signed)) as u32,
    }
}

/// Clamps to what a lane can hold.
pub fn saturate(int: Int, value: i64) -> i64 {
    let (bits, signed) = shape(int);
    if bits == 64 {
        value
    } else if signed {
        let top = 1i64 << (bits - 1);
        value.clamp(-top, top - 1)
    } else {
        value.clamp(0, (1i64 << bits) - 1)
    }
}

/// A part of a word as a source of 32 bits.
#[inline]
pub fn part32(word: u32, part: Part, signed: bool) -> u32 {
    match part {
        Part::Half(n) => {
            let half = word >> (16 * u32::from(n & 1));
            if signed {
                half as i16 as u32
            } else {
                half as u16 as u32
            }
        }
        Part::Byte(n) => {
            let byte = word >> (8 * u32::from(n & 3));
            if signed {
                byte as i8 as u32
            } else {
                byte as u8 as u32
            }
        }
        _ => word,
    }
}

/// A part of a word as two lanes of 16 bits.
#[inline]
pub fn part16(word: u32, part: Part, signed: bool) -> u32 {
    let half = |n: u8| word >> (16 * u32::from(n & 1)) & 0xffff;
    let byte = |n: u8| {
        let byte = word >> (8 * u32::from(n & 3));
        if signed {
            u32::from(byte as i8 as u16)
        } else {
            u32::from(byte as u8)
        }
    };
    match part {
        Part::Halves(low, high) => half(low) | half(high) << 16,
        Part::Bytes(low, high) => byte(low) | byte(high) << 16,
        Part::Half(n) => half(n) | half(n) << 16,
        _ => word,
    }
}

/// A part of a word as four lanes of 8 bits.
#[inline]
pub fn part8(word: u32, part: Part) -> u32 {
    match part {
        Part::Four(order) => {
            let bytes = word.to_le_bytes();
            u32::from_le_bytes(order.map(|n| bytes[usize::from(n & 3)]))
        }
        _ => word,
    }
}

/// Shifts each lane and combines it with another word.
#[derive(Clone, Copy, Debug)]
pub struct Shift {
    /// To the left.
    pub left: bool,
    /// Fills with the sign.
    pub arithmetic: bool,
    /// What follows.
    pub logic: Logic,
    /// Inverts the result.
    pub not: bool,
}

impl Shift {
    /// For lanes of `bits` bits. `amount` is one byte, or the byte of each half.
    pub fn word(self, bits: u32, a: u32, amount: [u32; 4], b: u32) -> u32 {
        let mut shifted = 0;
        let mut at = 0;
        while at < 32 {
            let amount = amount[(at / bits) as usize & 3] & (bits - 1);
            let value = if self.left {
                (lane(a, at, bits, false) as u32).wrapping_shl(amount)
            } else {
                (lane(a, at, bits, self.arithmetic) >> amount) as u32
            };
            shifted |= if bits == 32 {
                value
            } else {
                (value & ((1 << bits) - 1)) << at
            };
            at += bits;
        }
        self.finish(shifted.into(), b.into()) as u32
    }

    /// For pairs.
    pub fn pair(self, a: u64, amount: u32, b: u64) -> u64 {
        let amount = amount & 63;
        let shifted = if self.left {
            a << amount
        } else if self.arithmetic {
            (a as i64 >> amount) as u64
        } else {
            a >> amount
        };
        self.finish(shifted, b)
    }

    fn finish(self, shifted: u64, b: u64) -> u64 {
        let value = match self.logic {
            Logic::And => shifted & b,
            Logic::Or => shifted | b,
            Logic::Xor => shifted ^ b,
        };
        if self.not {
            !value
        } else {
            value
        }
    }
}

/// Whether a condition holds. Codes 6 and 7 are for floats.
#[inline]
pub fn holds<T: PartialOrd>(condition: u32, a: T, b: T) -> bool {
    match condition {
        0 => a == b,
        1 => a > b,
        2 => a >= b,
        3 => a != b,
        4 => a < b,
        5 => a <= b,
        6 => a.partial_cmp(&b).is_some_and(std::cmp::Ordering::is_ne),
        _ => a.partial_cmp(&b).is_some(),
    }
}

/// What a comparison gives, for lanes of `bits` bits: `result` as the field encodes it.
pub fn truth(result: u32, bits: u32) -> u32 {
    match (result, bits) {
        (0 | 3, _) => 1,
        (1, 16) => 0x3c00,
        (1, 32) => 0x3f80_0000,
        (1, _) => 1,
        (_, 32) => u32::MAX,
        (_, bits) => (1 << bits) - 1,
    }
}

/// Compares each lane and combines.
pub fn compare(
    int: Int,
    condition: u32,
    result: u32,
    combine: Combine,
    a: u32,
    b: u32,
    c: u32,
) -> u32 {
    let (bits, signed) = shape(int);
    let truth = truth(result, bits);
    let mut out = 0;
    let mut at = 0;
    while at < 32 {
        let (x, y) = (lane(a, at, bits, signed), lane(b, at, bits, signed));
        let value = if holds(condition, x, y) { truth } else { 0 };
        out |= value << at;
        at += bits;
    }
    match combine {
        Combine::Or => out | c,
        Combine::And => out & c,
        Combine::Multi => multi(int, condition, result, a, b, c),
    }
}

/// One half of a comparison of pairs. The low half (result `u1`) passes on how it came out: bit 0
/// is the condition, bit 1 equality. The high half decides, or between equals the low one did.
fn multi(int: Int, condition: u32, result: u32, a: u32, b: u32, c: u32) -> u32 {
    let signed = shape(int).1;
    let (x, y) = (lane(a, 0, 32, signed), lane(b, 0, 32, signed));
    if result == 3 {
        return u32::from(holds(condition, x, y)) | u32::from(x == y) << 1;
    }
    let low = c & 1 != 0;
    let low_equal = c & 2 != 0;
    let holds = match condition {
        0 => x == y && low_equal,
        3 => x != y || !low_equal,
        _ if x == y => low,
        _ => holds(condition, x, y),
    };
    if holds {
        truth(result, 32)
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_do_not_touch_each_other() {
        let sum = |int, a, b| zip(int, a, b, |x, y| x + y);
        assert_eq!(sum(Int::U16, 0x0001_ffff, 0x0001_0001), 0x0002_0000);
        assert_eq!(sum(Int::U8, 0x01ff_ff01, 0x0101_0101), 0x0200_0002);
        let sat = |int, a, b| zip(int, a, b, |x, y| saturate(int, x + y));
        assert_eq!(sat(Int::S8, 0x7f80_0102, 0x01ff_0101), 0x7f80_0203);
        assert_eq!(sat(Int::U32, u32::MAX, 1), u32::MAX);
    }

    #[test]
    fn shifts() {
        let shift = Shift {
            left: false,
            arithmetic: true,
            logic: Logic::Or,
            not: false,
        };
        assert_eq!(shift.word(32, 0x8000_0000, [4; 4], 1), 0xf800_0001);
        assert_eq!(shift.word(16, 0x8000_7000, [4; 4], 0), 0xf800_0700);
        assert_eq!(shift.pair(1 << 63, 63, 0), u64::MAX);
        let left = Shift {
            left: true,
            ..shift
        };
        assert_eq!(
            left.word(32, 3, [33; 4], 0),
            6,
            "the amount is taken modulo 32"
        );
    }

    #[test]
    fn pairs_are_compared_in_two_steps() {
        let cases = [
            0u64,
            1,
            1 << 32,
            u64::MAX,
            1 << 63,
            (1 << 63) - 1,
            5 << 32 | 7,
        ];
        for a in cases {
            for b in cases {
                for condition in 0..6 {
                    let (al, ah, bl, bh) = (a as u32, (a >> 32) as u32, b as u32, (b >> 32) as u32);
                    let low = compare(Int::U32, condition, 3, Combine::Multi, al, bl, 0);
                    let got = compare(Int::S32, condition, 2, Combine::Multi, ah, bh, low);
                    assert_eq!(got != 0, holds(condition, a as i64, b as i64));
                }
            }
        }
    }
}
