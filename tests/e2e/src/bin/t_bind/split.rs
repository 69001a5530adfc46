// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Mappings that are cut and replaced.

use crate::vm::Vm;
use e2e::model::Translation;
use e2e::sys::*;
use e2e::*;

/// A new mapping takes the place of what it overlaps; what remains keeps its offsets.
pub fn overlaps() -> Res {
    let v = Vm::new()?;
    let a = ok!(v.d.bo(16 * PAGE, 0, 0));
    let b = ok!(v.d.bo(16 * PAGE, 0, 0));
    let page = |n: u64| M + n * PAGE;
    // Middle.
    ok!(v.bind(Op::map(a, 0, page(0), 16 * PAGE)));
    ok!(v.bind(Op::map(b, 2 * PAGE, page(4), 4 * PAGE)));
    eq!(
        v.list()?,
        [
            (page(0), 4 * PAGE, 0),
            (page(4), 4 * PAGE, 2 * PAGE),
            (page(8), 8 * PAGE, 8 * PAGE)
        ]
    );
    let l = v.vas()?;
    check!(l[0].object == l[2].object && l[0].object != l[1].object);
    // Over an edge of both.
    ok!(v.bind(Op::map(b, 0, page(6), 4 * PAGE)));
    eq!(
        v.list()?,
        [
            (page(0), 4 * PAGE, 0),
            (page(4), 2 * PAGE, 2 * PAGE),
            (page(6), 4 * PAGE, 0),
            (page(10), 6 * PAGE, 10 * PAGE)
        ]
    );
    // Over everything.
    ok!(v.bind(Op::map(b, 0, page(0), 16 * PAGE)));
    eq!(v.list()?, [(page(0), 16 * PAGE, 0)]);
    // The same again.
    ok!(v.bind(Op::map(b, 0, page(0), 16 * PAGE)));
    eq!(v.list()?, [(page(0), 16 * PAGE, 0)]);
    // The same buffer with another offset.
    ok!(v.bind(Op::map(b, 8 * PAGE, page(0), 8 * PAGE)));
    eq!(
        v.list()?,
        [(page(0), 8 * PAGE, 8 * PAGE), (page(8), 8 * PAGE, 8 * PAGE)]
    );
    Ok(())
}

pub fn unmap_splits() -> Res {
    let v = Vm::new()?;
    let a = ok!(v.d.bo(16 * PAGE, 0, 0));
    let page = |n: u64| M + n * PAGE;
    ok!(v.bind(Op::map(a, 0, page(0), 16 * PAGE)));
    ok!(v.bind(Op::unmap(page(5), PAGE)));
    eq!(
        v.list()?,
        [(page(0), 5 * PAGE, 0), (page(6), 10 * PAGE, 6 * PAGE)]
    );
    v.holes(&[page(4), page(6)], &[page(5)])?;
    ok!(v.bind(Op::unmap(page(0), PAGE)));
    ok!(v.bind(Op::unmap(page(15), PAGE)));
    eq!(
        v.list()?,
        [(page(1), 4 * PAGE, PAGE), (page(6), 9 * PAGE, 6 * PAGE)]
    );
    // Across the hole.
    ok!(v.bind(Op::unmap(page(3), 5 * PAGE)));
    eq!(
        v.list()?,
        [(page(1), 2 * PAGE, PAGE), (page(8), 7 * PAGE, 8 * PAGE)]
    );
    v.holes(
        &[page(1), page(2), page(8), page(14)],
        &[page(0), page(3), page(7), page(15)],
    )?;
    // Everything, and more.
    ok!(v.bind(Op::unmap(0, 16 * M)));
    eq!(v.list()?, []);
    Ok(())
}

/// A mapping of 2 MiB blocks is split anywhere, and what remains is right page by page.
pub fn block_splits() -> Res {
    let v = Vm::new()?;
    let bo = ok!(v.d.bo(8 * M, 0, 0));
    let other = ok!(v.d.bo(8 * M, 0, 0));
    let base = 1 << 32;
    let mut walk = v.walk()?;
    ok!(v.bind(Op::map(bo, 0, base, 8 * M)));
    // Where the pages are.
    let mut at = Vec::new();
    if let Some(w) = walk.as_mut() {
        let mut blocks = 0;
        for i in 0..8 * M / PAGE {
            let t = w.at(base + i * PAGE)?;
            let Translation::Pa { pa, size, .. } = t else {
                fail!("page {i}: {t:?}")
            };
            at.push(pa & !(PAGE - 1));
            if size == BLOCK {
                blocks += 1;
            }
        }
        note!("{} of 4 blocks are mapped as such", blocks * PAGE / BLOCK);
    }
    let cuts = [
        (0, 1),
        (511, 1),
        (512, 1),
        (700, 3),
        (1023, 2),
        (1300, 512),
        (2047, 1),
    ];
    for (first, n) in cuts {
        ok!(v.bind(Op::map(bo, 0, base, 8 * M)));
        ok!(v.bind(Op::unmap(base + first * PAGE, n * PAGE)));
        eq!(v.list()?.iter().map(|a| a.1).sum::<u64>(), 8 * M - n * PAGE);
        if let Some(w) = walk.as_mut() {
            for i in 0..8 * M / PAGE {
                // All around the cut, and samples elsewhere.
                if i % 61 != 0 && !(first.saturating_sub(2)..=first + n + 2).contains(&i) {
                    continue;
                }
                let got = w.at(base + i * PAGE)?.pa().map(|p| p & !(PAGE - 1));
                let want = if (first..first + n).contains(&i) {
                    None
                } else {
                    Some(at[i as usize])
                };
                check!(
                    got == want,
                    "cut {first}+{n}, page {i}: {got:x?}, want {want:x?}"
                );
            }
        }
        // The same with another buffer put in.
        ok!(v.bind(Op::map(bo, 0, base, 8 * M)));
        ok!(v.bind(Op::map(other, first * PAGE, base + first * PAGE, n * PAGE)));
        if let Some(w) = walk.as_mut() {
            for i in 0..8 * M / PAGE {
                if i % 61 != 0 && !(first.saturating_sub(2)..=first + n + 2).contains(&i) {
                    continue;
                }
                let t = w.at(base + i * PAGE)?;
                let Some(pa) = t.pa() else {
                    fail!("page {i}: {t:?}")
                };
                let same = pa & !(PAGE - 1) == at[i as usize];
                check!(
                    same != (first..first + n).contains(&i),
                    "cut {first}+{n}, page {i}"
                );
            }
        }
    }
    Ok(())
}

/// Random maps and unmaps against a simple book of what must be mapped.
pub fn random() -> Res {
    let v = Vm::new()?;
    const PAGES: usize = 3000;
    let base = 2 * M - 7 * PAGE;
    let bos: Vec<u32> = (0..4)
        .map(|_| v.d.bo(PAGES as u64 * PAGE, 0, 0))
        .collect::<Result<_>>()?;
    let mut book: Vec<Option<(u32, u64)>> = vec![None; PAGES];
    let mut rng = pattern::Rng::new(42);
    let mut objects: std::collections::HashMap<u64, u32> = Default::default();
    for step in 0..300 {
        let first = rng.below(PAGES as u64) as usize;
        let n = (rng.below(900) as usize + 1).min(PAGES - first);
        let va = base + first as u64 * PAGE;
        if rng.below(3) == 0 {
            ok!(v.bind(Op::unmap(va, n as u64 * PAGE)));
            book[first..first + n].fill(None);
        } else {
            let b = bos[rng.below(4) as usize];
            let off = rng.below((PAGES - n) as u64 + 1);
            ok!(v.bind(Op::map(b, off * PAGE, va, n as u64 * PAGE)));
            for i in 0..n {
                book[first + i] = Some((b, off + i as u64));
            }
        }
        if step % 20 != 19 {
            continue;
        }
        let mut seen: Vec<Option<(u32, u64)>> = vec![None; PAGES];
        for a in v.vas()? {
            for i in 0..a.range / PAGE {
                let p = ((a.start - base) / PAGE + i) as usize;
                check!(seen[p].is_none(), "step {step}: page {p} twice");
                // Learn which object is which buffer from the first page that says so.
                if let Some((b, _)) = book[p] {
                    let o = *objects.entry(a.object).or_insert(b);
                    seen[p] = Some((o, a.offset / PAGE + i));
                } else {
                    seen[p] = Some((0, 0));
                }
            }
        }
        for p in 0..PAGES {
            check!(
                seen[p] == book[p],
                "step {step}, page {p}: {:?}, want {:?}",
                seen[p],
                book[p]
            );
        }
        if let Some(mut w) = v.walk()? {
            for p in (step % 7..PAGES).step_by(53) {
                let got = w.at(base + p as u64 * PAGE)?.pa().is_some();
                check!(got == book[p].is_some(), "step {step}, page {p}: {got}");
            }
        }
    }
    eq!(objects.len(), 4);
    Ok(())
}
