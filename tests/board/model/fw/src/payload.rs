// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The sections of the free image, and the checks that its microcontroller makes at boot.

use crate::image::{flags, Image, Section};

/// Address of the code section: where the microcontroller fetches its first words.
pub const CODE_VA: u32 = 0x0000_0000;
/// Bytes of the code section.
pub const CODE_SIZE: u32 = 0x4000;
/// Address of the private data of the firmware.
pub const DATA_VA: u32 = 0x0001_0000;
/// Bytes of the private data, of which the image fills only the first word.
pub const DATA_SIZE: u32 = 0x2000;
/// Address of the section shared with the host. The format fixes it.
pub const SHARED_VA: u32 = 0x0400_0000;
/// Bytes of the section shared with the host.
pub const SHARED_SIZE: u32 = 0x6_0000;

/// First word of the code section.
pub const CODE_MAGIC: u32 = 0x4d43_4631;
/// First word of the data section.
pub const DATA_MAGIC: u32 = 0x4d44_4631;
/// Offset in the data section of the number of boots since the section was loaded.
pub const DATA_BOOTS: u32 = 4;
/// Bytes in front of the hashed part of the code section: magic, length, hash.
pub const CODE_HEADER: usize = 16;

/// FNV-1a over bytes.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Why the microcontroller refuses a code section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeError {
    /// The first word is not [`CODE_MAGIC`].
    Magic(u32),
    /// The length word does not fit the section.
    Length(u32),
    /// The words differ from those that the generator wrote.
    Hash,
}

/// Checks the bytes that a driver put at [`CODE_VA`].
pub fn check_code(code: &[u8]) -> Result<(), CodeError> {
    let word = |at: usize| -> u32 {
        code.get(at..at + 4)
            .and_then(|b| b.try_into().ok())
            .map_or(0, u32::from_le_bytes)
    };
    if word(0) != CODE_MAGIC {
        return Err(CodeError::Magic(word(0)));
    }
    let length = word(4);
    let body = (length as usize)
        .checked_add(CODE_HEADER)
        .and_then(|end| code.get(CODE_HEADER..end))
        .ok_or(CodeError::Length(length))?;
    let hash = u64::from(word(8)) | (u64::from(word(12)) << 32);
    if fnv1a(body) != hash {
        return Err(CodeError::Hash);
    }
    Ok(())
}

/// The code section: header and a pattern that differs in every page.
pub fn code() -> Vec<u8> {
    let body: Vec<u8> = (0..(CODE_SIZE as usize - CODE_HEADER) / 4)
        .flat_map(|i| (i as u32).wrapping_mul(0x9e37_79b1).to_le_bytes())
        .collect();
    let mut code = Vec::with_capacity(CODE_SIZE as usize);
    code.extend_from_slice(&CODE_MAGIC.to_le_bytes());
    code.extend_from_slice(&(body.len() as u32).to_le_bytes());
    code.extend_from_slice(&fnv1a(&body).to_le_bytes());
    code.extend_from_slice(&body);
    code
}

/// The whole free image.
pub fn image() -> Image {
    let mut data = DATA_MAGIC.to_le_bytes().to_vec();
    data.extend_from_slice(&0u32.to_le_bytes());
    Image {
        version_hash: 0x6672_6565,
        build_info: Some("git_sha: free firmware of the simulated board".into()),
        sections: vec![
            Section {
                name: "code".into(),
                flags: flags::READ | flags::EXECUTE | flags::CACHED,
                va: CODE_VA,
                size: CODE_SIZE,
                data: code(),
            },
            Section {
                name: "data".into(),
                flags: flags::READ | flags::WRITE | flags::CACHED | flags::ZERO,
                va: DATA_VA,
                size: DATA_SIZE,
                data,
            },
            Section {
                name: "shared".into(),
                flags: flags::READ
                    | flags::WRITE
                    | flags::UNCACHED_COHERENT
                    | flags::SHARED
                    | flags::ZERO,
                va: SHARED_VA,
                size: SHARED_SIZE,
                data: Vec::new(),
            },
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_checks_itself() {
        let mut code = code();
        assert_eq!(code.len(), CODE_SIZE as usize);
        assert_eq!(check_code(&code), Ok(()));
        code[0x2345] ^= 1;
        assert_eq!(check_code(&code), Err(CodeError::Hash));
        code[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(check_code(&code), Err(CodeError::Length(u32::MAX)));
        assert_eq!(check_code(&[]), Err(CodeError::Magic(0)));
    }

    #[test]
    fn image_reads_back() {
        let image = image();
        assert_eq!(Image::parse(&image.to_bytes()).as_ref(), Ok(&image));
    }
}
