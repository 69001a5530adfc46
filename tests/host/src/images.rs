// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Firmware images: written here, broken on purpose, and looked at by the driver's parser.

use crate::image::{Image, MAX_SECTIONS, SHARED_END, SHARED_START};
use fastrand::Rng;

/// A section to write.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Flags, as in the file.
    pub flags: u32,
    /// First address, and the one behind the last.
    pub range: (u32, u32),
    /// What is in the file.
    pub data: Vec<u8>,
    /// A name, padded to a multiple of four.
    pub name: &'static str,
}

/// A section that the host shares, zeroed and uncached.
pub fn shared() -> Spec {
    Spec {
        flags: 0xc000_0013,
        range: (SHARED_START, SHARED_START + 0x2_0000),
        data: vec![],
        name: "shared",
    }
}

/// Another one.
pub fn code() -> Spec {
    Spec {
        flags: 0xd,
        range: (0, 0x4000),
        data: (0..0x3000u32).map(|i| i as u8).collect(),
        name: "code",
    }
}

/// An entry of any type.
pub fn entry(kind: u32, payload: &[u8]) -> Vec<u8> {
    let mut entry = (kind | (payload.len() as u32 + 4) << 8)
        .to_le_bytes()
        .to_vec();
    entry.extend_from_slice(payload);
    entry
}

/// A file of these entries, with the data of the sections behind them.
pub fn file(sections: &[Spec], others: &[Vec<u8>]) -> Vec<u8> {
    let padded = |name: &str| name.len().next_multiple_of(4);
    let size = 20
        + others.iter().map(Vec::len).sum::<usize>()
        + sections.iter().map(|s| 24 + padded(s.name)).sum::<usize>();
    let mut file = 0xc3f1_3a6e_u32.to_le_bytes().to_vec();
    file.extend_from_slice(&[3, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0]);
    file.extend_from_slice(&(size as u32).to_le_bytes());
    let mut data_at = size;
    for s in sections {
        let mut payload = vec![];
        for word in [
            s.flags,
            s.range.0,
            s.range.1,
            data_at as u32,
            (data_at + s.data.len()) as u32,
        ] {
            payload.extend_from_slice(&word.to_le_bytes());
        }
        let mut name = s.name.as_bytes().to_vec();
        name.resize(padded(s.name), 0);
        payload.extend_from_slice(&name);
        file.extend_from_slice(&entry(0, &payload));
        data_at += s.data.len();
    }
    for other in others {
        file.extend_from_slice(other);
    }
    for s in sections {
        file.extend_from_slice(&s.data);
    }
    file
}

/// Images to start from.
pub fn seeds() -> Vec<Vec<u8>> {
    let build_info = |at: u32, len: u32| entry(6, &[at.to_le_bytes(), len.to_le_bytes()].concat());
    let many: Vec<Spec> = (0..MAX_SECTIONS as u32 - 1)
        .map(|i| Spec {
            flags: 0x8000_000b,
            range: (0x10_0000 + i * 0x1000, 0x10_1000 + i * 0x1000),
            data: vec![i as u8; 8],
            name: "",
        })
        .chain([shared()])
        .collect();
    vec![
        file(&[code(), shared()], &[]),
        file(
            &[code(), shared()],
            &[
                entry(1, &[0; 12]),
                entry(0x8000_0063, &[0; 4]),
                build_info(20, 16),
            ],
        ),
        file(&many, &[build_info(0, 8)]),
    ]
}

/// Breaks an image in one to eight places: most often in the header and the entries.
pub fn break_it(rng: &mut Rng, image: &mut Vec<u8>) {
    const WORDS: [u32; 12] = [
        0,
        1,
        4,
        0xfff,
        0x1000,
        SHARED_START,
        SHARED_START - 0x1000,
        SHARED_END,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_f000,
        u32::MAX,
    ];
    for _ in 0..rng.usize(1..=8) {
        if image.len() < 4 {
            return;
        }
        let reach = if rng.u8(..) < 224 {
            image.len().min(256)
        } else {
            image.len()
        };
        let at = rng.usize(..reach);
        let word_at = (at & !3).min(image.len() - 4);
        match rng.u8(..7) {
            0 => image[at] ^= 1 << rng.u8(..8),
            1 => image[at] = rng.u8(..),
            2 => image[word_at..word_at + 4].copy_from_slice(&rng.u32(..).to_le_bytes()),
            3 => image[word_at..word_at + 4]
                .copy_from_slice(&WORDS[rng.usize(..WORDS.len())].to_le_bytes()),
            4 => {
                let from = rng.usize(..image.len() - 3);
                image.copy_within(from..from + 4, word_at);
            }
            5 if rng.u8(..) < 32 => image.truncate(at),
            _ => {
                let old = u32::from_le_bytes(image[word_at..word_at + 4].try_into().unwrap());
                let new = old.wrapping_add(rng.u32(..64)).wrapping_sub(32);
                image[word_at..word_at + 4].copy_from_slice(&new.to_le_bytes());
            }
        }
    }
}

/// What must hold of whatever the parser says of a file. Says whether it took it.
pub fn judge(file: &[u8]) -> Result<bool, String> {
    let image = match Image::parse(file) {
        Ok(image) => image,
        Err(err) => {
            let (text, at) = err.describe();
            if text.is_empty() || at as usize > file.len() {
                return Err(format!("{err:?} names no place in {} bytes", file.len()));
            }
            return Ok(false);
        }
    };
    let within = |part: &[u8]| {
        let file = file.as_ptr_range();
        let part = part.as_ptr_range();
        file.start <= part.start && part.end <= file.end
    };
    let sections: Vec<_> = image.sections().collect();
    for (i, s) in sections.iter().enumerate() {
        if s.start >= s.end || s.start % 0x1000 != 0 || s.end % 0x1000 != 0 {
            return Err(format!("addresses {:#x}..{:#x}", s.start, s.end));
        }
        if s.data.len() as u64 > u64::from(s.end - s.start) || !within(s.data) {
            return Err(format!(
                "{} bytes in {:#x}..{:#x}",
                s.data.len(),
                s.start,
                s.end
            ));
        }
        for other in sections[..i]
            .iter()
            .filter(|other| !other.protected && !s.protected)
        {
            if other.start < s.end && s.start < other.end {
                return Err(format!("{:#x} and {:#x} overlap", other.start, s.start));
            }
        }
    }
    let mut shared = sections
        .iter()
        .filter(|s| s.start == SHARED_START && !s.protected);
    match (shared.next(), shared.next()) {
        (Some(s), None) if s.shared && s.end <= SHARED_END => Ok(true),
        found => Err(format!("shared section: {found:?}")),
    }
}
