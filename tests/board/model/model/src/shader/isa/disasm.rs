// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Instructions as text, in the notation of Mesa.

use super::decode::{lookup, part, places};
use super::fields::{FLOW, IMMEDIATES, SPECIAL};
use super::table::{Entry, Source, Staging};
use std::fmt::Write;

/// One instruction. What is not an instruction is printed as a number.
pub fn instruction(word: u64) -> String {
    let Some(entry) = lookup(word) else {
        return format!(".word {word:#018x}");
    };
    let mut out = String::from(entry.name);
    for field in entry.fields.iter().filter(|field| field.shown) {
        out += name(field.names, field.get(word) as usize);
    }
    out += name(&FLOW, (word >> 59) as usize & 0xf);
    let mut operands = Vec::new();
    if entry.dest {
        let register = word >> 40 & 0x3f;
        operands.push(match word >> 46 & 3 {
            3 => format!("r{register}"),
            1 => format!("r{register}.h0"),
            _ => format!("r{register}.h1"),
        });
    }
    staging(word, entry, &mut operands);
    let places = places(entry);
    for (i, source) in entry.sources.iter().enumerate() {
        operands.push(operand(word, *source, i, places[i]));
    }
    for imm in entry.imms {
        let value = word >> imm.at & ((1 << imm.len) - 1);
        operands.push(if imm.name == "#" {
            format!("#{value:#X}").replace("0X", "0x")
        } else if imm.signed {
            let shift = 64 - imm.len;
            format!("{}:{}", imm.name, (value << shift) as i64 >> shift)
        } else {
            format!("{}:0x{value:X}", imm.name)
        });
    }
    out.push(' ');
    out += &operands.join(", ");
    out
}

fn name(names: &[&'static str], value: usize) -> &'static str {
    match names.get(value) {
        Some(&"-") | None => ".reserved",
        Some(name) => name,
    }
}

fn staging(word: u64, entry: &Entry, operands: &mut Vec<String>) {
    let list = |first: u64, count: u64| {
        let registers: Vec<String> = (first..first + count).map(|n| format!("r{n}")).collect();
        format!("@{}", registers.join(":"))
    };
    let written = entry
        .fields
        .iter()
        .any(|field| field.at == 36 && !field.shown);
    match entry.staging {
        Staging::None => {}
        Staging::Writes(n) => operands.push(list(word >> 40 & 0x3f, u64::from(n))),
        Staging::Write if written => operands.push(list(word >> 40 & 0x3f, (word >> 36 & 7) + 1)),
        Staging::Read | Staging::Write => {
            operands.push(list(word >> 40 & 0x3f, word >> 33 & 7));
        }
        Staging::Both => {
            operands.push(list(word >> 16 & 0x3f, (word >> 36 & 7) + 1));
            operands.push(list(word >> 40 & 0x3f, word >> 33 & 7));
        }
    }
}

fn operand(word: u64, source: Source, i: usize, at: u32) -> String {
    let byte = (word >> at) as usize & 0xff;
    let page = (word >> 57) as usize & 3;
    let value = byte & 0x3f;
    let mut out = match byte >> 6 {
        0 => format!("r{value}"),
        1 => format!("r{value}^"),
        2 => format!("u{}", value | page << 6),
        _ if value < 32 => format!("0x{:X}", IMMEDIATES[value]),
        _ => {
            let special = match SPECIAL[page][(value - 32) / 2] {
                "-" => "reserved",
                special => special,
            };
            format!("{special}.w{}", value & 1)
        }
    };
    let sign = 38 - 2 * (i as u32 % 3);
    if matches!(
        source,
        Source::F32 | Source::F32Widen | Source::F16 | Source::F16Plain | Source::HalfFloat(_)
    ) {
        if word >> sign & 1 != 0 {
            out += ".neg";
        }
        if word >> (sign + 1) & 1 != 0 {
            out += ".abs";
        }
    }
    out += part(word, source, i).map_or(".reserved", |(name, _)| name);
    if source == Source::Not && word >> 35 & 1 != 0 {
        out += ".not";
    }
    out
}

/// A program up to the first word of zeros, one line an instruction.
pub fn program(words: &[u64]) -> String {
    let mut out = String::new();
    for word in words.iter().take_while(|word| **word != 0) {
        let _ = writeln!(out, "{}", instruction(*word));
    }
    out
}
