// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tiler heaps.
//!
//! The heap context is 32 bytes of memory that only the hardware looks into. Here they are
//!
//! | offset | |
//! | --- | --- |
//! | 0, 4, 8 | render passes: tiling started, tiling complete, fragments complete |
//! | 16, 24 | first and last chunk of the list of free ones |
//!
//! so that what is counted lives and dies with the memory. A chunk is named by its address with its
//! size in 4 KiB in the low 12 bits; its first double word names the next one of its list.
//!
//! The chunk that is being filled is in the heap descriptor that user space made (`+4` size, `+8`
//! base, `+16` bottom, `+24` top). A full one goes to the list of the tiler context (`+40` first,
//! `+48` last), which FINISH_FRAGMENT gives back to the heap.

use super::super::env::{Env, MemError, Oddity};
use super::super::scoreboard::{Op, Tiling, TilingStage};
use super::super::state::{code, Oom, OomRequest, Stream, Trap};

/// Bytes at the start of a chunk that are not for data.
const HEADER: u64 = 64;

fn name(va: u64, size: u32) -> u64 {
    va & !0xfff | u64::from(size >> 12) & 0xfff
}

/// Address and size of a chunk.
fn chunk(name: u64) -> (u64, u32) {
    (name & !0xfff, ((name & 0xfff) as u32) << 12)
}

impl Stream {
    fn bad_heap<E: Env + ?Sized>(&self, env: &mut E, va: u64) -> Trap {
        env.odd(Oddity::BadHeap(va));
        Trap::fault(code::DATA_INVALID, va)
    }

    /// What came of an access to a heap's context, or to a chunk of it.
    fn heap_memory<E: Env + ?Sized, T>(
        &self,
        env: &mut E,
        result: Result<T, MemError>,
    ) -> Result<T, Trap> {
        if let Err(MemError::Fault { va, .. }) = result {
            env.odd(Oddity::HeapGone(va));
        }
        Ok(result?)
    }

    /// HEAP_OPERATION.
    pub(super) fn heap_count<E: Env + ?Sized>(
        &mut self,
        env: &mut E,
        heap: u64,
        operation: u8,
    ) -> Result<(), Trap> {
        let at = match operation {
            0 => 0,
            1 => 4,
            _ => 8,
        };
        let counted = env.atomic32(heap.wrapping_add(at), &mut |n| n.wrapping_add(1));
        self.heap_memory(env, counted)?;
        Ok(())
    }

    /// FINISH_FRAGMENT.
    pub(super) fn give_back<E: Env + ?Sized>(
        &mut self,
        env: &mut E,
        op: &mut Op,
    ) -> Result<(), Trap> {
        let Op::FinishFragment {
            heap,
            first,
            last,
            increment,
            given,
        } = op
        else {
            return Ok(());
        };
        if *first != 0 && !*given {
            let end = chunk(*last).0;
            if end == 0 {
                return Err(self.bad_heap(env, *last));
            }
            let old = env.load64(heap.wrapping_add(16));
            let old = self.heap_memory(env, old)?;
            // A second try after the list was changed must not tie it into a ring.
            if old != *first {
                let linked = env.store64(end, old);
                self.heap_memory(env, linked)?;
                if old == 0 {
                    env.store64(heap.wrapping_add(24), *last)?;
                }
                env.store64(heap.wrapping_add(16), *first)?;
            }
        }
        *given = true;
        if *increment {
            self.heap_count(env, *heap, 3)?;
        }
        // Streams that wait for memory look again.
        env.sync_written(super::super::env::Scope::Group, *heap);
        Ok(())
    }

    /// A tiling task takes its memory. Says whether it got it.
    pub(super) fn tile<E: Env + ?Sized>(
        &mut self,
        env: &mut E,
        tiling: &mut Tiling,
    ) -> Result<bool, Trap> {
        if tiling.context == 0 || tiling.bytes == 0 {
            return Ok(true);
        }
        let context = tiling.context;
        if context % 64 != 0 {
            return Err(self.bad_heap(env, context));
        }
        let desc = env.load64(context.wrapping_add(24))?;
        if desc == 0 || desc % 32 != 0 {
            return Err(self.bad_heap(env, desc));
        }
        loop {
            match tiling.stage {
                TilingStage::Look => {
                    let bottom = env.load64(desc.wrapping_add(16))?;
                    let top = env.load64(desc.wrapping_add(24))?;
                    let end = bottom.checked_add(tiling.bytes.into());
                    if bottom != 0 && end.is_some_and(|end| end <= top) {
                        env.store64(desc.wrapping_add(16), bottom + u64::from(tiling.bytes))?;
                        return Ok(true);
                    }
                    let base = env.load64(desc.wrapping_add(8))? & !0xfff;
                    if base == 0 {
                        tiling.stage = TilingStage::Find { next: 0 };
                        continue;
                    }
                    tiling.stage = TilingStage::Retire {
                        base,
                        size: env.load32(desc.wrapping_add(4))?,
                        next: {
                            let next = env.load64(base);
                            self.heap_memory(env, next)?
                        },
                        before: env.load64(context.wrapping_add(40))?,
                    };
                }
                TilingStage::Retire {
                    base,
                    size,
                    next,
                    before,
                } => {
                    let retired = name(base, size);
                    if before != retired {
                        env.store64(base, before)?;
                    }
                    if before == 0 {
                        env.store64(context.wrapping_add(48), retired)?;
                    }
                    env.store64(context.wrapping_add(40), retired)?;
                    // No chunk is at hand until another one is found.
                    for at in [8, 16, 24] {
                        env.store64(desc.wrapping_add(at), 0)?;
                    }
                    tiling.stage = TilingStage::Find { next };
                }
                TilingStage::Find { next } => {
                    let (found, cut) = match next {
                        0 => match self.find(env)? {
                            Some(found) => found,
                            None => {
                                tiling.stage = TilingStage::Look;
                                return Ok(false);
                            }
                        },
                        next => (next, false),
                    };
                    tiling.stage = TilingStage::Install { chunk: found, cut };
                }
                TilingStage::Install { chunk: found, cut } => {
                    let (va, size) = chunk(found);
                    let room = u64::from(size).saturating_sub(HEADER);
                    if va == 0 || room < u64::from(tiling.bytes) {
                        return Err(self.bad_heap(env, found));
                    }
                    if cut {
                        let cut = env.store64(va, 0);
                        self.heap_memory(env, cut)?;
                    }
                    let top = va.wrapping_add(size.into());
                    env.store32(desc.wrapping_add(4), size)?;
                    env.store64(desc.wrapping_add(24), top)?;
                    env.store64(desc.wrapping_add(16), va.wrapping_add(HEADER))?;
                    env.store64(desc.wrapping_add(8), va)?;
                    tiling.stage = TilingStage::Look;
                }
            }
        }
    }

    /// Another chunk: a free one, or the host's answer. Asks the host if there is none.
    ///
    /// The flag says that the chunk comes from a list and must be cut off it.
    fn find<E: Env + ?Sized>(&mut self, env: &mut E) -> Result<Option<(u64, bool)>, Trap> {
        if let Oom::Answered(chunk) = self.oom {
            self.oom = Oom::None;
            // Chunks of the host are not linked.
            return Ok(Some((chunk, false)));
        }
        if self.oom == Oom::Handled {
            return Ok(None);
        }
        let heap = self.heap;
        if heap == 0 || heap % 8 != 0 {
            return Err(self.bad_heap(env, heap));
        }
        let first = env.load64(heap.wrapping_add(16));
        let first = self.heap_memory(env, first)?;
        if first != 0 {
            let next = env.load64(chunk(first).0);
            let next = self.heap_memory(env, next)?;
            if next == 0 {
                env.store64(heap.wrapping_add(24), 0)?;
            }
            env.store64(heap.wrapping_add(16), next)?;
            // A chunk that came for a request that is not needed any more is taken next time.
            if !matches!(self.oom, Oom::Raised) {
                self.oom = Oom::None;
            }
            return Ok(Some((first, true)));
        }
        match self.oom {
            Oom::None => {
                self.passes = OomRequest {
                    heap,
                    vt_start: env.load32(heap)?,
                    vt_end: env.load32(heap.wrapping_add(4))?,
                    frag_end: env.load32(heap.wrapping_add(8))?,
                };
                self.oom = Oom::Raised;
                self.tell_oom = true;
                Ok(None)
            }
            // The handler gave nothing back, or nobody can.
            Oom::HandlerRan | Oom::Hopeless => {
                self.oom = Oom::None;
                Err(Trap::fault(code::OOM, heap))
            }
            Oom::Raised | Oom::Refused | Oom::Handled | Oom::Answered(_) => Ok(None),
        }
    }
}

/// Decides what happens about requests for heap memory that the host has refused, among the
/// streams of one group. Says whether something will happen, so that streams must be run.
///
/// The exception handler runs on a stream that has one and uses the same heap: often not the one
/// that ran out. If there is none, memory can still come from render passes that are not complete, or
/// a handler can be set later. If no stream ever set one and no pass is on its way, there is no hope.
pub fn settle<'a>(streams: impl IntoIterator<Item = &'a mut Stream>) -> bool {
    let mut streams: Vec<&mut Stream> = streams.into_iter().collect();
    let mut changed = false;
    for n in 0..streams.len() {
        let (oom, heap, passes) = (streams[n].oom, streams[n].heap, streams[n].passes);
        if !matches!(oom, Oom::Refused | Oom::Handled) {
            continue;
        }
        let mine = |s: &&mut &mut Stream| s.heap == heap && s.fatal.is_none();
        let mut running = false;
        let mut done = false;
        let mut known = false;
        for s in streams.iter_mut().filter(mine) {
            done |= std::mem::take(&mut s.handler_done);
            running |= s.handler_due || s.handler_depth != 0;
            known |= s.handler_known;
        }
        let next = if running {
            oom
        } else if oom == Oom::Handled && done {
            Oom::HandlerRan
        } else if let Some(s) = streams.iter_mut().filter(mine).find(|s| s.has_handler()) {
            s.handler_due = true;
            Oom::Handled
        } else if !known && passes.vt_end == passes.frag_end {
            Oom::Hopeless
        } else {
            Oom::Refused
        };
        streams[n].oom = next;
        changed |= next != oom;
    }
    changed
}
