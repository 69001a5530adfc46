// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Fragment jobs: clear colours reach memory, nothing is drawn.
//!
//! A colour target gets its clear colour where the job says that tiles are written even if nothing
//! was drawn in them ("clean pixel write enable"). What is drawn, what a pre-frame shader loads,
//! depth and stencil, compressed targets and formats that are not in the tables are counted as
//! skipped, and their memory is left alone.

use super::exec::desc::{pair, words};
use super::job::{FragmentJob, JobError, JobFault, JobStats, Progress};
use super::layout::{Order, Surface};
use crate::cs::env::Memory;

/// Bytes of the framebuffer descriptor, before its depth extension and its targets.
const DESCRIPTOR: u64 = 128;
/// Bytes of a target, and of the extension.
const TARGET: u64 = 64;

/// A target whose clear colour is written.
#[derive(Clone, Copy, Debug)]
struct Target {
    surface: Surface,
    pixel: [u8; 16],
}

/// A fragment job that is being executed. It can be stopped after any row.
pub struct Fragment {
    job: FragmentJob,
    targets: Option<Vec<Target>>,
    min: [u32; 2],
    max: [u32; 2],
    next: usize,
    row: u32,
    stats: JobStats,
}

impl Fragment {
    /// A job that has not begun.
    pub fn new(job: &FragmentJob) -> Self {
        Self {
            job: job.clone(),
            targets: None,
            min: [0; 2],
            max: [0; 2],
            next: 0,
            row: 0,
            stats: JobStats::default(),
        }
    }

    /// What has been done so far.
    pub fn stats(&self) -> JobStats {
        self.stats
    }

    /// Goes on, for about `budget` pixels and at least one row. Errors are those of a compute job.
    pub fn run<M: Memory + ?Sized>(
        &mut self,
        memory: &mut M,
        budget: u64,
    ) -> Result<Progress, JobError> {
        if self.targets.is_none() {
            self.begin(memory)?;
        }
        let end = self.stats.pixels.saturating_add(budget.max(1));
        let targets = self.targets.as_deref().unwrap_or_default();
        while let Some(target) = targets.get(self.next) {
            let surface = &target.surface;
            let pixel = target
                .pixel
                .get(..surface.bytes as usize)
                .unwrap_or_default();
            let ([left, top], [right, bottom]) = (self.min, self.max);
            self.row = self.row.max(top);
            while self.row <= bottom && left <= right {
                if self.stats.pixels >= end {
                    return Ok(Progress::More);
                }
                match surface.order {
                    Order::Linear => {
                        let row = pixel.repeat((right - left + 1) as usize);
                        memory.store(surface.pixel(left, self.row), &row)?;
                    }
                    Order::Tiled => {
                        for x in left..=right {
                            memory.store(surface.pixel(x, self.row), pixel)?;
                        }
                    }
                }
                self.stats.pixels += u64::from(right - left + 1);
                self.row += 1;
            }
            self.next += 1;
            self.row = 0;
        }
        Ok(Progress::Done(self.stats))
    }

    fn begin<M: Memory + ?Sized>(&mut self, memory: &mut M) -> Result<(), JobError> {
        let va = self.job.framebuffer & !63;
        if self.job.framebuffer & 1 == 0 {
            let what = "not a framebuffer";
            return Err(JobFault::Descriptor { va, what }.into());
        }
        let d: [u32; 16] = words(memory, va)?;
        let xy = |word: u32| [word & 0xffff, word >> 16];
        let (bound_min, bound_max) = (xy(d[9]), xy(d[10]));
        let size = xy(d[8]);
        let (min, max) = (xy(self.job.min), xy(self.job.max));
        for axis in 0..2 {
            self.min[axis] = min[axis].max(bound_min[axis]);
            self.max[axis] = max[axis].min(bound_max[axis]).min(size[axis]);
        }
        // Shaders before or after the frame, depth and stencil writes, tile maps.
        let preload = d[0] & 0x3f != 0;
        let skipped = [
            preload,
            d[0] >> 6 & 7 != 0,
            d[12] >> 10 & 1 != 0,
            d[12] >> 20 & 1 != 0,
            d[14] | d[15] != 0,
            self.job.tile_enable_map,
        ];
        self.stats.skipped += skipped.iter().filter(|what| **what).count() as u64;

        let extension = self.job.framebuffer >> 1 & 1;
        let count = (d[11] >> 19 & 0xf) + 1;
        let mut targets = Vec::new();
        for n in 0..u64::from(count) {
            let at = va.wrapping_add(DESCRIPTOR + (extension + n) * TARGET);
            let t: [u32; 16] = words(memory, at)?;
            if t[1] & 1 == 0 || t[1] >> 8 & 0xf == 0 || t[1] >> 31 == 0 {
                // Nothing to write, or only what was drawn.
                continue;
            }
            match target(&t).filter(|_| !preload && !self.job.tile_enable_map) {
                Some(target) => targets.push(target),
                None => self.stats.skipped += 1,
            }
        }
        self.targets = Some(targets);
        Ok(())
    }
}

/// Reads a target. `None`: the model does not know its format or layout.
fn target(t: &[u32; 16]) -> Option<Target> {
    let compat = t[0] & 0xf == 0;
    let yuv = t[0] >> 24 & 1 != 0;
    let samples = t[1] >> 12 & 3;
    if !compat || yuv || samples != 0 {
        return None;
    }
    let order = match t[1] >> 8 & 0xf {
        1 => Order::Tiled,
        2 => Order::Linear,
        _ => return None,
    };
    let mut pixel = [0; 16];
    for (bytes, word) in pixel.chunks_exact_mut(4).zip(&t[12..16]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    let swizzle = [0, 3, 6, 9].map(|bit| t[1] >> (16 + bit) & 7);
    let identity = swizzle == [0, 1, 2, 3];
    let (internal, format) = (t[0] >> 26, t[1] >> 3 & 0x1f);
    let bytes = match (internal, format) {
        // Bytes as they are.
        (0 | 32, 0) | (0 | 33, 1) | (0 | 34, 3) | (0 | 35, 5) | (0 | 36, 7) if identity => {
            1 << [0, 1, 0, 2, 0, 3, 0, 4][format as usize & 7]
        }
        // Channels of eight bits, in some order.
        (1, 16 | 17 | 19) => {
            let from = [pixel[0], pixel[1], pixel[2], pixel[3]];
            for (to, channel) in pixel.iter_mut().zip(swizzle) {
                *to = match channel {
                    n @ 0..=3 => from[n as usize],
                    4 => 0,
                    5 => 0xff,
                    _ => return None,
                };
            }
            match format {
                16 => 1,
                17 => 2,
                _ => 4,
            }
        }
        // Ten bits a channel.
        (2, 24) if identity => 4,
        _ => return None,
    };
    Some(Target {
        surface: Surface {
            base: pair(t[8], t[9]),
            stride: t[10],
            bytes,
            order,
        },
        pixel,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cs::flat::Flat;

    /// A framebuffer of 20x18 pixels with one target of 8 bits a channel at 0x2000.
    fn frame(order: u32, stride: u32, clean: bool) -> (Flat, FragmentJob) {
        let mut flat = Flat::new(0x1000, 0x4000);
        let put = |flat: &mut Flat, va: u64, word: u32| flat.store32(va, word).unwrap();
        put(&mut flat, 0x1000 + 8 * 4, 19 | 17 << 16);
        put(&mut flat, 0x1000 + 10 * 4, 19 | 17 << 16);
        let target = 0x1080;
        put(&mut flat, target, 1 << 26);
        let word = 1 | 19 << 3 | order << 8 | 0x688 << 16 | u32::from(clean) << 31;
        put(&mut flat, target + 4, word);
        put(&mut flat, target + 32, 0x2000);
        put(&mut flat, target + 40, stride);
        for n in 0..4 {
            put(&mut flat, target + 48 + n * 4, 0xffbf_8040);
        }
        let job = FragmentJob {
            framebuffer: 0x1001,
            max: 31 | 31 << 16,
            ..FragmentJob::default()
        };
        (flat, job)
    }

    fn run(flat: &mut Flat, job: &FragmentJob) -> JobStats {
        let mut fragment = Fragment::new(job);
        loop {
            if let Progress::Done(stats) = fragment.run(flat, 7).unwrap() {
                return stats;
            }
        }
    }

    #[test]
    fn a_linear_target_gets_the_clear_colour_and_nothing_beyond() {
        let (mut flat, job) = frame(2, 128, true);
        let stats = run(&mut flat, &job);
        assert_eq!((stats.pixels, stats.skipped), (20 * 18, 0));
        for y in 0..32 {
            for x in 0..32 {
                let want = if x < 20 && y < 18 { 0xffbf_8040 } else { 0 };
                assert_eq!(flat.load32(0x2000 + y * 128 + x * 4), Ok(want), "{x} {y}");
            }
        }
    }

    #[test]
    fn a_tiled_target() {
        let (mut flat, job) = frame(1, 2048, true);
        assert_eq!(run(&mut flat, &job).pixels, 20 * 18);
        let coloured = flat.memory[0x1000..]
            .chunks_exact(4)
            .filter(|word| **word == 0xffbf_8040u32.to_le_bytes())
            .count();
        assert_eq!(coloured, 20 * 18);
        assert_eq!(flat.load32(0x2000 + 255 * 4), Ok(0xffbf_8040));
    }

    #[test]
    fn channels_may_be_swapped() {
        let (mut flat, job) = frame(2, 128, true);
        let word = 1 | 19 << 3 | 2 << 8 | (2 | 1 << 3 | 3 << 9) << 16 | 1 << 31;
        flat.store32(0x1084, word).unwrap();
        run(&mut flat, &job);
        assert_eq!(flat.load32(0x2000), Ok(0xff40_80bf));
    }

    #[test]
    fn what_is_not_known_is_left_alone_and_counted() {
        for change in [
            // AFBC, two samples, a shader before the frame, a format of 16 bits.
            (0x1084, 1 | 19 << 3 | 12 << 8 | 0x688 << 16 | 1 << 31),
            (
                0x1084,
                1 | 19 << 3 | 2 << 8 | 1 << 12 | 0x688 << 16 | 1 << 31,
            ),
            (0x1000, 1),
            (0x1084, 1 | 21 << 3 | 2 << 8 | 0x688 << 16 | 1 << 31),
        ] {
            let (mut flat, job) = frame(2, 128, true);
            flat.store32(change.0, change.1).unwrap();
            let before = flat.memory.clone();
            let stats = run(&mut flat, &job);
            assert!(stats.skipped > 0, "{change:x?}");
            assert!(flat.memory == before, "{change:x?}");
        }
        let (mut flat, job) = frame(2, 128, false);
        assert_eq!(
            run(&mut flat, &job).pixels,
            0,
            "only what is drawn is written"
        );
    }
}
