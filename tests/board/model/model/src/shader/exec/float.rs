// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Floating point, conversions and special functions.
//!
//! Sums, products, quotients and roots are correctly rounded. Hardware approximates some special
//! functions; the model gives the nearest float instead.

use super::half::{fma, from16, pow2, to16, to32, Round};
use crate::shader::isa::decode::Part;
use crate::shader::isa::op::{Convert, Special};

/// What happens to numbers too small to be normal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flush {
    /// 32-bit ones are zero.
    pub f32: bool,
    /// 16-bit ones are zero.
    pub f16: bool,
}

impl Flush {
    /// Applied to a 32-bit float.
    #[inline]
    pub fn word(self, bits: u32) -> u32 {
        if self.f32 && bits & 0x7f80_0000 == 0 {
            bits & 0x8000_0000
        } else {
            bits
        }
    }

    /// Applied to a 16-bit float.
    #[inline]
    pub fn half(self, bits: u16) -> u16 {
        if self.f16 && bits & 0x7c00 == 0 {
            bits & 0x8000
        } else {
            bits
        }
    }
}

/// A 32-bit float source: the word or one of its halves, then absolute value, then sign.
#[inline]
pub fn source32(word: u32, part: Part, neg: bool, abs: bool) -> u32 {
    let mut bits = match part {
        Part::Half(n) => {
            let half = (word >> (16 * u32::from(n & 1))) as u16;
            (from16(half) as f32).to_bits()
        }
        _ => word,
    };
    if abs {
        bits &= 0x7fff_ffff;
    }
    if neg {
        bits ^= 0x8000_0000;
    }
    bits
}

/// The same for two 16-bit floats.
#[inline]
pub fn source16(word: u32, neg: bool, abs: bool) -> u32 {
    let mut bits = word;
    if abs {
        bits &= 0x7fff_7fff;
    }
    if neg {
        bits ^= 0x8000_8000;
    }
    bits
}

/// The smaller of two: the other one if one is not a number, and -0 below 0.
pub fn min(a: f64, b: f64) -> f64 {
    if a.is_nan() || b < a || b == a && b.is_sign_negative() {
        b
    } else {
        a
    }
}

/// The larger of two.
pub fn max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b > a || b == a && a.is_sign_negative() {
        b
    } else {
        a
    }
}

/// The clamp of a result, as the field encodes it.
pub fn clamp(x: f64, mode: u64) -> f64 {
    match mode & 3 {
        0 => x,
        1 => max(x, 0.0),
        2 => min(max(x, -1.0), 1.0),
        _ => min(max(x, 0.0), 1.0),
    }
}

/// Applies a function to both halves of a word.
pub fn halves(word: u32, f: impl Fn(u16) -> u16) -> u32 {
    u32::from(f(word as u16)) | u32::from(f((word >> 16) as u16)) << 16
}

/// Applies a function of numbers to both halves of up to three words.
pub fn zip16(flush: Flush, words: [u32; 3], round: Round, f: impl Fn([f64; 3]) -> f64) -> u32 {
    let half = |shift: u32| {
        let x = words.map(|word| from16(flush.half((word >> shift) as u16)));
        u32::from(flush.half(to16(f(x), round))) << shift
    };
    half(0) | half(16)
}

/// Fraction and exponent of a number: `frexp` of C.
fn frexp(x: f64) -> (f64, i32) {
    let x = x + 0.0;
    if x == 0.0 || !x.is_finite() {
        return (x, 0);
    }
    let exponent = (x.to_bits() >> 52 & 0x7ff) as i32 - 1022;
    // Halves and floats are normal here.
    (
        f64::from_bits(x.to_bits() & !(0x7ff << 52) | 1022 << 52),
        exponent,
    )
}

/// The argument reduction of logarithms: a fraction from 0.75 up to 1.5.
fn reduce_log(x: f64) -> (f64, i32) {
    let (fraction, exponent) = frexp(x);
    if fraction.abs() < 0.75 && fraction != 0.0 && x.is_finite() {
        (fraction * 2.0, exponent - 1)
    } else {
        (fraction, exponent)
    }
}

/// The argument reduction of square roots: an even exponent.
fn reduce_sqrt(x: f64) -> (f64, i32) {
    let (fraction, exponent) = frexp(x);
    if exponent & 1 != 0 {
        (fraction / 2.0, (exponent + 1) / 2)
    } else {
        (fraction, exponent / 2)
    }
}

/// FREXPM and FREXPE.
pub fn reduce(x: f64, log: bool, sqrt: bool) -> (f64, i32) {
    match (log, sqrt) {
        (true, _) => reduce_log(x),
        (_, true) => reduce_sqrt(x),
        _ => frexp(x),
    }
}

/// Special functions of one source.
pub fn special(function: Special, bits: u32) -> u32 {
    let x = f64::from(f32::from_bits(bits));
    let turn = f64::from(bits & 63) * (std::f64::consts::PI / 32.0);
    let y = match function {
        Special::Rcp => 1.0 / x,
        Special::Rsq => rsq(x),
        Special::LogD => log_quotient(x),
        Special::SinTable => turn.sin(),
        Special::CosTable => turn.cos(),
    };
    (y as f32).to_bits()
}

/// Reciprocal square root.
pub fn rsq(x: f64) -> f64 {
    if x == 0.0 {
        f64::INFINITY.copysign(x)
    } else {
        1.0 / x.sqrt()
    }
}

/// With `m` the reduced argument, `log2(m) / (m - 1)`. FLOG2 multiplies it by FADD_LSCALE, which
/// gives `m - 1`, and adds the exponent.
fn log_quotient(x: f64) -> f64 {
    if x < 0.0 || x.is_nan() {
        return f64::NAN;
    }
    if x == 0.0 || x.is_infinite() {
        return f64::INFINITY;
    }
    let m = reduce_log(x).0;
    if m == 1.0 {
        std::f64::consts::LOG2_E
    } else {
        m.log2() / (m - 1.0)
    }
}

/// FADD_LSCALE: the first source plus the reduced second one.
pub fn add_log_scale(a: f64, x: f64) -> f64 {
    if x == 0.0 {
        return -1.0;
    }
    a + reduce_log(x).0
}

/// FEXP: two to the power of a fixed-point number with 24 bits of fraction. The float it was made
/// from says what is beyond it.
pub fn exp(fixed: u32, x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    let limit = 128.0 * 16_777_216.0;
    if x >= limit {
        return f64::INFINITY;
    }
    if x <= -limit * 2.0 {
        return 0.0;
    }
    let scaled = if x < -limit {
        x / 16_777_216.0
    } else {
        f64::from(fixed as i32) / 16_777_216.0
    };
    scaled.exp2()
}

/// `x * 2^n`.
pub fn scale(x: f64, n: i32) -> f64 {
    let n = n.clamp(-600, 600);
    x * pow2(n)
}

/// `(a * b + c) * 2^n`.
pub fn fma_scale(a: f64, b: f64, c: f64, n: i32) -> f64 {
    scale(fma(a, b, c), n)
}

/// Conversions of one word, after its part was taken. `halves` are taken from it where the source
/// has two lanes.
pub fn convert(kind: Convert, word: u32, round: Round) -> u32 {
    use Convert as C;
    let float = |x: f64| to32(x, round).to_bits();
    let half = |n: f64| u32::from(to16(n, round));
    let low = word as u16;
    let high = (word >> 16) as u16;
    let both = |a: u32, b: u32| a & 0xffff | b << 16;
    let signed = |x: f64, bits: u32| {
        let top = pow2(bits as i32 - 1);
        let x = round.integer(x);
        if x.is_nan() {
            0
        } else {
            x.clamp(-top, top - 1.0) as i64 as u32
        }
    };
    let unsigned = |x: f64, bits: u32| {
        let x = round.integer(x);
        if x.is_nan() {
            0
        } else {
            x.clamp(0.0, pow2(bits as i32) - 1.0) as u64 as u32
        }
    };
    match kind {
        C::S8ToS32 | C::U8ToU32 | C::S16ToS32 | C::U16ToU32 => word,
        C::V2S8ToV2S16 | C::V2U8ToV2U16 => word,
        C::S8ToF32 | C::S16ToF32 | C::S32ToF32 => float(f64::from(word as i32)),
        C::U8ToF32 | C::U16ToF32 | C::U32ToF32 => float(f64::from(word)),
        C::V2S8ToV2F16 | C::V2S16ToV2F16 => {
            both(half((low as i16).into()), half((high as i16).into()))
        }
        C::V2U8ToV2F16 | C::V2U16ToV2F16 => both(half(low.into()), half(high.into())),
        C::F16ToS32 => signed(from16(low), 32),
        C::F16ToU32 => unsigned(from16(low), 32),
        C::F16ToF32 => (from16(low) as f32).to_bits(),
        C::F32ToS32 => signed(f32::from_bits(word).into(), 32),
        C::F32ToU32 => unsigned(f32::from_bits(word).into(), 32),
        C::V2F16ToV2S16 => both(signed(from16(low), 16), signed(from16(high), 16)),
        C::V2F16ToV2U16 => both(unsigned(from16(low), 16), unsigned(from16(high), 16)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minimum_and_maximum_ignore_what_is_not_a_number() {
        assert_eq!(min(f64::NAN, 2.0), 2.0);
        assert_eq!(max(2.0, f64::NAN), 2.0);
        assert!(min(0.0, -0.0).is_sign_negative());
        assert!(max(-0.0, 0.0).is_sign_positive());
        assert_eq!(clamp(f64::NAN, 3), 0.0);
    }

    #[test]
    fn logarithm_in_three_steps() {
        for x in [1e-30f32, 0.3, 0.75, 1.0, 1.5, 2.0, 7.25, 1e30] {
            let x = f64::from(x);
            let d = f64::from(f32::from_bits(special(Special::LogD, (x as f32).to_bits())));
            let y = d * add_log_scale(-1.0, x) + f64::from(reduce(x, true, false).1);
            assert!((y - x.log2()).abs() <= x.log2().abs() * 1e-6 + 1e-6, "{x}");
        }
    }

    #[test]
    fn conversions_saturate() {
        let convert = |kind, x: f32| convert(kind, x.to_bits(), Round::Zero);
        assert_eq!(convert(Convert::F32ToS32, 3e9), i32::MAX as u32);
        assert_eq!(convert(Convert::F32ToS32, -1.9), -1i32 as u32);
        assert_eq!(convert(Convert::F32ToU32, -5.0), 0);
        assert_eq!(convert(Convert::F32ToS32, f32::NAN), 0);
    }
}
