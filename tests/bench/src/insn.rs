// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Kinds of instructions of an Arm CPU, by what they cost more than others.
//!
//! Source of the encodings: Arm Architecture Reference Manual, C4.1.

/// A kind of instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A read, a change and a write of memory in one: LSE, exclusives, CAS.
    Atomic,
    /// A load with acquire, or a store with release semantics.
    Ordered,
    /// DMB, DSB, ISB.
    Barrier,
    /// Reads or writes a system register: also `DAIF`, the mask of interrupts.
    System,
    /// Maintenance of caches and TLBs, `DC ZVA` among them.
    Maintenance,
    /// A jump to where a register says: BR, BLR, RET.
    Indirect,
    /// A direct jump to another page, 4 KiB each.
    FarJump,
    /// A direct jump that stays in the page.
    NearJump,
    /// All other loads and stores.
    Memory,
    /// All others, branches that were not taken among them.
    Other,
    /// What it was is not known.
    Unknown,
}

/// All of them.
pub const KINDS: [Kind; 11] = [
    Kind::Atomic,
    Kind::Ordered,
    Kind::Barrier,
    Kind::System,
    Kind::Maintenance,
    Kind::Indirect,
    Kind::FarJump,
    Kind::NearJump,
    Kind::Memory,
    Kind::Other,
    Kind::Unknown,
];

impl Kind {
    /// The kind of the instruction `opcode` at `pc`, after which the one at `next` was executed.
    pub fn of(opcode: Option<u32>, pc: u64, next: u64) -> Kind {
        let Some(op) = opcode else {
            return Kind::Unknown;
        };
        if op & 0xfe00_0000 == 0xd600_0000 {
            return Kind::Indirect;
        }
        if is_branch(op) {
            return match next {
                _ if next == pc.wrapping_add(4) => Kind::Other,
                _ if next >> 12 == pc >> 12 => Kind::NearJump,
                _ => Kind::FarJump,
            };
        }
        if op & 0xffc0_0000 == 0xd500_0000 {
            return system(op);
        }
        match op {
            // Exclusives, CAS, LDAR and STLR: the last two are those with the bits 23 and not 21.
            _ if op & 0x3f00_0000 == 0x0800_0000 => match op & 0x00a0_0000 {
                0x0080_0000 => Kind::Ordered,
                _ => Kind::Atomic,
            },
            // LDAPR is among the LSE instructions.
            _ if op & 0x3fff_fc00 == 0x38bf_c000 => Kind::Ordered,
            _ if op & 0x3f20_0c00 == 0x3820_0000 => Kind::Atomic,
            _ if op & 0x0a00_0000 == 0x0800_0000 => Kind::Memory,
            _ => Kind::Other,
        }
    }

    /// What it is, for people.
    pub fn text(self) -> &'static str {
        match self {
            Kind::Atomic => "atomic",
            Kind::Ordered => "load-acquire, store-release",
            Kind::Barrier => "barrier",
            Kind::System => "system register",
            Kind::Maintenance => "cache and TLB maintenance",
            Kind::Indirect => "indirect jump, return",
            Kind::FarJump => "jump to another page",
            Kind::NearJump => "jump within a page",
            Kind::Memory => "other load or store",
            Kind::Other => "other",
            Kind::Unknown => "not known",
        }
    }
}

/// B, BL, B.cond, CBZ, CBNZ, TBZ, TBNZ.
fn is_branch(op: u32) -> bool {
    op & 0x7c00_0000 == 0x1400_0000
        || op & 0xff00_0000 == 0x5400_0000
        || op & 0x7c00_0000 == 0x3400_0000
}

/// An instruction of the class "system".
fn system(op: u32) -> Kind {
    match op {
        // NOP, PACIASP, YIELD.
        _ if op & 0xffff_f01f == 0xd503_201f => Kind::Other,
        _ if op & 0xffff_f000 == 0xd503_3000 => Kind::Barrier,
        // SYS, SYSL: op0 is 1.
        _ if op & 0xffd8_0000 == 0xd508_0000 => Kind::Maintenance,
        _ => Kind::System,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings() {
        let kind = |op| Kind::of(Some(op), 0x1000, 0x1004);
        for (op, expected) in [
            (0x88e0_7c41, Kind::Atomic),      // casa w0, w1, [x2]
            (0xc85f_7c00, Kind::Atomic),      // ldxr x0, [x0]
            (0xc802_fc01, Kind::Atomic),      // stlxr w2, x1, [x0]
            (0xb820_003f, Kind::Atomic),      // stadd w0, [x1]
            (0xf8e0_8041, Kind::Atomic),      // swpal x0, x1, [x2]
            (0x88df_fc00, Kind::Ordered),     // ldar w0, [x0]
            (0x089f_fc01, Kind::Ordered),     // stlrb w1, [x0]
            (0xb8bf_c000, Kind::Ordered),     // ldapr w0, [x0]
            (0xd503_3bbf, Kind::Barrier),     // dmb ish
            (0xd503_3fdf, Kind::Barrier),     // isb
            (0xd503_201f, Kind::Other),       // nop
            (0xd503_233f, Kind::Other),       // paciasp
            (0xd538_4100, Kind::System),      // mrs x0, sp_el0
            (0xd503_43df, Kind::System),      // msr daifset, #3
            (0xd50b_7420, Kind::Maintenance), // dc zva, x0
            (0xd508_871f, Kind::Maintenance), // tlbi vmalle1
            (0xd65f_03c0, Kind::Indirect),    // ret
            (0xd63f_0100, Kind::Indirect),    // blr x8
            (0xf940_0000, Kind::Memory),      // ldr x0, [x0]
            (0xa9bf_7bfd, Kind::Memory),      // stp x29, x30, [sp, #-16]!
            (0xaa00_03e0, Kind::Other),       // mov x0, x0
            (0x5400_0041, Kind::Other),       // b.ne, not taken
        ] {
            assert_eq!(kind(op), expected, "{op:08x}");
        }
        assert_eq!(Kind::of(Some(0x9400_0000), 0x1000, 0x1ffc), Kind::NearJump);
        assert_eq!(Kind::of(Some(0x3600_0000), 0x1ffc, 0x2004), Kind::FarJump);
        assert_eq!(Kind::of(None, 0x1000, 0x1004), Kind::Unknown);
    }
}
