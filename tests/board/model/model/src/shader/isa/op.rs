// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What instructions do, without where their fields are.

/// Lanes of a 32-bit word, or the width of a 64-bit operand, for integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Int {
    /// One unsigned word.
    U32,
    /// One signed word.
    S32,
    /// Two unsigned halves.
    U16,
    /// Two signed halves.
    S16,
    /// Four unsigned bytes.
    U8,
    /// Four signed bytes.
    S8,
    /// An unsigned pair of words.
    U64,
    /// A signed pair of words.
    S64,
}

/// The same for floating point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Float {
    /// One of 32 bits.
    F32,
    /// Two of 16 bits.
    V2F16,
}

/// Bitwise part of a shift instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logic {
    /// And.
    And,
    /// Or.
    Or,
    /// Exclusive or.
    Xor,
}

/// How a comparison is combined with its third source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// Or.
    Or,
    /// And.
    And,
    /// The low half of a 64-bit comparison decides between equals.
    Multi,
}

/// Conversions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it
pub enum Convert {
    S8ToS32,
    S8ToF32,
    V2S8ToV2S16,
    V2S8ToV2F16,
    S16ToS32,
    S16ToF32,
    V2S16ToV2F16,
    S32ToF32,
    F16ToS32,
    F16ToF32,
    F32ToS32,
    V2F16ToV2S16,
    U8ToU32,
    U8ToF32,
    V2U8ToV2U16,
    V2U8ToV2F16,
    U16ToU32,
    U16ToF32,
    V2U16ToV2F16,
    U32ToF32,
    F16ToU32,
    F32ToU32,
    V2F16ToV2U16,
}

/// Special functions of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// Reciprocal.
    Rcp,
    /// Reciprocal square root.
    Rsq,
    /// Quotient of the logarithm and the reduced argument less one.
    LogD,
    /// Sine of 1/64 turns.
    SinTable,
    /// Cosine of 1/64 turns.
    CosTable,
}

/// What an instruction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names are those of the instructions
pub enum Op {
    Nop,
    BranchZ,
    BranchZi,
    Barrier,
    CselFloat(Float),
    CselInt(Int),
    Convert(Convert),
    Round(Float),
    Mov,
    Clz(Int),
    Iabs(Int),
    Popcount,
    Bitrev,
    Not,
    Not64,
    Wmask,
    Flush(Float),
    FrexpM(Float),
    FrexpE(Float),
    Special(Special, Float),
    Fadd(Float),
    Fmin(Float),
    Fmax(Float),
    Pack16,
    Ldexp(Float),
    Fexp,
    FaddLscale,
    Iadd(Int),
    Isub(Int),
    MkVec16,
    SegAdd,
    ShAddX {
        signed: bool,
    },
    Imul(Int),
    ImulD,
    Hadd(Int),
    Clper,
    Fma(Float),
    Shift {
        left: bool,
        logic: Logic,
        int: Int,
    },
    Mux(Int),
    MkVec8,
    Idp {
        signed: bool,
    },
    Icmp(Combine, Int),
    Fcmp(Combine, Float),
    IaddImm(Int),
    FaddImm(Float),
    FmaRscale,
    Load(u8),
    Store(u8),
    LoadBuffer(u8),
    LeaBuffer,
    Atom {
        wide: bool,
        returns: bool,
    },
    Atom1 {
        wide: bool,
    },
    TexFetch,
    /// Known to the disassembler only. A job that comes to it ends.
    Unsupported,
}
