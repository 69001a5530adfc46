// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Rounding to 16 and 32-bit floats. Sums and products are made in 64 bits without an error that
//! could be seen after one rounding.

/// Directions of rounding, as instructions encode them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// To the nearest, to even.
    Nearest,
    /// To positive infinity.
    Up,
    /// To negative infinity.
    Down,
    /// To zero.
    Zero,
}

impl Round {
    /// From the field of an instruction.
    pub fn new(bits: u64) -> Self {
        match bits & 3 {
            0 => Self::Nearest,
            1 => Self::Up,
            2 => Self::Down,
            _ => Self::Zero,
        }
    }

    /// Rounds to an integer.
    pub fn integer(self, x: f64) -> f64 {
        match self {
            Self::Nearest => x.round_ties_even(),
            Self::Up => x.ceil(),
            Self::Down => x.floor(),
            Self::Zero => x.trunc(),
        }
    }
}

/// The value of a 16-bit float.
pub fn from16(bits: u16) -> f64 {
    let sign = if bits >> 15 != 0 { -1.0 } else { 1.0 };
    let exponent = i32::from(bits >> 10 & 31);
    let fraction = f64::from(bits & 0x3ff);
    sign * match exponent {
        0 => fraction * pow2(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * pow2(exponent - 25),
    }
}

/// A power of two, for exponents that a 64-bit float has.
pub fn pow2(exponent: i32) -> f64 {
    let biased = (exponent.clamp(-1022, 1023) + 1023) as u64;
    f64::from_bits(biased << 52)
}

/// The nearest 16-bit float.
pub fn to16(x: f64, round: Round) -> u16 {
    if x.is_nan() {
        return 0x7e00;
    }
    let sign = if x.is_sign_negative() { 0x8000 } else { 0 };
    let size = x.abs();
    if size.is_infinite() {
        return sign | 0x7c00;
    }
    // Unit in the last place for this exponent; subnormal numbers share one.
    let exponent = ((size.to_bits() >> 52) as i32 - 1023).clamp(-14, 16);
    let unit = pow2(exponent - 10);
    let n = round.integer(x / unit).abs();
    let value = n * unit;
    if value >= 65536.0 {
        let away = match round {
            Round::Nearest => true,
            Round::Up => sign == 0,
            Round::Down => sign != 0,
            Round::Zero => false,
        };
        return sign | if away { 0x7c00 } else { 0x7bff };
    }
    if value == 0.0 {
        return sign;
    }
    let exponent = (value.to_bits() >> 52) as i32 - 1023;
    if exponent < -14 {
        sign | (value / pow2(-24)) as u16
    } else {
        sign | ((exponent + 15) as u16) << 10 | ((value / pow2(exponent - 10)) as u16 & 0x3ff)
    }
}

/// The float after a finite one that is not zero, up or down.
fn next(x: f32, up: bool) -> f32 {
    let bits = x.to_bits();
    f32::from_bits(if up == (x > 0.0) {
        bits.wrapping_add(1)
    } else {
        bits.wrapping_sub(1)
    })
}

/// The nearest 32-bit float.
pub fn to32(x: f64, round: Round) -> f32 {
    let near = x as f32;
    let back = f64::from(near);
    if back == x || x.is_nan() || x.is_infinite() {
        return near;
    }
    match round {
        Round::Up if back < x => next(near, true),
        Round::Down if back > x => next(near, false),
        Round::Zero if back.abs() > x.abs() => {
            if x > 0.0 {
                next(near, false)
            } else {
                next(near, true)
            }
        }
        _ => near,
    }
}

/// `a * b + c` of values with at most 24 bits, so that rounding it once more is exact.
pub fn fma(a: f64, b: f64, c: f64) -> f64 {
    let product = a * b;
    let sum = product + c;
    if !sum.is_finite() {
        return sum;
    }
    // What the sum lost; then round to odd.
    let part = sum - product;
    let lost = (product - (sum - part)) + (c - part);
    if lost == 0.0 || sum.to_bits() & 1 != 0 {
        return sum;
    }
    let away = (lost > 0.0) == (sum > 0.0);
    let bits = sum.to_bits();
    f64::from_bits(if away { bits | 1 } else { bits.wrapping_sub(1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_comes_back() {
        for bits in 0..=u16::MAX {
            let x = from16(bits);
            if !x.is_nan() {
                assert_eq!(to16(x, Round::Nearest), bits, "{bits:#x}");
            }
        }
    }

    #[test]
    fn rounding() {
        assert_eq!(to16(65520.0, Round::Nearest), 0x7c00);
        assert_eq!(to16(65519.0, Round::Nearest), 0x7bff);
        assert_eq!(to16(1.0 + 1.0 / 2048.0, Round::Nearest), 0x3c00);
        assert_eq!(to16(1.0 + 3.0 / 2048.0, Round::Nearest), 0x3c02);
        assert_eq!(to16(1.0 + 1e-9, Round::Up), 0x3c01);
        assert_eq!(to16(-1.0 - 1e-9, Round::Up), 0xbc00);
        assert_eq!(to32(1.0 + 1e-12, Round::Up), next(1.0, true));
        assert_eq!(to32(-1.0 - 1e-12, Round::Zero), -1.0);
    }

    #[test]
    fn fused() {
        let (a, b, c) = (1.000_000_1f32, 1.000_000_1f32, -1.000_000_2f32);
        let sum = fma(a.into(), b.into(), c.into());
        assert_eq!(to32(sum, Round::Nearest), a.mul_add(b, c));
        let tiny = f32::MIN_POSITIVE;
        let sum = fma(1.5, 1.5, tiny.into());
        assert_eq!(to32(sum, Round::Nearest), 1.5f32.mul_add(1.5, tiny));
    }
}
