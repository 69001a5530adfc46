// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of the tables.

use super::decode::{decode, known_bits, lookup};
use super::disasm::instruction;
use super::op::Op;
use super::rows::TABLE;
use std::collections::BTreeSet;

#[test]
fn every_row_is_found_by_its_encoding() {
    for entry in TABLE {
        let (at, mask, value) = entry.second;
        let word = u64::from(entry.opcode) << 48 | u64::from(value) << at;
        assert_eq!(value & !mask, 0, "{}", entry.name);
        assert_eq!(lookup(word).map(|found| found.name), Some(entry.name));
        assert_eq!(known_bits(entry) >> 63, 0, "{}", entry.name);
    }
}

#[test]
fn what_is_unknown_is_not_decoded() {
    assert!(decode(0).is_some(), "NOP");
    assert!(decode(1 << 63).is_none(), "reserved bit");
    assert!(decode(11 << 59).is_none(), "reserved flow control");
    assert!(decode(1 << 20).is_none(), "NOP with an operand");
    assert!(decode(0x1ff << 48).is_none(), "no such opcode");
}

#[test]
fn the_text_is_that_of_mesa() {
    let vectors = include_str!("../vectors/disasm.txt");
    let mut count = 0;
    for line in vectors.lines().filter(|line| !line.starts_with('#')) {
        let (word, text) = line.split_once(' ').unwrap();
        let word = u64::from_str_radix(word, 16).unwrap();
        assert_eq!(instruction(word).trim_end(), text);
        assert!(decode(word).is_some(), "{text}");
        count += 1;
    }
    assert!(count > 200, "{count}");
}

/// The README names what is not executed, and nothing else.
#[test]
fn the_readme_is_right() {
    let readme = include_str!("../../../../README.md");
    let list = readme.split("not executed:\n\n").nth(1).unwrap();
    let list = list.split("\n\n").next().unwrap();
    let named: BTreeSet<&str> = list.split_whitespace().collect();
    let unsupported = TABLE.iter().filter(|entry| entry.op == Op::Unsupported);
    assert_eq!(named, unsupported.map(|entry| entry.name).collect());
}
