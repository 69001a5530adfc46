// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Messages of the vfio-user protocol, little-endian over a stream socket.

/// Bytes of a header.
pub const HEADER_SIZE: usize = 16;
/// Largest message that is accepted.
pub const MAX_MESSAGE: usize = 1 << 20;

/// What QEMU asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Agree on a version.
    Version,
    /// A piece of guest memory appears.
    DmaMap,
    /// A piece of guest memory goes.
    DmaUnmap,
    /// What the device has.
    DeviceInfo,
    /// What a region is.
    RegionInfo,
    /// What an interrupt kind is.
    IrqInfo,
    /// Set eventfds.
    SetIrqs,
    /// Read a region.
    RegionRead,
    /// Write a region.
    RegionWrite,
    /// Reset the device.
    DeviceReset,
}

impl Command {
    fn of(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::Version,
            2 => Self::DmaMap,
            3 => Self::DmaUnmap,
            4 => Self::DeviceInfo,
            5 => Self::RegionInfo,
            7 => Self::IrqInfo,
            8 => Self::SetIrqs,
            9 => Self::RegionRead,
            10 => Self::RegionWrite,
            13 => Self::DeviceReset,
            _ => return None,
        })
    }
}

/// A message header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Number that the answer repeats.
    pub id: u16,
    /// Number of the command.
    pub command: u16,
    /// Bytes with this header.
    pub size: u32,
    /// Type and flags.
    pub flags: u32,
}

impl Header {
    /// Reads a header.
    pub fn parse(bytes: &[u8; HEADER_SIZE]) -> Self {
        let mut fields = Fields(bytes);
        Self {
            id: fields.u16(),
            command: fields.u16(),
            size: fields.u32(),
            flags: fields.u32(),
        }
    }

    /// The command, if it is known.
    pub fn command(&self) -> Option<Command> {
        Command::of(self.command)
    }

    /// Bytes that follow, if that is a sane number.
    pub fn payload(&self) -> Option<usize> {
        let len = (self.size as usize).checked_sub(HEADER_SIZE)?;
        (len <= MAX_MESSAGE).then_some(len)
    }

    /// The sender wants no answer.
    pub fn no_reply(&self) -> bool {
        self.flags & (1 << 4) != 0
    }

    /// Starts an answer; [`finish`] puts in its size.
    pub fn reply(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.extend(self.id.to_le_bytes());
        out.extend(self.command.to_le_bytes());
        out.extend(0u32.to_le_bytes());
        out.extend(1u32.to_le_bytes());
        out.extend(0u32.to_le_bytes());
        out
    }

    /// The answer that says that it failed.
    pub fn error(&self, errno: i32) -> Vec<u8> {
        let mut out = self.reply();
        out[8..12].copy_from_slice(&(1u32 | (1 << 5)).to_le_bytes());
        out[12..16].copy_from_slice(&errno.to_le_bytes());
        finish(out)
    }
}

/// Puts the size into an answer.
pub fn finish(mut out: Vec<u8>) -> Vec<u8> {
    let size = (out.len() as u32).to_le_bytes();
    out[4..8].copy_from_slice(&size);
    out
}

/// Reads fields one after the other; what is missing is 0.
#[derive(Debug)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((head, tail)) => {
                self.0 = tail;
                *head
            }
            None => {
                self.0 = &[];
                [0; N]
            }
        }
    }

    /// Two bytes.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    /// Four bytes.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    /// All that is left.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_round_trip() {
        let mut bytes = [0; HEADER_SIZE];
        bytes[0] = 7;
        bytes[2] = 9;
        bytes[4] = 32;
        bytes[8] = 0x10;
        let header = Header::parse(&bytes);
        assert_eq!(header.command(), Some(Command::RegionRead));
        assert_eq!(header.payload(), Some(16));
        assert!(header.no_reply());
        let error = header.error(22);
        assert_eq!(error.len(), HEADER_SIZE);
        assert_eq!(error, [7, 0, 9, 0, 16, 0, 0, 0, 0x21, 0, 0, 0, 22, 0, 0, 0]);
    }

    #[test]
    fn insane_sizes_and_short_payloads() {
        let header = |size| Header {
            id: 0,
            command: 99,
            size,
            flags: 0,
        };
        assert_eq!(header(3).payload(), None);
        assert_eq!(header(u32::MAX).payload(), None);
        assert_eq!(header(16).command(), None);
        let mut fields = Fields(&[1, 0, 0]);
        assert_eq!((fields.u16(), fields.u32(), fields.u64()), (1, 0, 0));
    }
}
