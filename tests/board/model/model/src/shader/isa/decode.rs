// SPDX-License-Identifier: GPL-2.0 OR MIT

//! From instruction words to what the interpreter executes.

use super::fields::{self as f, FLOW, IMMEDIATES, SPECIAL};
use super::op::Op;
use super::rows::TABLE;
use super::table::{Entry, Source, Staging};
use std::sync::OnceLock;

/// Where a source operand comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// A register.
    Register(u8),
    /// A word of the uniforms.
    Uniform(u8),
    /// A constant.
    Constant(u32),
    /// A special value: page, pair and word.
    Special(u8, u8, u8),
    /// No operand.
    #[default]
    Nothing,
}

/// A part of a source, for each kind of source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    #[default]
    All,
    /// Half 0 or 1, extended.
    Half(u8),
    /// A byte, extended.
    Byte(u8),
    /// The low word, extended to 64 bits.
    Low,
    /// Two halves.
    Halves(u8, u8),
    /// Two bytes, extended to halves.
    Bytes(u8, u8),
    /// Four bytes in this order.
    Four([u8; 4]),
}

/// A source operand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operand {
    /// Where it comes from.
    pub from: From,
    /// Which part of it.
    pub part: Part,
    /// Negated, or inverted.
    pub neg: bool,
    /// Absolute value.
    pub abs: bool,
}

/// A decoded instruction.
#[derive(Clone, Copy, Debug)]
pub struct Instr {
    /// The instruction itself.
    pub word: u64,
    /// What it does.
    pub op: Op,
    /// Flow control.
    pub flow: u8,
    /// Destination, or first staging register.
    pub dest: u8,
    /// Halves of the destination that are written.
    pub mask: u8,
    /// Staging registers that are read from `dest` on, or written there.
    pub count: u8,
    /// First staging register that is written where another is read.
    pub target: u8,
    /// How many.
    pub target_count: u8,
    /// Slot that a message signals.
    pub slot: u8,
    /// Sources.
    pub sources: [Operand; 4],
    /// First immediate.
    pub imm: i32,
    /// Second immediate.
    pub imm2: i32,
}

/// Slots that a flow control waits for.
pub fn waits(flow: u8) -> u8 {
    match flow {
        1..=7 => flow,
        8 => 0x47,
        9 => 0xc7,
        _ => 0,
    }
}

/// Flow control that lets lanes come together again.
pub const RECONVERGE: u8 = 10;
/// Flow control that ends the thread.
pub const END: u8 = 15;

/// Bits that no instruction gives a meaning of its own: opcode, page and flow control.
const COMMON: u64 = 0x7fff << 48;

type Index = Vec<Vec<&'static Entry>>;

fn index() -> &'static Index {
    static INDEX: OnceLock<Index> = OnceLock::new();
    INDEX.get_or_init(|| {
        let mut index: Index = (0..512).map(|_| Vec::new()).collect();
        for entry in TABLE {
            if let Some(list) = index.get_mut(usize::from(entry.opcode)) {
                list.push(entry);
            }
        }
        index
    })
}

/// The row of an instruction.
pub fn lookup(word: u64) -> Option<&'static Entry> {
    let opcode = (word >> 48 & 0x1ff) as usize;
    index().get(opcode)?.iter().copied().find(|entry| {
        let (at, mask, value) = entry.second;
        (word >> at) as u16 & mask == value
    })
}

/// Bits of an instruction that have a meaning.
pub fn known_bits(entry: &Entry) -> u64 {
    let (at, mask, _) = entry.second;
    let mut known = COMMON | u64::from(mask) << at;
    // The destination; where there is none, a placeholder.
    known |= 0xff << 40;
    if entry.staging == Staging::Both {
        known |= 0xff << 16;
    }
    for field in entry.fields {
        known |= field.bits();
    }
    for imm in entry.imms {
        known |= ((1u64 << imm.len) - 1) << imm.at;
    }
    let mut at = 0;
    for (i, source) in entry.sources.iter().enumerate() {
        known |= 0xff << at;
        at += place(entry, *source);
        known |= source_bits(*source, i);
    }
    known
}

/// Bits from one source to the next: a pair takes two places where the others are words.
fn place(entry: &Entry, source: Source) -> u32 {
    if source == Source::Pair && !entry.wide && entry.sources.len() > 1 {
        16
    } else {
        8
    }
}

/// Where a source is in the instruction, for each.
pub fn places(entry: &Entry) -> [u32; 4] {
    let mut all = [0; 4];
    let mut at = 0;
    for (slot, source) in all.iter_mut().zip(entry.sources) {
        *slot = at;
        at += place(entry, *source);
    }
    all
}

const fn widen_at(i: usize) -> u32 {
    if i == 1 {
        26
    } else {
        36
    }
}

const fn neg_at(i: usize) -> u32 {
    // Sources 0, 1, 2.
    38 - 2 * (i as u32 % 3)
}

const fn swizzle_at(i: usize) -> u32 {
    28 - 2 * (i as u32 % 3)
}

fn source_bits(source: Source, i: usize) -> u64 {
    let sign = 3 << neg_at(i);
    let swizzle = 3 << swizzle_at(i);
    match source {
        Source::Word | Source::Float | Source::Pair => 0,
        Source::F32 | Source::F16Plain => sign,
        Source::F32Widen | Source::F16 => sign | swizzle,
        Source::F32WidenOnly | Source::H16 | Source::F16Swizzle => swizzle,
        Source::W32 | Source::W16 | Source::W8 | Source::W64 | Source::HalfSwizzle => {
            0xf << widen_at(i)
        }
        Source::Lanes => 0xf << 26,
        Source::Condition => 7 << 37,
        Source::Byte(at) => 3 << at,
        Source::Half(at) => 1 << at,
        Source::HalfFloat(at) => 1 << at | sign,
        Source::Not => 1 << 35,
    }
}

/// Name of the part of a source, and its meaning. `None`: there is no such part.
pub fn part(word: u64, source: Source, i: usize) -> Option<(&'static str, Part)> {
    let bits = |at: u32, len: u32| (word >> at) as usize & ((1 << len) - 1);
    let pick = |names: &'static [&'static str], n: usize| {
        names.get(n).copied().filter(|name| *name != "-")
    };
    let widen = bits(widen_at(i), 4);
    Some(match source {
        Source::Word
        | Source::Float
        | Source::Pair
        | Source::F32
        | Source::F16Plain
        | Source::Not => ("", Part::All),
        Source::F32Widen | Source::F32WidenOnly => {
            let n = bits(swizzle_at(i), 2);
            let name = pick(&f::WIDEN, n)?;
            (name, [Part::All, Part::Half(0), Part::Half(1)][n])
        }
        Source::F16 | Source::H16 | Source::F16Swizzle => {
            let n = bits(swizzle_at(i), 2);
            (f::SWIZZLE16[n], halves(n))
        }
        Source::W32 | Source::W64 => {
            let names = match source {
                Source::W32 => &f::SWIZZLE32,
                _ => &f::SWIZZLE64,
            };
            let name = pick(names, widen)?;
            let part = match widen {
                0 => Part::All,
                2 | 3 => Part::Half(widen as u8 - 2),
                8 => Part::Low,
                n => Part::Byte(n as u8 & 3),
            };
            (name, part)
        }
        Source::W16 => {
            let name = pick(&f::SWIZZLE16, widen)?;
            let bytes = |a, b| Part::Bytes(a, b);
            let part = match widen {
                0..=3 => halves(widen),
                4 => bytes(0, 0),
                5 => bytes(2, 0),
                6 => bytes(0, 2),
                7 => bytes(2, 2),
                8 => bytes(1, 1),
                9 => bytes(3, 1),
                10 => bytes(1, 3),
                11 => bytes(3, 3),
                12 => bytes(0, 1),
                _ => bytes(2, 3),
            };
            (name, part)
        }
        Source::W8 => {
            let name = pick(&f::SWIZZLE8, widen)?;
            let order = match widen {
                0 => return Some((name, Part::All)),
                1 => [3, 2, 1, 0],
                2 => [0, 1, 0, 1],
                3 => [2, 3, 2, 3],
                8 => [2, 3, 0, 1],
                9 => [1, 0, 3, 2],
                10 => [0, 0, 1, 1],
                11 => [2, 2, 3, 3],
                n => [n as u8 - 4; 4],
            };
            (name, Part::Four(order))
        }
        Source::Lanes => {
            let n = bits(26, 4);
            (pick(&f::LANES8, n)?, Part::Byte(n as u8 & 3))
        }
        Source::Condition => {
            let n = bits(37, 3);
            let name = pick(&f::COMBINE, n)?;
            let part = match n {
                0 => Part::All,
                1 | 2 => Part::Half(n as u8 - 1),
                _ => return Some((name, Part::Four([0; 4]))),
            };
            (name, part)
        }
        Source::Byte(at) => {
            let n = bits(u32::from(at), 2);
            (f::LANE8[n], Part::Byte(n as u8))
        }
        Source::Half(at) | Source::HalfFloat(at) => {
            let n = bits(u32::from(at), 1);
            (f::LANE16[n], Part::Half(n as u8))
        }
        Source::HalfSwizzle => (
            f::HALF_SWIZZLE8[widen],
            Part::Bytes(widen as u8 & 3, widen as u8 >> 2),
        ),
    })
}

fn halves(n: usize) -> Part {
    // Bit 0 is the half for the low lane, bit 1 for the high one.
    match n {
        2 => Part::All,
        n => Part::Halves(n as u8 & 1, n as u8 >> 1),
    }
}

fn operand(word: u64, entry: &Entry, i: usize, at: u32) -> Option<Operand> {
    let source = *entry.sources.get(i)?;
    let byte = (word >> at) as u8;
    let page = (word >> 57 & 3) as u8;
    let value = byte & 0x3f;
    let from = match byte >> 6 {
        0 | 1 => From::Register(value),
        2 => From::Uniform(value | page << 6),
        _ if value < 32 => From::Constant(IMMEDIATES[usize::from(value)]),
        _ => {
            let pair = (value - 32) >> 1;
            if SPECIAL[usize::from(page)][usize::from(pair)] == "-" {
                return None;
            }
            From::Special(page, pair, value & 1)
        }
    };
    let wide =
        matches!(source, Source::Pair) || source == Source::W64 && (word >> widen_at(i) & 0xf) == 0;
    if wide {
        // Half of a pair.
        if let From::Register(n) | From::Uniform(n) | From::Special(_, _, n) = from {
            if n & 1 != 0 {
                return None;
            }
        }
    }
    let sign = source_bits(source, i) & 3 << neg_at(i) != 0;
    let signed = sign
        && matches!(
            source,
            Source::F32 | Source::F32Widen | Source::F16 | Source::F16Plain | Source::HalfFloat(_)
        );
    let bit = |at: u32| word >> at & 1 != 0;
    Some(Operand {
        from,
        part: part(word, source, i)?.1,
        neg: signed && bit(neg_at(i)) || source == Source::Not && bit(35),
        abs: signed && bit(neg_at(i) + 1),
    })
}

/// Decodes an instruction. `None`: there is no such instruction, or one of its fields has a value
/// without meaning. Instructions that only the disassembler knows are decoded.
pub fn decode(word: u64) -> Option<Instr> {
    let entry = lookup(word)?;
    let flow = (word >> 59) as u8;
    if word >> 63 != 0 || FLOW[usize::from(flow & 0xf)] == "-" || word & !known_bits(entry) != 0 {
        return None;
    }
    let mut slot = 0;
    let mut count = 0;
    let mut target_count = 0;
    for field in entry.fields {
        let value = field.get(word);
        match (field.at, field.shown) {
            (33, false) => count = value as u8,
            (36, false) => target_count = value as u8 + 1,
            _ => {}
        }
        if field.shown && *field.names.get(value as usize)? == "-" {
            return None;
        }
        if field.at == 30 && field.len == 3 {
            slot = value as u8;
        }
    }
    if let Staging::Writes(n) = entry.staging {
        if count != n {
            return None;
        }
    }
    let mut sources = [Operand::default(); 4];
    let places = places(entry);
    for (i, source) in sources.iter_mut().enumerate().take(entry.sources.len()) {
        *source = operand(word, entry, i, places[i])?;
    }
    let imm = |n: usize| {
        entry.imms.get(n).map_or(0, |imm| {
            let value = (word >> imm.at) & ((1 << imm.len) - 1);
            if imm.signed {
                ((value << (64 - imm.len)) as i64 >> (64 - imm.len)) as i32
            } else {
                value as i32
            }
        })
    };
    let dest = (word >> 40) as u8 & 0x3f;
    let mask = (word >> 46) as u8 & 3;
    if entry.wide && (dest & 1 != 0 || mask != 3) {
        return None;
    }
    Some(Instr {
        word,
        op: entry.op,
        flow,
        dest,
        mask,
        count,
        target: (word >> 16) as u8 & 0x3f,
        target_count,
        slot,
        sources,
        imm: imm(0),
        imm2: imm(1),
    })
}
