// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The instructions of Valhall as architecture 10 has them: encodings and operands.
//!
//! Bits 56 to 48 are the opcode, 58 and 57 the page of uniforms, 62 to 59 the flow control. An
//! instruction whose opcode is shared has a second one, which [`Entry::second`] locates.

use super::fields::{self as f, Field};
use super::op::{Combine, Convert as C, Float, Int, Logic, Op};
use Float::{F32, V2F16};
use Int::{S16, S8, U16, U64, U8};

/// A source operand. Source `n` is in bits `8n + 7` to `8n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A word as it is.
    Word,
    /// A word that is read as a float.
    Float,
    /// A pair of words.
    Pair,
    /// A 32-bit float with negation and absolute value.
    F32,
    /// The same, or half of a word.
    F32Widen,
    /// A 32-bit float that may be half of a word, without modifiers.
    F32WidenOnly,
    /// Two 16-bit floats with swizzle, negation and absolute value.
    F16,
    /// Two 16-bit floats with negation and absolute value.
    F16Plain,
    /// Two 16-bit values with a swizzle.
    H16,
    /// Two 16-bit floats with a swizzle.
    F16Swizzle,
    /// 32 bits, or a part of the word that is extended.
    W32,
    /// Two 16-bit lanes of the word, or bytes that are extended.
    W16,
    /// Four bytes in some order.
    W8,
    /// A pair of words, or a part that is extended.
    W64,
    /// A shift amount: a byte.
    Lanes,
    /// The same as a condition.
    Condition,
    /// A byte, chosen by two bits there.
    Byte(u8),
    /// A half, chosen by a bit there.
    Half(u8),
    /// A half with negation and absolute value.
    HalfFloat(u8),
    /// Two bytes.
    HalfSwizzle,
    /// A word, inverted if bit 35 is set.
    Not,
}

/// Registers that a message reads or writes besides its sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staging {
    /// None.
    None,
    /// Reads as many as the instruction says.
    Read,
    /// Writes as many as the instruction says.
    Write,
    /// Writes this many.
    Writes(u8),
    /// Writes at bit 16, reads at bit 40.
    Both,
}

/// A number in the instruction.
#[derive(Clone, Copy, Debug)]
pub struct Imm {
    /// What it is.
    pub name: &'static str,
    /// Lowest bit.
    pub at: u8,
    /// Number of bits.
    pub len: u8,
    /// Whether it is signed.
    pub signed: bool,
}

/// An instruction.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Mnemonic.
    pub name: &'static str,
    /// Meaning.
    pub op: Op,
    /// Bits 56 to 48.
    pub opcode: u16,
    /// Lowest bit, mask and value of the second opcode.
    pub second: (u8, u16, u16),
    /// Whether bits 47 to 40 are a destination.
    pub dest: bool,
    /// Whether that is a pair of registers.
    pub wide: bool,
    /// Staging registers.
    pub staging: Staging,
    /// Sources.
    pub sources: &'static [Source],
    /// Modifiers, as they are printed.
    pub fields: &'static [Field],
    /// Immediates.
    pub imms: &'static [Imm],
}

impl Entry {
    pub(super) const fn at(mut self, bit: u8, mask: u16, value: u16) -> Self {
        self.second = (bit, mask, value);
        self
    }

    pub(super) const fn wide(mut self) -> Self {
        self.wide = true;
        self
    }

    pub(super) const fn imm(mut self, imms: &'static [Imm]) -> Self {
        self.imms = imms;
        self
    }
}

pub(super) const fn base(name: &'static str, opcode: u16, op: Op) -> Entry {
    Entry {
        name,
        op,
        opcode,
        second: (0, 0, 0),
        dest: false,
        wide: false,
        staging: Staging::None,
        sources: &[],
        fields: &[],
        imms: &[],
    }
}

/// An instruction that computes.
pub(super) const fn alu(
    name: &'static str,
    opcode: u16,
    op: Op,
    sources: &'static [Source],
    fields: &'static [Field],
) -> Entry {
    let mut entry = base(name, opcode, op);
    entry.dest = true;
    entry.sources = sources;
    entry.fields = fields;
    entry
}

/// An instruction that sends a message.
pub(super) const fn msg(
    name: &'static str,
    opcode: u16,
    op: Op,
    staging: Staging,
    sources: &'static [Source],
    fields: &'static [Field],
) -> Entry {
    let mut entry = base(name, opcode, op);
    entry.staging = staging;
    entry.sources = sources;
    entry.fields = fields;
    entry
}

pub(super) const fn imm(name: &'static str, at: u8, len: u8) -> Imm {
    Imm {
        name,
        at,
        len,
        signed: false,
    }
}

pub(super) const fn signed(name: &'static str, at: u8, len: u8) -> Imm {
    Imm {
        name,
        at,
        len,
        signed: true,
    }
}

use Source::{Lanes, Pair, Word, W16, W32};
use Source::{W64, W8};
use Staging::{Read, Write};
pub(super) const OFFSET16: &[Imm] = &[signed("offset", 8, 16)];
pub(super) const OFFSET8: &[Imm] = &[imm("offset", 8, 8)];
pub(super) const CONSTANT: &[Imm] = &[imm("#", 8, 32)];
pub(super) const TABLE_INDEX: &[Imm] = &[imm("table", 16, 4), imm("index", 20, 4)];
pub(super) const INDEX_TABLE: &[Imm] = &[imm("index", 20, 4), imm("table", 16, 4)];
pub(super) const VAR_INDEX: &[Imm] = &[imm("table", 8, 4), imm("index", 12, 8)];

pub(super) const fn csel(name: &'static str, opcode: u16, op: Op) -> Entry {
    alu(name, opcode, op, &[Word, Word, Word, Word], &[f::CONDITION])
}

pub(super) const fn cself(name: &'static str, opcode: u16, op: Op) -> Entry {
    const S: Source = Source::Float;
    alu(name, opcode, op, &[S, S, S, S], &[f::CONDITION])
}

pub(super) const fn conv(
    name: &'static str,
    second: u16,
    op: C,
    sources: &'static [Source],
    fields: &'static [Field],
) -> Entry {
    alu(name, 0x90, Op::Convert(op), sources, fields).at(16, 0x1f, second)
}

pub(super) const fn one(
    name: &'static str,
    opcode: u16,
    second: u16,
    op: Op,
    sources: &'static [Source],
) -> Entry {
    alu(name, opcode, op, sources, &[]).at(16, 0xf, second)
}

pub(super) const fn sfu(
    name: &'static str,
    second: u16,
    op: Op,
    sources: &'static [Source],
) -> Entry {
    one(name, 0x9c, second, op, sources)
}

pub(super) const fn two(
    name: &'static str,
    opcode: u16,
    second: u16,
    op: Op,
    sources: &'static [Source],
    fields: &'static [Field],
) -> Entry {
    alu(name, opcode, op, sources, fields).at(16, 0xf, second)
}

pub(super) const fn shift(
    name: &'static str,
    opcode: u16,
    left: bool,
    logic: Logic,
    int: Int,
) -> Entry {
    const fn fields(left: bool) -> &'static [Field] {
        if left {
            &[f::NOT_RESULT]
        } else {
            &[f::SIGNED, f::NOT_RESULT]
        }
    }
    const fn sources(int: Int) -> &'static [Source] {
        match int {
            U16 => &[W16, Lanes, Source::Not],
            U8 => &[W8, Lanes, Source::Not],
            U64 => &[W64, Lanes, Source::Not],
            _ => &[W32, Lanes, Source::Not],
        }
    }
    let op = Op::Shift { left, logic, int };
    let second = if left { 0x100 } else { 0 } | logic as u16;
    let entry = alu(name, opcode, op, sources(int), fields(left)).at(24, 0x103, second);
    match int {
        U64 => entry.wide(),
        _ => entry,
    }
}

pub(super) const fn icmp(name: &'static str, opcode: u16, combine: Combine, int: Int) -> Entry {
    const fn sources(int: Int) -> &'static [Source] {
        match int {
            U16 | S16 => &[W16, W16, Word],
            U8 | S8 => &[W8, W8, Word],
            _ => &[W32, W32, Word],
        }
    }
    let op = Op::Icmp(combine, int);
    alu(name, opcode, op, sources(int), &[f::CONDITION, f::RESULT]).at(24, 3, combine as u16)
}

pub(super) const fn fcmp(name: &'static str, opcode: u16, combine: Combine, float: Float) -> Entry {
    const fn sources(float: Float) -> &'static [Source] {
        match float {
            F32 => &[Source::F32Widen, Source::F32Widen, Word],
            V2F16 => &[Source::F16, Source::F16, Word],
        }
    }
    let op = Op::Fcmp(combine, float);
    alu(name, opcode, op, sources(float), &[f::CONDITION, f::RESULT]).at(24, 3, combine as u16)
}

pub(super) const fn load(name: &'static str, size: u8, fields: &'static [Field]) -> Entry {
    msg(name, 0x60, Op::Load(size), Write, &[Pair], fields)
        .at(27, 7, size as u16)
        .imm(OFFSET16)
}

pub(super) const fn store(name: &'static str, size: u8) -> Entry {
    const FIELDS: &[Field] = &[f::SR_COUNT, f::ACCESS, f::SLOT];
    msg(name, 0x61, Op::Store(size), Read, &[Pair], FIELDS)
        .at(27, 7, size as u16)
        .imm(OFFSET16)
}

pub(super) const fn buffer(name: &'static str, size: u8, fields: &'static [Field]) -> Entry {
    msg(
        name,
        0x6a,
        Op::LoadBuffer(size),
        Write,
        &[Word, Word],
        fields,
    )
    .at(27, 7, size as u16)
}

pub(super) const fn gfx(
    name: &'static str,
    opcode: u16,
    staging: Staging,
    sources: &'static [Source],
    fields: &'static [Field],
) -> Entry {
    msg(name, opcode, Op::Unsupported, staging, sources, fields)
}
