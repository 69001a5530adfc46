// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Instructions that compute: sixteen lanes at a time.

use super::float::{self, Flush};
use super::half::{fma, from16, to32, Round};
use super::int::{self, part16, part32, part8};
use super::warp::{Row, LANES};
use crate::shader::isa::decode::{Instr, Operand, Part};
use crate::shader::isa::fields as f;
use crate::shader::isa::op::{Combine, Convert, Float, Int, Op, Special};

/// Both words of the sources of an instruction, as they are in registers.
pub struct Sources {
    /// Low words.
    pub low: [Row; 4],
    /// High words, where a source is a pair.
    pub high: [Row; 4],
}

/// What an instruction computed: one word, or a pair.
pub enum Value {
    /// A word.
    Word(Row),
    /// A pair.
    Pair(Row, Row),
}

#[inline]
fn map(mut f: impl FnMut(usize) -> u32) -> Value {
    let mut out = [0; LANES];
    for (lane, word) in out.iter_mut().enumerate() {
        *word = f(lane);
    }
    Value::Word(out)
}

#[inline]
fn pairs(mut f: impl FnMut(usize) -> u64) -> Value {
    let (mut low, mut high) = ([0; LANES], [0; LANES]);
    for lane in 0..LANES {
        let value = f(lane);
        low[lane] = value as u32;
        high[lane] = (value >> 32) as u32;
    }
    Value::Pair(low, high)
}

/// Sources of an instruction, part by part.
struct Args<'a> {
    s: &'a Sources,
    ins: &'a Instr,
    flush: Flush,
}

impl Args<'_> {
    #[inline]
    fn operand(&self, n: usize) -> &Operand {
        &self.ins.sources[n & 3]
    }

    #[inline]
    fn word(&self, n: usize, lane: usize) -> u32 {
        self.s.low[n & 3][lane & 15]
    }

    #[inline]
    fn int(&self, n: usize, lane: usize, int: Int) -> u32 {
        let word = self.word(n, lane);
        let part = self.operand(n).part;
        if part == Part::All {
            return word;
        }
        match int::shape(int) {
            (16, signed) => part16(word, part, signed),
            (8, _) => part8(word, part),
            (_, signed) => part32(word, part, signed),
        }
    }

    #[inline]
    fn pair(&self, n: usize, lane: usize, signed: bool) -> u64 {
        let word = self.word(n, lane);
        let part = self.operand(n).part;
        if part == Part::All {
            return u64::from(word) | u64::from(self.s.high[n & 3][lane & 15]) << 32;
        }
        let word = part32(word, part, signed);
        if signed {
            word as i32 as u64
        } else {
            word.into()
        }
    }

    #[inline]
    fn bits(&self, n: usize, lane: usize) -> u32 {
        let o = self.operand(n);
        let bits = float::source32(self.word(n, lane), o.part, o.neg, o.abs);
        self.flush.word(bits)
    }

    #[inline]
    fn f32(&self, n: usize, lane: usize) -> f32 {
        f32::from_bits(self.bits(n, lane))
    }

    #[inline]
    fn f64(&self, n: usize, lane: usize) -> f64 {
        self.f32(n, lane).into()
    }

    #[inline]
    fn halves(&self, n: usize, lane: usize) -> u32 {
        let o = self.operand(n);
        let word = part16(self.word(n, lane), o.part, false);
        float::source16(word, o.neg, o.abs)
    }

    #[inline]
    fn out32(&self, x: f32, clamp: u64) -> u32 {
        let x = if clamp == 0 {
            x
        } else {
            float::clamp(x.into(), clamp) as f32
        };
        self.flush.word(x.to_bits())
    }

    fn zip16(&self, lane: usize, n: usize, round: Round, f: impl Fn([f64; 3]) -> f64) -> u32 {
        let word = |i: usize| if i < n { self.halves(i, lane) } else { 0 };
        float::zip16(self.flush, [word(0), word(1), word(2)], round, f)
    }
}

/// Computes. `None`: not an instruction that computes alone, or not one that the model executes.
pub fn compute(ins: &Instr, s: &Sources, flush: Flush) -> Option<Value> {
    let a = Args { s, ins, flush };
    let word = ins.word;
    let saturate = f::SATURATE.get(word) != 0;
    let clamp = u64::from(f::CLAMP.get(word));
    let condition = f::CONDITION.get(word);
    let result = f::RESULT.get(word);
    let round = Round::new(f::ROUND.get(word).into());
    Some(match ins.op {
        Op::Mov => Value::Word(s.low[0]),
        Op::Not => map(|i| !a.word(0, i)),
        Op::Not64 => pairs(|i| !a.pair(0, i, false)),
        Op::CselInt(int) => {
            let (bits, signed) = int::shape(int);
            map(|i| {
                let [x, y, yes, no] = [0, 1, 2, 3].map(|n| a.word(n, i));
                if bits == 16 {
                    let truth = int::compare(int, condition, 2, Combine::Or, x, y, 0);
                    yes & truth | no & !truth
                } else if if signed {
                    int::holds(condition, x as i32, y as i32)
                } else {
                    int::holds(condition, x, y)
                } {
                    yes
                } else {
                    no
                }
            })
        }
        Op::CselFloat(float) => map(|i| {
            let [x, y, yes, no] = [0, 1, 2, 3].map(|n| a.word(n, i));
            let truth = compare_float(flush, float, condition, 2, x, y);
            yes & truth | no & !truth
        }),
        Op::Iadd(int @ (Int::U32 | Int::S32)) if !saturate => {
            map(|i| a.int(0, i, int).wrapping_add(a.int(1, i, int)))
        }
        Op::Isub(int @ (Int::U32 | Int::S32)) if !saturate => {
            map(|i| a.int(0, i, int).wrapping_sub(a.int(1, i, int)))
        }
        Op::Imul(int @ (Int::U32 | Int::S32)) if !saturate => {
            map(|i| a.int(0, i, int).wrapping_mul(a.int(1, i, int)))
        }
        Op::Iadd(int @ (Int::U64 | Int::S64)) => wide(&a, int, saturate, false),
        Op::Isub(int @ (Int::U64 | Int::S64)) => wide(&a, int, saturate, true),
        Op::Iadd(int) => lanes(&a, int, saturate, |x, y| x.wrapping_add(y)),
        Op::Isub(int) => lanes(&a, int, saturate, |x, y| x.wrapping_sub(y)),
        Op::Imul(int) => lanes(&a, int, saturate, |x, y| x.wrapping_mul(y)),
        Op::Hadd(int) => {
            let up = i64::from(f::RHADD.get(word));
            lanes(&a, int, false, |x, y| {
                x.wrapping_add(y).wrapping_add(up) >> 1
            })
        }
        Op::ImulD => pairs(|i| {
            let low = |n| u64::from(a.pair(n, i, false) as u32);
            low(0).wrapping_mul(low(1))
        }),
        Op::ShAddX { signed } => {
            let shift = (ins.imm & 7) as u32;
            pairs(|i| {
                a.pair(0, i, false)
                    .wrapping_add(a.pair(1, i, signed) << shift)
            })
        }
        Op::SegAdd => {
            let neg = f::NEG.get(word) != 0;
            let null = f::PRESERVE_NULL.get(word) != 0;
            pairs(|i| {
                let (base, offset) = (a.pair(0, i, false), a.pair(1, i, false));
                match (null && base == 0, neg) {
                    (true, _) => base,
                    (_, false) => base.wrapping_add(offset),
                    (_, true) => base.wrapping_sub(offset),
                }
            })
        }
        Op::IaddImm(int) => {
            let imm = ins.imm as u32;
            map(|i| int::zip(int, a.word(0, i), imm, |x, y| x.wrapping_add(y)))
        }
        Op::Shift { left, logic, int } => {
            let shift = int::Shift {
                left,
                arithmetic: !left && f::SIGNED.get(word) != 0,
                logic,
                not: f::NOT_RESULT.get(word) != 0,
            };
            let invert = if a.operand(2).neg { u32::MAX } else { 0 };
            let amount = |i: usize| part32(a.word(1, i), a.operand(1).part, false);
            if int == Int::U64 {
                let invert = u64::from(invert) | u64::from(invert) << 32;
                let high = |i: usize| u64::from(s.high[2][i & 15]) << 32;
                pairs(|i| {
                    let b = u64::from(a.word(2, i)) | high(i);
                    shift.pair(a.pair(0, i, shift.arithmetic), amount(i), b ^ invert)
                })
            } else {
                let bits = int::shape(int).0;
                map(|i| {
                    shift.word(
                        bits,
                        a.int(0, i, int),
                        [amount(i); 4],
                        a.word(2, i) ^ invert,
                    )
                })
            }
        }
        Op::Mux(int) => {
            let mode = f::MUX.get(word);
            map(|i| {
                let [x, y, mask] = [0, 1, 2].map(|n| a.int(n, i, int));
                let take = mux_mask(mode, int, mask);
                x & take | y & !take
            })
        }
        Op::Clz(Int::U16) => {
            map(|i| float::halves(a.int(0, i, Int::U16), |x| x.leading_zeros() as u16))
        }
        Op::Clz(Int::U8) => map(|i| {
            let bytes = a.word(0, i).to_le_bytes();
            u32::from_le_bytes(bytes.map(|x| x.leading_zeros() as u8))
        }),
        Op::Clz(_) => map(|i| a.word(0, i).leading_zeros()),
        Op::Iabs(int) => map(|i| {
            let x = a.int(0, i, int);
            int::zip(int, x, x, |x, _| x.wrapping_abs())
        }),
        Op::Popcount => map(|i| a.word(0, i).count_ones()),
        Op::Bitrev => map(|i| a.word(0, i).reverse_bits()),
        Op::MkVec16 => map(|i| {
            let half = |n| part32(a.word(n, i), a.operand(n).part, false);
            half(0) | half(1) << 16
        }),
        Op::MkVec8 => map(|i| {
            let byte = |n| part32(a.word(n, i), a.operand(n).part, false);
            byte(0) | byte(1) << 8 | a.word(2, i) << 16
        }),
        Op::Idp { signed } => map(|i| {
            let (x, y) = (a.word(0, i).to_le_bytes(), a.word(1, i).to_le_bytes());
            let product = |n: usize| match signed {
                true => i64::from(x[n] as i8) * i64::from(y[n] as i8),
                false => i64::from(x[n]) * i64::from(y[n]),
            };
            let dot = product(0) + product(1) + product(2) + product(3);
            let (int, add) = match signed {
                true => (Int::S32, i64::from(a.word(2, i) as i32)),
                false => (Int::U32, i64::from(a.word(2, i))),
            };
            let sum = dot + add;
            (if saturate {
                int::saturate(int, sum)
            } else {
                sum
            }) as u32
        }),
        Op::Icmp(combine, int) => map(|i| {
            let (x, y) = (a.int(0, i, int), a.int(1, i, int));
            int::compare(int, condition, result, combine, x, y, a.word(2, i))
        }),
        Op::Fcmp(combine, float) => map(|i| {
            let (x, y) = match float {
                Float::F32 => (a.bits(0, i), a.bits(1, i)),
                Float::V2F16 => (a.halves(0, i), a.halves(1, i)),
            };
            let value = compare_float(flush, float, condition, result, x, y);
            match combine {
                Combine::And => value & a.word(2, i),
                _ => value | a.word(2, i),
            }
        }),
        Op::Convert(kind) => map(|i| a_convert(&a, kind, i, round)),
        Op::Round(Float::F32) => map(|i| {
            let x = a.f64(0, i);
            (round.integer(x) as f32).to_bits()
        }),
        Op::Round(Float::V2F16) => {
            map(|i| a.zip16(i, 1, Round::Nearest, |[x, ..]| round.integer(x)))
        }
        Op::Fadd(Float::F32) => map(|i| a.out32(a.f32(0, i) + a.f32(1, i), clamp)),
        Op::Fmin(Float::F32) => {
            map(|i| a.out32(float::min(a.f64(0, i), a.f64(1, i)) as f32, clamp))
        }
        Op::Fmax(Float::F32) => {
            map(|i| a.out32(float::max(a.f64(0, i), a.f64(1, i)) as f32, clamp))
        }
        Op::Fma(Float::F32) => {
            map(|i| a.out32(a.f32(0, i).mul_add(a.f32(1, i), a.f32(2, i)), clamp))
        }
        Op::FaddImm(Float::F32) => {
            let imm = f32::from_bits(flush.word(ins.imm as u32));
            map(|i| a.out32(a.f32(0, i) + imm, 0))
        }
        Op::Fadd(Float::V2F16) => {
            map(|i| a.zip16(i, 2, Round::Nearest, |[x, y, _]| float::clamp(x + y, clamp)))
        }
        Op::Fmin(Float::V2F16) => map(|i| {
            a.zip16(i, 2, Round::Nearest, |[x, y, _]| {
                float::clamp(float::min(x, y), clamp)
            })
        }),
        Op::Fmax(Float::V2F16) => map(|i| {
            a.zip16(i, 2, Round::Nearest, |[x, y, _]| {
                float::clamp(float::max(x, y), clamp)
            })
        }),
        Op::Fma(Float::V2F16) => map(|i| {
            a.zip16(i, 3, Round::Nearest, |[x, y, z]| {
                float::clamp(fma(x, y, z), clamp)
            })
        }),
        Op::FaddImm(Float::V2F16) => {
            let imm = ins.imm as u32;
            map(|i| {
                let words = [a.halves(0, i), imm, 0];
                float::zip16(flush, words, Round::Nearest, |[x, y, _]| x + y)
            })
        }
        Op::Pack16 => map(|i| {
            let half = |n| {
                let x = float::clamp(a.f64(n, i), clamp);
                u32::from(flush.half(super::half::to16(x, round)))
            };
            half(0) | half(1) << 16
        }),
        Op::Ldexp(Float::F32) => map(|i| {
            let x = float::scale(a.f64(0, i), a.word(1, i) as i32);
            flush.word(to32(x, round).to_bits())
        }),
        Op::FmaRscale => map(|i| {
            let [x, y, z] = [0, 1, 2].map(|n| a.f64(n, i));
            let value = float::fma_scale(x, y, z, a.word(3, i) as i32);
            a.out32(to32(value, Round::Nearest), clamp)
        }),
        Op::Fexp => map(|i| a.out32(float::exp(a.word(0, i), a.f64(1, i)) as f32, clamp)),
        Op::FaddLscale => {
            map(|i| a.out32(float::add_log_scale(a.f64(0, i), a.f64(1, i)) as f32, clamp))
        }
        Op::FrexpM(Float::F32) => {
            let (log, sqrt) = reduction(word);
            map(|i| (float::reduce(a.f64(0, i), log, sqrt).0 as f32).to_bits())
        }
        Op::FrexpE(Float::F32) => {
            let (log, sqrt) = reduction(word);
            map(|i| float::reduce(a.f64(0, i), log, sqrt).1 as u32)
        }
        Op::FrexpM(Float::V2F16) => {
            let (log, sqrt) = reduction(word);
            map(|i| {
                a.zip16(i, 1, Round::Nearest, |[x, ..]| {
                    float::reduce(x, log, sqrt).0
                })
            })
        }
        Op::FrexpE(Float::V2F16) => {
            let (log, sqrt) = reduction(word);
            map(|i| {
                float::halves(a.halves(0, i), |x| {
                    float::reduce(from16(x), log, sqrt).1 as u16
                })
            })
        }
        Op::Special(function, Float::F32) => map(|i| {
            let bits = match function {
                Special::SinTable | Special::CosTable => a.word(0, i),
                _ => a.bits(0, i),
            };
            flush.word(float::special(function, bits))
        }),
        Op::Special(function, Float::V2F16) => map(|i| {
            a.zip16(i, 1, Round::Nearest, |[x, ..]| match function {
                Special::Rcp => 1.0 / x,
                _ => float::rsq(x),
            })
        }),
        Op::Flush(Float::F32) => {
            let (nan, ftz, inf) = (
                f::NAN_MODE.get(word),
                f::FTZ.get(word) != 0,
                f::FLUSH_INF.get(word) != 0,
            );
            let own = Flush {
                f32: ftz,
                f16: false,
            };
            map(|i| {
                let bits = own.word(a.bits(0, i));
                match (bits & 0x7fff_ffff, nan) {
                    (0x7f80_0000, _) if inf => bits & 0x8000_0000 | 0x7f7f_ffff,
                    (0x7f80_0001.., 1) => 0,
                    (0x7f80_0001.., 2) => bits | 0x0040_0000,
                    _ => bits,
                }
            })
        }
        Op::Flush(Float::V2F16) => {
            let (nan, ftz, inf) = (
                f::NAN_MODE.get(word),
                f::FTZ.get(word) != 0,
                f::FLUSH_INF.get(word) != 0,
            );
            let own = Flush {
                f32: false,
                f16: ftz,
            };
            map(|i| {
                float::halves(a.halves(0, i), |x| {
                    let bits = own.half(x);
                    match (bits & 0x7fff, nan) {
                        (0x7c00, _) if inf => bits & 0x8000 | 0x7bff,
                        (0x7c01.., 1) => 0,
                        (0x7c01.., 2) => bits | 0x0200,
                        _ => bits,
                    }
                })
            })
        }
        _ => return None,
    })
}

fn reduction(word: u64) -> (bool, bool) {
    (f::LOG.get(word) != 0, f::SQRT.get(word) != 0)
}

fn lanes(a: &Args<'_>, int: Int, saturate: bool, f: impl Fn(i64, i64) -> i64) -> Value {
    map(|i| {
        int::zip(int, a.int(0, i, int), a.int(1, i, int), |x, y| {
            let value = f(x, y);
            if saturate {
                int::saturate(int, value)
            } else {
                value
            }
        })
    })
}

fn wide(a: &Args<'_>, int: Int, saturate: bool, subtract: bool) -> Value {
    let signed = int::shape(int).1;
    pairs(|i| {
        let (x, y) = (a.pair(0, i, signed), a.pair(1, i, signed));
        let (sx, sy) = (x as i64, y as i64);
        match (saturate, signed, subtract) {
            (false, _, false) => x.wrapping_add(y),
            (false, _, true) => x.wrapping_sub(y),
            (true, false, false) => x.saturating_add(y),
            (true, false, true) => x.saturating_sub(y),
            (true, true, false) => sx.saturating_add(sy) as u64,
            (true, true, true) => sx.saturating_sub(sy) as u64,
        }
    })
}

fn mux_mask(mode: u32, int: Int, mask: u32) -> u32 {
    let bits = int::shape(int).0;
    if mode == 3 {
        return mask;
    }
    let mut out = 0;
    let mut at = 0;
    while at < 32 {
        let ones = if bits == 32 {
            u32::MAX
        } else {
            (1 << bits) - 1
        };
        let value = mask >> at & ones;
        let sign = 1 << (bits - 1);
        let take = match mode {
            0 => value & sign != 0,
            1 => value == 0,
            _ => value & !sign == 0,
        };
        if take {
            out |= ones << at;
        }
        at += bits;
    }
    out
}

fn compare_float(flush: Flush, float: Float, condition: u32, result: u32, x: u32, y: u32) -> u32 {
    match float {
        Float::F32 => {
            let value = |bits| f32::from_bits(flush.word(bits));
            if int::holds(condition, value(x), value(y)) {
                int::truth(result, 32)
            } else {
                0
            }
        }
        Float::V2F16 => {
            let half = |shift: u32| {
                let value = |word: u32| from16(flush.half((word >> shift) as u16));
                if int::holds(condition, value(x), value(y)) {
                    int::truth(result, 16) << shift
                } else {
                    0
                }
            };
            half(0) | half(16)
        }
    }
}

fn a_convert(a: &Args<'_>, kind: Convert, lane: usize, round: Round) -> u32 {
    use Convert as C;
    let o = a.operand(0);
    let word = a.word(0, lane);
    let source = match kind {
        C::S8ToS32 | C::S8ToF32 | C::S16ToS32 | C::S16ToF32 | C::S32ToF32 => {
            part32(word, o.part, true)
        }
        C::U8ToU32 | C::U8ToF32 | C::U16ToU32 | C::U16ToF32 | C::U32ToF32 => {
            part32(word, o.part, false)
        }
        C::V2S8ToV2S16 | C::V2S8ToV2F16 | C::V2S16ToV2F16 => part16(word, o.part, true),
        C::V2U8ToV2U16 | C::V2U8ToV2F16 | C::V2U16ToV2F16 => part16(word, o.part, false),
        C::F16ToS32 | C::F16ToU32 | C::F16ToF32 => {
            float::source16(part32(word, o.part, false), o.neg, o.abs)
        }
        C::V2F16ToV2S16 | C::V2F16ToV2U16 => a.halves(0, lane),
        C::F32ToS32 | C::F32ToU32 => a.bits(0, lane),
    };
    float::convert(kind, source, round)
}
