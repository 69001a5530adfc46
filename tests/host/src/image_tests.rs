// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of the parser of firmware images.

use crate::image::{Access, Image, ImageError, SHARED_END, SHARED_START};
use crate::images::{self, code, entry, file, shared, Spec};
use proptest::prelude::*;

fn error(bytes: &[u8]) -> ImageError {
    Image::parse(bytes).expect_err("taken")
}

/// The image of code and shared section with a word replaced.
fn with_word(at: usize, value: u32) -> Vec<u8> {
    let mut bytes = file(&[code(), shared()], &[]);
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    bytes
}

#[test]
fn sections_are_what_was_written() {
    let bytes = file(&[code(), shared()], &[]);
    let image = Image::parse(&bytes).unwrap();
    let sections: Vec<_> = image.sections().collect();
    assert_eq!(sections.len(), 2);
    assert_eq!((sections[0].start, sections[0].end), (0, 0x4000));
    assert_eq!(sections[0].data, code().data);
    assert!(!sections[0].zero && !sections[0].shared);
    let access = Access {
        write: false,
        execute: true,
        cached: true,
    };
    assert_eq!(sections[0].access, access);
    assert!(sections[1].is_interface() && sections[1].zero && sections[1].shared);
    let access = Access {
        write: true,
        execute: false,
        cached: false,
    };
    assert_eq!(sections[1].access, access);
}

#[test]
fn header() {
    let bytes = file(&[shared()], &[]);
    assert_eq!(error(&bytes[..19]), ImageError::NoHeader);
    assert_eq!(error(&with_word(0, 1)), ImageError::Magic);
    assert_eq!(error(&with_word(4, 0x0100)), ImageError::Version);
    assert!(
        Image::parse(&with_word(4, 0xff)).is_ok(),
        "any minor version"
    );
    assert_eq!(error(&with_word(16, u32::MAX)), ImageError::Size);
    assert_eq!(error(&with_word(16, 0)), ImageError::NoShared);
}

#[test]
fn entries() {
    // The first one is 24 bytes and a name of four at offset 20.
    let head = 28 << 8;
    assert_eq!(
        u32::from_le_bytes(with_word(0, 0)[20..24].try_into().unwrap()),
        head
    );
    for size in [0, 3, 4, 20, 26, 252] {
        assert_eq!(
            error(&with_word(20, size << 8)),
            ImageError::Entry(20),
            "{size}"
        );
    }
    assert_eq!(error(&with_word(20, 0x63 | head)), ImageError::Unknown(20));
    assert!(Image::parse(&with_word(20, 0x8000_0063 | head)).is_ok());
    for skipped in 1..=4 {
        assert!(Image::parse(&file(&[shared()], &[entry(skipped, &[])])).is_ok());
    }
    let cut = file(&[shared()], &[vec![0, 0]]);
    assert_eq!(error(&cut), ImageError::Entry(52));
    assert_eq!(
        error(&file(&[shared()], &[entry(6, &[0; 4])])),
        ImageError::Entry(52)
    );
}

#[test]
fn sections() {
    assert_eq!(error(&with_word(24, 0x40)), ImageError::Flags(20));
    assert_eq!(error(&with_word(28, 0x5000)), ImageError::Addresses(20));
    assert_eq!(error(&with_word(32, 0x3ffc)), ImageError::Addresses(20));
    assert_eq!(
        error(&with_word(32, 0x2000)),
        ImageError::Data(20),
        "longer than the section"
    );
    assert_eq!(error(&with_word(36, u32::MAX)), ImageError::Data(20));
    assert_eq!(error(&with_word(40, 8)), ImageError::Data(20), "backwards");
    assert_eq!(
        error(&with_word(40, 0x10_0000)),
        ImageError::Data(20),
        "outside of the file"
    );
    let twice = Spec {
        data: vec![],
        range: (0x3000, 0x5000),
        ..code()
    };
    let both = file(&[code(), shared(), twice.clone()], &[]);
    assert_eq!(error(&both), ImageError::Overlap(20 + 28 + 32));
    // What is not loaded is in nobody's way.
    let protected = Spec {
        flags: 0x2d,
        ..twice
    };
    assert!(Image::parse(&file(&[code(), shared(), protected], &[])).is_ok());
    // An empty one counts for nothing.
    let empty = Spec {
        range: (SHARED_START, SHARED_START),
        data: vec![],
        ..code()
    };
    let bytes = file(&[empty, shared()], &[]);
    assert_eq!(Image::parse(&bytes).unwrap().sections().count(), 1);
}

#[test]
fn shared_section() {
    assert_eq!(error(&file(&[code()], &[])), ImageError::NoShared);
    let private = Spec {
        flags: 0x13,
        ..shared()
    };
    assert_eq!(error(&file(&[private], &[])), ImageError::NoShared);
    let elsewhere = Spec {
        range: (SHARED_START + 0x1000, SHARED_START + 0x2000),
        ..shared()
    };
    assert_eq!(error(&file(&[elsewhere], &[])), ImageError::NoShared);
    let large = Spec {
        range: (SHARED_START, SHARED_END + 0x1000),
        ..shared()
    };
    assert_eq!(error(&file(&[large], &[])), ImageError::NoShared);
    let all = Spec {
        range: (SHARED_START, SHARED_END),
        ..shared()
    };
    assert!(Image::parse(&file(&[all], &[])).is_ok());
}

#[test]
fn too_many_sections() {
    let many = |n: u32| -> Vec<Spec> {
        let range = |i| (0x10_0000 + i * 0x1000, 0x10_1000 + i * 0x1000);
        let one = |i| Spec {
            range: range(i),
            data: vec![],
            ..code()
        };
        (0..n).map(one).chain([shared()]).collect()
    };
    assert!(Image::parse(&file(&many(63), &[])).is_ok());
    assert!(matches!(
        error(&file(&many(64), &[])),
        ImageError::TooMany(_)
    ));
}

#[test]
fn build_information() {
    let info = |text: &[u8], len: u32| {
        // It stands in the name of an entry that is skipped, behind the entry that says so.
        let at = 20u32 + 32 + 12 + 4;
        let mut text = text.to_vec();
        text.resize(text.len().next_multiple_of(4), 0);
        let place = entry(6, &[at.to_le_bytes(), len.to_le_bytes()].concat());
        file(&[shared()], &[place, entry(1, &text)])
    };
    let sha = |bytes: &[u8]| Image::parse(bytes).unwrap().git_sha().map(str::to_owned);
    assert_eq!(sha(&info(b"git_sha: abc\0", 13)).as_deref(), Some("abc"));
    assert_eq!(sha(&info(b"git_sha: abc\0", 12)), None, "not ended");
    assert_eq!(sha(&info(b"gitsha: abc\0", 12)), None);
    assert_eq!(
        sha(&info(b"git_sha: abc\0", u32::MAX)),
        None,
        "outside of the file"
    );
    assert_eq!(sha(&info(b"git_sha: \xff\0", 11)), None, "no text");
    assert_eq!(sha(&file(&[shared()], &[])), None);
}

proptest! {
    #[test]
    fn any_bytes(mut bytes in proptest::collection::vec(any::<u8>(), 0..512), good in any::<bool>()) {
        if good && bytes.len() >= 20 {
            bytes[..4].copy_from_slice(&0xc3f1_3a6e_u32.to_le_bytes());
            bytes[5] = 0;
            let size = bytes.len() as u32;
            bytes[16..20].copy_from_slice(&size.to_le_bytes());
        }
        images::judge(&bytes).unwrap();
    }

    #[test]
    fn broken_images(seed in any::<u64>()) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let seeds = images::seeds();
        let mut image = seeds[rng.usize(..seeds.len())].clone();
        images::break_it(&mut rng, &mut image);
        images::judge(&image).unwrap();
    }
}

#[test]
fn seeds_are_good() {
    for seed in images::seeds() {
        assert_eq!(images::judge(&seed), Ok(true));
    }
}
