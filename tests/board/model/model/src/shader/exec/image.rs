// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Texels that are fetched without a sampler: two-dimensional images, linear or in tiles.

use super::desc::{pair, resource, words};
use super::half::from16;
use crate::cs::env::Memory;
use crate::shader::isa::decode::Instr;
use crate::shader::isa::fields as f;
use crate::shader::job::{ComputeJob, JobError};
use crate::shader::layout::{Order, Surface};

/// What a channel of a texel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unorm,
    Snorm,
    Unsigned,
    Signed,
    Float,
}

/// An image, as a texture descriptor and its first plane say.
#[derive(Clone, Copy, Debug)]
pub struct Image {
    surface: Surface,
    width: u32,
    height: u32,
    channels: u32,
    bits: u32,
    kind: Kind,
    swizzle: [u8; 4],
}

/// Channels, bits of each and their kind. Formats come in groups of 32: one, two, three and four
/// channels in eight each.
fn format(code: u32) -> Option<(u32, u32, Kind)> {
    let (kind, group) = match code {
        99..=125 => (Kind::Snorm, 99),
        131..=157 => (Kind::Unsigned, 131),
        163..=191 => (Kind::Unorm, 163),
        195..=223 => (Kind::Signed, 195),
        _ => return None,
    };
    let (channels, width) = ((code - group) / 8 + 1, (code - group) % 8);
    let (bits, kind) = match (width, group) {
        (0..=2, _) => (8 << width, kind),
        (4, 163) => (32, Kind::Float),
        (4, 195) => (16, Kind::Float),
        _ => return None,
    };
    (channels != 3).then_some((channels, bits, kind))
}

impl Image {
    /// Reads the descriptors behind a handle. `None`: not an image that the model knows.
    pub fn read<M: Memory + ?Sized>(
        memory: &mut M,
        job: &ComputeJob,
        handle: u32,
    ) -> Result<Option<Self>, JobError> {
        // Narrow indices: table in [31:27], index in [26:16]; the sampler is not used.
        let index = (handle >> 27) << 24 | handle >> 16 & 0x7ff;
        let Some((_, t)) = resource(memory, job, index)? else {
            return Ok(None);
        };
        let plane: [u32; 8] = match (t[0] & 0xf, t[0] >> 4 & 3) {
            (2, 2) => words(memory, pair(t[4], t[5]))?,
            _ => return Ok(None),
        };
        let order = match (plane[0] & 0xff, plane[0] >> 8 & 0xf) {
            (0x1a, 1) => Order::Tiled,
            (0x1a, 2) => Order::Linear,
            _ => return Ok(None),
        };
        // One level, one layer, one sample, channels in their order, no colour space.
        let plain = t[2] >> 16 & 0x1f == 0
            && t[6] & 0xffff == 0
            && t[3] >> 13 & 7 == 0
            && t[0] >> 10 & 0xfff == 0
            && t[0] >> 30 == 0;
        let swizzle = [0, 3, 6, 9].map(|bit| (t[2] >> bit & 7) as u8);
        let Some((channels, bits, kind)) = format(t[0] >> 22 & 0xff).filter(|_| plain) else {
            return Ok(None);
        };
        Ok(Some(Self {
            surface: Surface {
                base: pair(plane[2], plane[3]),
                stride: plane[4],
                bytes: channels * bits / 8,
                order,
            },
            width: (t[1] & 0xffff) + 1,
            height: (t[1] >> 16) + 1,
            channels,
            bits,
            kind,
            swizzle,
        }))
    }

    /// The four components of a texel; zeros outside of the image.
    pub fn fetch<M: Memory + ?Sized>(
        &self,
        memory: &mut M,
        x: u32,
        y: u32,
    ) -> Result<[u32; 4], JobError> {
        if x >= self.width || y >= self.height {
            return Ok([0; 4]);
        }
        let mut raw = [0; 16];
        let bytes = self.surface.bytes as usize;
        memory.load(self.surface.pixel(x, y), &mut raw[..bytes])?;
        let raw = u128::from_le_bytes(raw);
        let one = match self.kind {
            Kind::Unsigned | Kind::Signed => 1,
            _ => 1f32.to_bits(),
        };
        let mut texel = [0, 0, 0, one];
        for (n, component) in texel.iter_mut().enumerate().take(self.channels as usize) {
            *component = self.component((raw >> (n as u32 * self.bits)) as u32);
        }
        Ok(self.swizzle.map(|channel| match channel {
            n @ 0..=3 => texel[usize::from(n)],
            5 => one,
            _ => 0,
        }))
    }

    fn component(&self, raw: u32) -> u32 {
        let unused = 32 - self.bits;
        let unsigned = raw << unused >> unused;
        let signed = (raw << unused) as i32 >> unused;
        let top = f64::from(u32::MAX >> unused);
        match self.kind {
            Kind::Unsigned => unsigned,
            Kind::Signed => signed as u32,
            Kind::Unorm => ((f64::from(unsigned) / top) as f32).to_bits(),
            Kind::Snorm => {
                let top = f64::from(u32::MAX >> (unused + 1));
                ((f64::from(signed) / top).max(-1.0) as f32).to_bits()
            }
            Kind::Float if self.bits == 16 => (from16(unsigned as u16) as f32).to_bits(),
            Kind::Float => unsigned,
        }
    }
}

/// Whether the model knows what a TEX_FETCH wants: two coordinates and perhaps an array index, four
/// words back in the type that the image has.
pub fn known_fetch(ins: &Instr) -> bool {
    let array = f::ARRAY.get(ins.word);
    f::DIMENSION.get(ins.word) == 1
        && f::WIDE_INDICES.get(ins.word) == 0
        && f::TEXEL_OFFSET.get(ins.word) == 0
        && f::REGISTER_TYPE.get(ins.word) == 0
        && f::REGISTER_WIDTH.get(ins.word) == 1
        && f::WRITE_MASK.get(ins.word) == 15
        && ins.target_count == 4
        && u32::from(ins.count) == 2 + array
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cs::flat::Flat;

    #[test]
    fn formats() {
        assert_eq!(format(155), Some((4, 8, Kind::Unsigned)));
        assert_eq!(format(187), Some((4, 8, Kind::Unorm)));
        assert_eq!(format(167), Some((1, 32, Kind::Float)));
        assert_eq!(format(223), Some((4, 16, Kind::Float)));
        assert_eq!(format(147), None, "three channels");
        assert_eq!(format(81), None, "fixed point");
    }

    #[test]
    fn texels_of_a_tiled_image() {
        let mut image = Image {
            surface: Surface {
                base: 0x1000,
                stride: 2048,
                bytes: 4,
                order: Order::Tiled,
            },
            width: 20,
            height: 18,
            channels: 4,
            bits: 8,
            kind: Kind::Unsigned,
            swizzle: [2, 1, 0, 5],
        };
        let mut flat = Flat::new(0x1000, 0x1000);
        let va = image.surface.pixel(17, 16);
        flat.store32(va, 0x4030_2010).unwrap();
        assert_eq!(image.fetch(&mut flat, 17, 16), Ok([0x30, 0x20, 0x10, 1]));
        assert_eq!(image.fetch(&mut flat, 20, 0), Ok([0; 4]));
        image.kind = Kind::Unorm;
        image.swizzle = [0, 1, 2, 3];
        let texel = image.fetch(&mut flat, 17, 16).unwrap();
        assert_eq!(f32::from_bits(texel[3]), 64.0 / 255.0);
    }
}
