// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Instructions as text.

use super::instr::Instr;
use crate::shader::job::Selects;
use std::fmt::{self, Display, Formatter};

/// `.le` and so on, as BRANCH and SYNC_WAIT compare.
fn condition(bits: u8) -> &'static str {
    match bits {
        0 => ".le",
        1 => ".gt",
        2 => ".eq",
        3 => ".ne",
        4 => ".lt",
        5 => ".ge",
        6 => ".always",
        _ => ".?",
    }
}

fn scope(bits: u8) -> &'static str {
    match bits {
        0 => ".system",
        2 => ".group",
        _ => ".?",
    }
}

fn flag(on: bool, text: &'static str) -> &'static str {
    if on {
        text
    } else {
        ""
    }
}

/// `[d10 + 16]`.
struct At(u8, i16);

impl Display for At {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.1 {
            0 => write!(f, "[d{}]", self.0),
            n if n < 0 => write!(f, "[d{} - {}]", self.0, n.unsigned_abs()),
            n => write!(f, "[d{} + {n}]", self.0),
        }
    }
}

/// `r4-r7,r9`.
struct Regs(u8, u16);

impl Display for Regs {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.1 == 0 {
            return write!(f, "none");
        }
        let (mut n, mut comma) = (0, "");
        while n < 16 {
            let run = (u32::from(self.1) >> n).trailing_ones();
            if run == 0 {
                n += 1;
                continue;
            }
            let first = u32::from(self.0) + n;
            write!(f, "{comma}r{first}")?;
            if run > 1 {
                write!(f, "-r{}", first + run - 1)?;
            }
            comma = ",";
            n += run;
        }
        Ok(())
    }
}

/// ` wait 0x3 signal 1`, nothing for what is done at once.
struct Later(u16, u8);

impl Display for Later {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            mask => write!(f, " wait {mask:#x} signal {}", self.1),
        }
    }
}

impl Display for Selects {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { srt, fau, spd, tsd } = self;
        write!(f, "srt{srt} fau{fau} spd{spd} tsd{tsd}")
    }
}

impl Display for Instr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = Self::name(self.opcode());
        let inc = |on| flag(on, ".progress");
        let selects = self.selects();
        match *self {
            Self::Nop { ignored: 0 } => write!(f, "{name}"),
            Self::Nop { ignored } => write!(f, "{name} {ignored:#x}"),
            Self::Move48 { immediate, dest } => write!(f, "{name} d{dest}, {immediate:#x}"),
            Self::Move32 { immediate, dest } => write!(f, "{name} r{dest}, {immediate:#x}"),
            Self::Wait { mask, progress } => write!(f, "{name}{} {mask:#x}", inc(progress)),
            Self::RunCompute {
                increment,
                axis,
                progress,
                ..
            } => {
                let axis = [".x", ".y", ".z", ".?"][usize::from(axis & 3)];
                write!(
                    f,
                    "{name}{}{axis} {selects} every {increment}",
                    inc(progress)
                )
            }
            Self::RunComputeIndirect {
                per_task, progress, ..
            } => {
                write!(f, "{name}{} {selects} every {per_task}", inc(progress))
            }
            Self::RunTiling {
                flags, progress, ..
            } => {
                write!(f, "{name}{} {selects} flags {flags:#x}", inc(progress))
            }
            Self::RunIdvs {
                flags,
                progress,
                malloc,
                draw_id_enable,
                varying_srt,
                varying_fau,
                varying_tsd,
                fragment_srt,
                fragment_tsd,
                draw_id,
            } => {
                write!(f, "{name}{}{}", inc(progress), flag(malloc, ".malloc"))?;
                write!(f, " varying srt{}", u8::from(varying_srt))?;
                write!(f, " fau{}", u8::from(varying_fau))?;
                write!(f, " tsd{}", u8::from(varying_tsd))?;
                write!(f, " fragment srt{}", 2 * u8::from(fragment_srt))?;
                write!(f, " tsd{}", 2 * u8::from(fragment_tsd))?;
                if draw_id_enable {
                    write!(f, " draw r{draw_id}")?;
                }
                write!(f, " flags {flags:#x}")
            }
            Self::RunFragment {
                tile_map,
                order,
                progress,
            } => {
                let map = flag(tile_map, ".tile_map");
                write!(f, "{name}{}{map} order {order}", inc(progress))
            }
            Self::RunFullscreen {
                flags,
                progress,
                dcd,
            } => write!(f, "{name}{} d{dcd} flags {flags:#x}", inc(progress)),
            Self::FinishTiling { progress } => write!(f, "{name}{}", inc(progress)),
            Self::FinishFragment {
                increment,
                wait,
                last,
                first,
                signal,
            } => {
                let increment = flag(increment, ".increment");
                let later = Later(wait, signal);
                write!(f, "{name}{increment} first d{first} last d{last}{later}")
            }
            Self::AddImm32 {
                immediate,
                source,
                dest,
            } => write!(f, "{name} r{dest}, r{source}, {immediate}"),
            Self::AddImm64 {
                immediate,
                source,
                dest,
            } => write!(f, "{name} d{dest}, d{source}, {immediate}"),
            Self::Umin32 {
                source1,
                source0,
                dest,
            } => write!(f, "{name} r{dest}, r{source0}, r{source1}"),
            Self::LoadMultiple {
                offset,
                mask,
                address,
                base,
            } => write!(f, "{name} {}, {}", Regs(base, mask), At(address, offset)),
            Self::StoreMultiple {
                offset,
                mask,
                address,
                base,
            } => write!(f, "{name} {}, {}", At(address, offset), Regs(base, mask)),
            Self::Branch {
                offset,
                condition: bits,
                value,
            } => {
                write!(f, "{name}{}", condition(bits))?;
                if bits != 6 {
                    write!(f, " r{value},")?;
                }
                write!(f, " {offset:+}")
            }
            Self::SetSbEntry { endpoint, other } => {
                write!(f, "{name} endpoint {endpoint} other {other}")
            }
            Self::ProgressWait { queue, source } => {
                write!(f, "{name} stream {queue} d{source}")
            }
            Self::SetExceptionHandler {
                exception,
                length,
                address,
            } => {
                let what = if exception == 2 { ".tiler_oom" } else { ".?" };
                write!(f, "{name}{what} d{address}, r{length}")
            }
            Self::Call { length, address } | Self::Jump { length, address } => {
                write!(f, "{name} d{address}, r{length}")
            }
            Self::ReqResource {
                compute,
                fragment,
                tiler,
                idvs,
            } => {
                write!(f, "{name}{}", flag(compute, ".compute"))?;
                write!(f, "{}", flag(fragment, ".fragment"))?;
                write!(f, "{}{}", flag(tiler, ".tiler"), flag(idvs, ".idvs"))
            }
            Self::FlushCache2 {
                l2,
                lsc,
                other,
                wait,
                flush_id,
                signal,
            } => {
                write!(f, "{name} l2 {l2} lsc {lsc} other {other} id r{flush_id}")?;
                match wait {
                    0 => write!(f, " signal {signal}"),
                    wait => write!(f, "{}", Later(wait, signal)),
                }
            }
            Self::SyncAdd32 { .. }
            | Self::SyncSet32 { .. }
            | Self::SyncAdd64 { .. }
            | Self::SyncSet64 { .. } => self.sync().map_or(Ok(()), |sync| {
                let (scope, error) = (scope(sync.scope), flag(sync.propagate, ".error"));
                let data = if sync.wide { 'd' } else { 'r' };
                write!(f, "{name}{scope}{error} [d{}], ", sync.address)?;
                write!(f, "{data}{}{}", sync.data, Later(sync.wait, sync.signal))
            }),
            Self::SyncWait32 {
                reject,
                condition: bits,
                data,
                address,
            } => {
                let (how, reject) = (condition(bits), flag(reject, ".reject"));
                write!(f, "{name}{how}{reject} [d{address}], r{data}")
            }
            Self::SyncWait64 {
                reject,
                condition: bits,
                data,
                address,
            } => {
                let (how, reject) = (condition(bits), flag(reject, ".reject"));
                write!(f, "{name}{how}{reject} [d{address}], d{data}")
            }
            Self::StoreState {
                offset,
                wait,
                state,
                address,
                signal,
            } => {
                let states = [".timestamp", ".cycles", ".disjoint", ".error"];
                let state = states[usize::from(state & 3)];
                let (at, later) = (At(address, offset), Later(wait, signal));
                write!(f, "{name}{state} {at}{later}")
            }
            Self::ProtRegion { size } => write!(f, "{name} {size}"),
            Self::ProgressStore { source } => write!(f, "{name} d{source}"),
            Self::ProgressLoad { dest } => write!(f, "{name} d{dest}"),
            Self::ErrorBarrier {} => write!(f, "{name}"),
            Self::HeapSet { address } => write!(f, "{name} d{address}"),
            Self::HeapOperation {
                wait,
                operation,
                signal,
            } => {
                let what = [".vt_start", ".vt_end", ".?", ".frag_end"];
                let what = what[usize::from(operation & 3)];
                write!(f, "{name}{what}{}", Later(wait, signal))
            }
            Self::TracePoint {
                wait,
                base,
                count,
                signal,
            } => write!(f, "{name} r{base} x{count}{}", Later(wait, signal)),
        }
    }
}

/// A word as text: the instruction, bits that should be zero, or that there is none.
pub fn word(word: u64) -> String {
    let Some(instr) = Instr::decode(word) else {
        return format!("unknown opcode {}", word >> 56);
    };
    match Instr::reserved_bits(word) {
        0 => instr.to_string(),
        bits => format!("{instr} ; reserved bits {bits:#x}"),
    }
}

/// A line for each word of a buffer at `va`, with the targets of branches; what calls and jumps go
/// to, where it is known from moves just before, is at the end of the line.
pub fn lines(va: u64, words: &[u64]) -> Vec<String> {
    let mut known = [None; 256];
    let mut lines = Vec::with_capacity(words.len());
    for (at, bits) in (va..).step_by(8).zip(words) {
        let mut line = format!("{at:012x} {bits:016x} {}", word(*bits));
        match Instr::decode(*bits) {
            Some(Instr::Branch { offset, .. }) => {
                let to = at.wrapping_add_signed(8 * i64::from(offset) + 8);
                line += &format!(" ; {to:#x}");
            }
            Some(Instr::Move48 { immediate, dest }) => {
                known[usize::from(dest)] = Some(immediate);
            }
            Some(Instr::Move32 { immediate, dest }) => {
                known[usize::from(dest)] = Some(immediate.into());
            }
            Some(Instr::Call { length, address } | Instr::Jump { length, address }) => {
                let (to, len) = (known[usize::from(address)], known[usize::from(length)]);
                if let (Some(to), Some(len)) = (to, len) {
                    line += &format!(" ; {to:#x} +{len:#x}");
                }
                known = [None; 256];
            }
            Some(Instr::LoadMultiple { .. } | Instr::AddImm32 { .. } | Instr::AddImm64 { .. }) => {
                known = [None; 256];
            }
            _ => {}
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cs::rng::Rng;

    #[test]
    fn the_kernels_ring() {
        let words = [
            0x025e_0000_0000_0000,
            0x2400_5e00_0000_0233,
            0x015c_0000_7f00_0000,
            0x025e_0000_0000_0010,
            0x0300_0000_0001_0000,
            0x2000_5c5e_0000_0000,
            0x015c_ffff_f000_0000,
            0x015e_0000_0000_0001,
            0x0300_0000_00ff_0000,
            0x3300_5c5e_0000_0001,
            0x2f00_0000_0000_0000,
            0x2800_5e00_0000_0008,
            0,
            0x1600_4d00_1000_fffe,
        ];
        let text: Vec<String> = lines(0x1000, &words)
            .iter()
            .map(|line| line[30..].to_string())
            .collect();
        assert_eq!(
            text,
            [
                "MOVE32 r94, 0x0",
                "FLUSH_CACHE2 l2 3 lsc 3 other 2 id r94 signal 0",
                "MOVE48 d92, 0x7f000000",
                "MOVE32 r94, 0x10",
                "WAIT 0x1",
                "CALL d92, r94 ; 0x7f000000 +0x10",
                "MOVE48 d92, 0xfffff0000000",
                "MOVE48 d94, 0x1",
                "WAIT 0xff",
                "SYNC_ADD64.system.error [d92], d94",
                "ERROR_BARRIER",
                "STORE_STATE.timestamp [d94 + 8]",
                "NOP",
                "BRANCH.gt r77, -2 ; 0x1060",
            ]
        );
    }

    #[test]
    fn registers_and_offsets() {
        let load = Instr::LoadMultiple {
            offset: -8,
            mask: 0b1011_0111,
            address: 2,
            base: 10,
        };
        assert_eq!(
            load.to_string(),
            "LOAD_MULTIPLE r10-r12,r14-r15,r17, [d2 - 8]"
        );
        assert_eq!(word(0xff << 56), "unknown opcode 255");
        assert_eq!(
            word(1 << 40 | 2 << 56),
            "MOVE32 r0, 0x0 ; reserved bits 0x10000000000"
        );
    }

    #[test]
    fn every_difference_shows() {
        // Two words that differ in what is decoded differ as text.
        let mut rng = Rng::new(9);
        for (op, name) in Instr::ALL {
            for _ in 0..200 {
                let bits = rng.next() >> 8 | u64::from(*op) << 56;
                let other = bits ^ 1 << rng.below(56);
                let (a, b) = (Instr::decode(bits), Instr::decode(other));
                let same = a.map(|i| i.to_string()) == b.map(|i| i.to_string());
                // What is not looked at is not shown: a condition that is always true, a signal of
                // what is done at once, numbers that mean nothing.
                let unshown = [
                    6, 16, 17, 22, 25, 37, 38, 39, 40, 49, 50, 51, 52, 53, 11, 36,
                ];
                if a != b && !unshown.contains(op) {
                    assert!(!same, "{name} {bits:#x} {other:#x}");
                }
                assert!(a.unwrap().to_string().starts_with(name));
            }
        }
    }
}
